"""Actors whose calls run side by side on an event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from parallax.messages import Assignment, Done, TaskInterrupted, TemplateDefined
from parallax.pool.actor_calls import CallRunner
from parallax.pool.actor_host import Home, context_of, load
from parallax.pool.context import ActorExit, TaskContext, current_call, engine
from parallax.pool.library import Library

BLOCKED_S = 1.0
"""An event loop that has not moved for so long is worth a warning."""


class _Group:
    """A concurrency group on an event loop."""

    __slots__ = ("free", "waiting")

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.waiting: deque[Assignment] = deque()


class AsyncHost:
    """Calls as tasks of one event loop, in the main thread.

    Methods that are no coroutines run on the loop, too: nothing else does meanwhile.

    Args:
        taken: how many items of a streaming call its reader has taken.
    """

    def __init__(
        self,
        runner: CallRunner,
        library: Library,
        spec: TemplateDefined,
        home: Home,
        taken: Callable[[int], int],
    ) -> None:
        self._runner = runner
        self._library = library
        self._home = home
        self._loop = asyncio.new_event_loop()
        self._groups = {
            name: _Group(limit)
            for name, limit in {"": spec.concurrency, **spec.concurrency_groups}.items()
        }
        self._inbox: deque[Assignment] = deque()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._contexts: dict[asyncio.Task[None], TaskContext] = {}
        self._group_of: dict[int, _Group] = {}
        """Of calls that have not had their first turn."""
        self._readers: dict[int, asyncio.Event] = {}
        self._taken = taken
        self._finished: list[Done] = []
        self._stopped = asyncio.Event()
        self._pinged_at = 0.0
        """When the loop was last asked for a sign of life that it has not given yet; 0 for none."""
        self._warned: TaskContext | None = None

    # ---- in whichever thread reads the channel ----------------------------------------------

    def accept(self, calls: Iterable[Assignment]) -> None:
        """See `Host`."""
        self._inbox.extend(calls)
        self._soon(self._begin)

    def interrupt(self, message: TaskInterrupted) -> None:
        """See `Host`."""
        self._soon(self._cancel, message.task)

    def consumed(self, call: int) -> None:
        """See `Host`."""
        self._soon(self._wake_writer, call)

    def stop(self) -> None:
        """See `Host`."""
        self._soon(self._stopped.set)

    def watch(self) -> None:
        """See `Host`: warn of a call that blocks the loop."""
        now = time.monotonic()
        if not self._pinged_at:
            if self._tasks:
                self._pinged_at = now
                self._soon(self._pong)
            return
        blocked_s = now - self._pinged_at
        if blocked_s < BLOCKED_S:
            return
        task = asyncio.current_task(self._loop)
        context = self._contexts.get(task) if task is not None else None
        if context is not None and context is not self._warned:
            self._warned = context
            self._home.warn(
                context,
                f"parallax: {context.name} has blocked the event loop of its actor for "
                f"{blocked_s:.1f} s; no other call runs meanwhile. Await what takes long, or move "
                "it to a thread with `await asyncio.to_thread(...)`.\n",
            )

    def _soon(self, function: Callable[..., object], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    # ---- on the loop ------------------------------------------------------------------------

    def serve(self) -> None:
        """See `Host`."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._stopped.wait())
        except ActorExit:  # raised in a task of the user's own, it passes through the loop
            self._leave()
        for task in self._tasks.values():
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _leave(self) -> None:
        self._home.leave()
        self._stopped.set()

    def _pong(self) -> None:
        self._pinged_at = 0.0

    def _begin(self) -> None:
        inbox = self._inbox
        while inbox:
            call = inbox.popleft()
            group = self._groups[self._library.specs[call.template].concurrency_group]
            if group.free:
                group.free -= 1
                self._start(call, group)
            else:
                group.waiting.append(call)

    def _go_on(self, group: _Group) -> None:
        """A call of this group is over: the next one may begin."""
        if group.waiting:
            self._start(group.waiting.popleft(), group)
        else:
            group.free += 1

    def _start(self, call: Assignment, group: _Group) -> None:
        self._group_of[call.id] = group
        task = self._tasks[call.id] = self._loop.create_task(self._run(call, group))
        task.add_done_callback(lambda task: self._contexts.pop(task, None))

    async def _run(self, call: Assignment, group: _Group) -> None:
        done = Done(call.id, call.attempt, [], {}, time.time())
        clock = time.perf_counter()
        spec = self._library.specs[call.template]
        context = context_of(spec, call)
        current_call.set(context)
        task = asyncio.current_task()
        assert task is not None
        self._contexts[task] = context
        del self._group_of[call.id]
        self._home.begun(call, spec.concurrency_group)
        try:
            template = load(self._library, call, done)
            if template is not None:
                await self._runner.run_async(template, call, done, self._await_reader)
        except ActorExit:
            self._leave()
            return
        done.duration_s = time.perf_counter() - clock
        engine.cancelled_calls.discard(call.id)
        self._readers.pop(call.id, None)
        del self._tasks[call.id]
        self._go_on(group)
        # What ends in one turn of the loop travels together.
        self._finished.append(done)
        if len(self._finished) == 1:
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        finished, self._finished = self._finished, []
        last = finished.pop()
        for done in finished:
            self._home.finished(done, last=False)
        self._home.finished(last, last=True)

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None and task in self._contexts:
            engine.cancelled_calls.add(number)
            task.cancel()
            return
        if task is not None:  # it has not had its first turn, and so could not say how it ended
            task.cancel()
            del self._tasks[number]
            self._go_on(self._group_of.pop(number))
            self._home.dropped(number)
            return
        for group in self._groups.values():
            for call in group.waiting:
                if call.id == number:
                    group.waiting.remove(call)
                    self._home.dropped(number)
                    return

    # ---- streams ----------------------------------------------------------------------------

    async def _await_reader(self, call: Assignment, index: int, limit: int) -> None:
        if not limit:
            await asyncio.sleep(0)  # other calls want their turn
            return
        event = self._readers.setdefault(call.id, asyncio.Event())
        while index + 1 - self._taken(call.id) >= limit:
            event.clear()
            await event.wait()

    def _wake_writer(self, call: int) -> None:
        event = self._readers.get(call)
        if event is not None:
            event.set()
