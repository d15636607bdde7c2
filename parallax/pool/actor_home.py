"""What an engine is for the actor that lives there."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from parallax.messages import (
    ActorExited,
    Assignment,
    Done,
    Printed,
    TaskInterrupted,
    TasksFinished,
    TasksReturned,
    TemplateDefined,
)
from parallax.pool.actor_calls import CallRunner
from parallax.pool.actor_host import Host, ThreadedHost, is_async
from parallax.pool.client import Client
from parallax.pool.context import TaskContext, engine
from parallax.pool.item_writer import ItemWriter
from parallax.pool.library import Library
from parallax.pool.status import StatusPage
from parallax.pool.task_output import TaskOutput
from parallax.pool.waiter import FOREVER

LOOK_S = 0.2
"""Between two looks at an event loop."""
NAP_S = 60.0


class ActorHome:
    """Carries calls to the actor's host, if it has one, and what comes of them to the hub.

    Args:
        streams: stand in for `sys.stdout` and `sys.stderr`.
        items: of streaming calls.
        waits: how many waits for others each call is in; under the client's lock.
    """

    def __init__(
        self,
        actor: int,
        client: Client,
        status: StatusPage,
        streams: Sequence[TaskOutput],
        items: ItemWriter,
        waits: dict[int, int],
    ) -> None:
        engine.actor = actor
        self._client = client
        self._status = status
        self._streams = streams
        self._items = items
        self._waits = waits
        self._host: Host | None = None
        self._groups: dict[str, int] = {}
        """Where on the status page the turns of each concurrency group are."""
        self.done = False
        """The actor has ended: it is what `_wait` waits for."""
        self._ended = threading.Event()

    def host_of(self, runner: CallRunner, spec: TemplateDefined, library: Library) -> Host | None:
        """What runs the actor's calls, None when the engine's main thread does so by itself."""
        groups = ["", *spec.concurrency_groups]
        if len(groups) > 1 or spec.concurrency > 1:
            self._groups = {name: place for place, name in enumerate(groups)}
            self._status.take_turns(len(groups))
        if is_async(type(runner.instance)):
            from parallax.pool.actor_loop import AsyncHost  # late: see parallax.refs

            self._host = AsyncHost(runner, library, spec, self, self._items.taken)
            self._client.channel.idle_step_s = lambda: LOOK_S
        elif spec.concurrency > 1 or spec.concurrency_groups:
            self._host = ThreadedHost(runner, library, spec, self, self._wait, self._wake)
        return self._host

    @property
    def hosts(self) -> bool:
        """Is there a host, or does the engine's main thread run the calls?"""
        return self._host is not None

    # ---- what the hub says, in whichever thread reads the channel ---------------------------

    def accept(self, calls: Iterable[Assignment]) -> None:
        """Calls have come, and there is a host."""
        assert self._host is not None
        self._host.accept(calls)

    def interrupt(self, message: TaskInterrupted) -> bool:
        """A call was cancelled. False when that is for the engine to do."""
        if self._host is None:
            return False
        self._host.interrupt(message)
        return True

    def consumed(self, call: int) -> None:
        """The reader of a streaming call has taken something."""
        if self._host is not None:
            self._host.consumed(call)

    def watch(self) -> None:
        """Called now and then."""
        if self._host is not None:
            self._host.watch()

    def stop(self) -> None:
        """The actor is to end."""
        if self._host is not None:
            self._host.stop()

    # ---- for hosts --------------------------------------------------------------------------

    def _wait(self) -> None:
        while not (self.done or self._client.lost):
            self._client.channel.wait(self, lambda: self._ended, FOREVER, NAP_S)

    def _wake(self) -> None:
        self.done = True
        self._ended.set()
        self._client.channel.wake()

    # ---- see `Home` -------------------------------------------------------------------------

    def begun(self, call: Assignment, group: str) -> None:
        """See `Home`."""
        self._status.set(call.id)
        if self._groups:
            self._status.set_turn(self._groups[group], call.turn)

    def finished(self, done: Done, *, last: bool) -> None:
        """See `Home`."""
        self._flush_output()
        client = self._client
        with client.lock:
            self._waits.pop(done.task, None)
            self._items.forget(done.task)
            outbox = client.channel.outbox
            if outbox and type(latest := outbox[-1]) is TasksFinished:
                latest.done.append(done)
            else:
                outbox.append(TasksFinished([done]))
            client.channel.rows += 1
        if last:
            client.channel.flush()
        else:
            client.channel.posted()

    def cancelled(self, call: int) -> None:
        """See `Home`."""
        self._items.wake(call)

    def dropped(self, call: int) -> None:
        """See `Home`."""
        with self._client.lock:
            self._client.channel.outbox.append(TasksReturned([call]))
            self._client.channel.rows += 1

    def leave(self) -> None:
        """See `Home`."""
        self._flush_output()
        self._client.channel.post(ActorExited(engine.actor))
        self._client.channel.flush()
        self.stop()

    def warn(self, task: TaskContext, text: str) -> None:
        """See `Home`."""
        with self._client.lock:
            message = Printed(task.task, task.job, "stderr", text)
            self._client.channel.outbox.append(message)
            self._client.channel.rows += 1

    def _flush_output(self) -> None:
        for stream in self._streams:
            stream.flush()
