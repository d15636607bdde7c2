"""A simulated engine: it honours its run-queue, interrupts and recalls, and runs programs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parallax.messages import (
    ActorExited,
    ActorStopped,
    Assignment,
    BlobDefined,
    Done,
    FromHub,
    ItemsConsumed,
    Stored,
    TaskBlocked,
    TaskInterrupted,
    TasksAssigned,
    TasksFinished,
    TasksRecalled,
    TasksReturned,
    TaskStalled,
    TaskUnblocked,
    TemplateDefined,
    TemplatesForgotten,
    ToHub,
)
from parallax.testing.attempts import Attempt
from parallax.testing.submitters import Submitter

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

FLUSH_S = 0.001
"""Results of tiny tasks travel together; none waits for longer than this."""


class SimEngine(Submitter):
    """One engine process."""

    def __init__(self, cluster: Cluster, number: int, node: int, *, slowness: float = 1.0) -> None:
        super().__init__(cluster, "engine", number=number, node=node)
        self.number = number
        self.slowness = slowness
        self.last_begun = self.last_turn = 0
        self.actor = 0
        """The actor that lives here."""
        self.busy_s = 0.0
        self.running: Attempt | None = None
        self.waits_for: list[int] = []
        """Objects without which the running task cannot go on."""
        self.consumed_of: dict[int, int] = {}
        """How many items of each streaming task were taken."""
        self._queue: deque[Assignment] = deque()
        self._blobs: set[bytes] = set()
        self._known: dict[int, TemplateDefined] = {}
        self._needless: set[int | bytes] = set()
        self._finished: list[Done] = []
        self._blocked = False

    def stopped(self) -> None:
        self.cluster.nodes[self.node].kill(self, status=0)

    def send(self, message: ToHub) -> None:
        self._flush()
        super().send(message)

    @property
    def queued(self) -> list[int]:
        """Tasks that have not begun."""
        return [task.id for task in self._queue]

    # ---- what the hub says ----------------------------------------------------------------

    def receive(self, message: FromHub) -> None:
        if isinstance(message, TasksAssigned):
            if self._blocked and not self.actor:  # else they would wait behind one that waits
                self.send(TasksReturned([task.id for task in message.tasks]))
            else:
                self._queue.extend(message.tasks)
                self._next()
        elif isinstance(message, TasksRecalled):
            self._give_back(message.ids)
        elif isinstance(message, TaskInterrupted):
            self._interrupt(message)
        elif isinstance(message, TemplateDefined):
            self._known[message.template] = message
            self._needless.discard(message.template)
        elif isinstance(message, TemplatesForgotten):
            self._needless.update(message.templates, message.blobs)
        elif isinstance(message, ItemsConsumed):
            taken = max(self.consumed_of.get(message.task, 0), message.count)
            self.consumed_of[message.task] = taken
            if self.running is not None and self.running.task.id == message.task:
                self.running.continue_stream()
        elif isinstance(message, BlobDefined):
            self._blobs.add(message.key)
            self._needless.discard(message.key)
        elif isinstance(message, ActorStopped):
            self.cluster.nodes[self.node].kill(self, status=0)
        else:
            super().receive(message)

    def _give_back(self, ids: list[int]) -> None:
        wanted = set(ids)
        returned = [task.id for task in self._queue if task.id in wanted]
        self._queue = deque(task for task in self._queue if task.id not in wanted)
        self.send(TasksReturned(returned, recalled=True))

    def _interrupt(self, message: TaskInterrupted) -> None:
        named = message.task, message.attempt
        running = self.running
        if running is not None and (running.task.id, running.task.attempt) == named:
            running.interrupt(message.object_id, message.reason)
            return
        for waiting in list(self._queue):
            if (waiting.id, waiting.attempt) == named:
                if message.object_id:
                    waiting.skipped.append(message.object_id)
                else:
                    self._queue.remove(waiting)
                    self.send(TasksReturned([waiting.id]))

    # ---- the run-queue --------------------------------------------------------------------

    def _next(self) -> None:
        while self.running is None and self._queue and self.alive:
            if self._needless:
                self._forget()
            task = self._queue.popleft()
            assert task.template in self._known, "a task came before its template"
            assert self._known[task.template].function in self._blobs, "or before its code"
            missing = [
                dep
                for dep, value in zip([0, *task.deps], [task.args, *task.values], strict=True)
                if isinstance(value, Stored) and not self.cluster.has(value.name, self)
            ]
            if missing and not self.actor:
                self.send(TaskStalled(task.id, task.attempt, missing))
                continue
            self.running = attempt = Attempt(self, task, self._known[task.template])
            if missing:
                attempt.fetch()
            else:
                attempt.begin()

    def _forget(self) -> None:
        """Between tasks: what is needless goes, unless queued tasks need it."""
        used = {task.template for task in self._queue}
        code = {self._known[template].function for template in used}
        for name in self._needless - used - code:
            if isinstance(name, int):
                del self._known[name]
            else:
                self._blobs.discard(name)
            self._needless.discard(name)

    # ---- what the running attempt says ----------------------------------------------------

    def block(self, objects: Sequence[int] = ()) -> None:
        """The task waits: its CPU is free meanwhile, and what is queued may run elsewhere.

        Args:
            objects: all of which it needs to go on.
        """
        self.waits_for = list(objects)
        if not self._blocked:
            self._blocked = True
            assert self.running is not None
            if self._queue and not self.actor:
                self.send(TasksReturned([task.id for task in self._queue]))
                self._queue.clear()
            self.send(TaskBlocked(self.running.task.id, list(objects)))

    def unblock(self) -> None:
        """The task goes on, if it waited."""
        if self._blocked:
            self._blocked = False
            self.waits_for = []
            assert self.running is not None
            self.send(TaskUnblocked(self.running.task.id))

    def leave_actor(self) -> None:
        """The actor goes, because its own code wants so."""
        self._flush()
        self.send(ActorExited(self.actor))
        self._queue.clear()

    def ended(self, done: Done) -> None:
        """The running attempt is over."""
        self.running = None
        self._finished.append(done)
        if len(self._finished) == 1:
            self.cluster.world.after(FLUSH_S if self._queue else 0.0, self._flush)
        self.cluster.world.after(0.0, self._next)

    def _flush(self) -> None:
        if self._finished and self.alive:
            done, self._finished = self._finished, []
            super().send(TasksFinished(done))
            if self.cluster.repeats():
                super().send(TasksFinished(done))
