"""Actors whose calls run side by side in threads; and what all hosts of such actors have in common.

An actor of one call at a time needs no host: its engine's main thread takes calls from the
run-queue as it takes tasks. Here calls begin as soon as their concurrency group has room, in the
order in which they came.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from parallax.messages import Assignment, Done, TaskInterrupted, TemplateDefined
from parallax.pool.actor_calls import CallRunner
from parallax.pool.context import ActorExit, TaskContext, current_call, engine
from parallax.pool.failures import from_error
from parallax.pool.library import Library, LoadedTemplate


class Home(Protocol):
    """What a host needs of its engine. All of it may be called in any thread."""

    def begun(self, call: Assignment, group: str) -> None:
        """A call of this concurrency group begins: one at a time, in the order of their turns."""

    def finished(self, done: Done, *, last: bool) -> None:
        """A call has ended; `last` when no other one runs or waits."""

    def cancelled(self, call: int) -> None:
        """A call that runs was cancelled, and may wait for its reader."""

    def dropped(self, call: int) -> None:
        """A call that was cancelled before it began."""

    def leave(self) -> None:
        """The actor wants to end."""

    def warn(self, task: TaskContext, text: str) -> None:
        """Say something to the user, as output of a call."""


class Host(Protocol):
    """Runs the calls of one actor."""

    def accept(self, calls: Iterable[Assignment]) -> None:
        """Calls have come. Quick, in whichever thread reads the channel."""

    def interrupt(self, message: TaskInterrupted) -> None:
        """A call was cancelled. Quick, as above."""

    def consumed(self, call: int) -> None:
        """The reader of a streaming call has taken something. Quick, as above."""

    def watch(self) -> None:
        """Called now and then, in any thread."""

    def stop(self) -> None:
        """Have `serve` return. Quick, as above."""

    def serve(self) -> None:
        """Run calls until the end. In the main thread."""


def is_async(cls: type) -> bool:
    """Has this class coroutine methods, so that it wants an event loop?"""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name, None)
        function = getattr(member, "__func__", member)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return True
    return False


def load(library: Library, call: Assignment, done: Done) -> LoadedTemplate | None:
    """The template of a call; None when it cannot be loaded, and `done` says why."""
    try:
        return library.use(call.template)
    except Exception as error:  # noqa: BLE001 - importing the user's modules raises anything
        name = library.specs[call.template].name
        done.values = [from_error(error, task_name=name, task=call.id)]
        return None


def context_of(spec: TemplateDefined, call: Assignment) -> TaskContext:
    """What the code of a call is told of it."""
    return TaskContext(call.id, call.job, call.attempt, spec.name, spec.demand, call.seed)


class ThreadedHost:
    """Calls in threads, of each concurrency group as many at once as it allows.

    Args:
        wait: blocks until `stop` was called, and reads the channel meanwhile.
    """

    def __init__(
        self,
        runner: CallRunner,
        library: Library,
        spec: TemplateDefined,
        home: Home,
        wait: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._runner = runner
        self._library = library
        self._home = home
        self._wait = wait
        self.stop = wake
        self._pools = {
            name: ThreadPoolExecutor(limit, f"parallax-{name or 'call'}")
            for name, limit in {"": spec.concurrency, **spec.concurrency_groups}.items()
        }
        self._calls: dict[int, Future[None]] = {}
        self._latest = dict.fromkeys(self._pools, 0)
        """The latest turn that has begun, by concurrency group."""
        self._lock = threading.Lock()

    def accept(self, calls: Iterable[Assignment]) -> None:
        """See `Host`."""
        for call in calls:
            group = self._library.specs[call.template].concurrency_group
            with self._lock:
                self._calls[call.id] = self._pools[group].submit(self._run, call)

    def interrupt(self, message: TaskInterrupted) -> None:
        """See `Host`."""
        future = self._calls.get(message.task)
        if future is None:
            return
        if future.cancel():
            with self._lock:
                del self._calls[message.task]
            self._home.dropped(message.task)
        else:
            engine.cancelled_calls.add(message.task)
            self._home.cancelled(message.task)

    def consumed(self, call: int) -> None:
        """See `Host`. Threads wait for that themselves."""

    def watch(self) -> None:
        """See `Host`."""

    def serve(self) -> None:
        """See `Host`."""
        self._wait()

    def _begin(self, call: Assignment) -> None:
        group = self._library.specs[call.template].concurrency_group
        with self._lock:
            if call.turn > self._latest[group]:  # else a thread that took a later call was quicker
                self._latest[group] = call.turn
                self._home.begun(call, group)

    def _run(self, call: Assignment) -> None:
        done = Done(call.id, call.attempt, [], {}, time.time())
        clock = time.perf_counter()
        token = current_call.set(context_of(self._library.specs[call.template], call))
        self._begin(call)
        try:
            template = load(self._library, call, done)
            if template is not None:
                self._runner.run(template, call, done)
        except ActorExit:
            self._home.leave()
            return
        finally:
            current_call.reset(token)
        done.duration_s = time.perf_counter() - clock
        engine.cancelled_calls.discard(call.id)
        with self._lock:
            del self._calls[call.id]
            last = not self._calls
        self._home.finished(done, last=last)
