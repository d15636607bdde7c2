"""Stopping tasks that run: the interrupt, the kill that follows it, the clock of `timeout_s`."""

from __future__ import annotations

from collections.abc import Callable

from parallax.core.fleet import Fleet
from parallax.core.outbox import Outbox
from parallax.core.records import EngineRecord, TaskRecord
from parallax.core.timers import Timers
from parallax.messages import Failure, ItemUnwanted, TaskInterrupted

TIMEOUT_GRACE_S = 1.0
"""From the interrupt of a task that ran too long to the kill of its engine."""
FIRST_LOOK_S = 0.1
LAST_LOOK_S = 5.0
"""Between looks whether an item that must end is the one that runs now: longer each time."""


class Interrupts:
    """Says to engines, and in the end to nodes, which task must stop."""

    def __init__(self, fleet: Fleet, outbox: Outbox, timers: Timers) -> None:
        self._fleet = fleet
        self._outbox = outbox
        self._timers = timers

    def interrupt(self, task: TaskRecord, *, grace_s: float, now: float) -> None:
        """Stop this task, which an engine has; kill the engine when it has not obeyed in time.

        Args:
            grace_s: how long it may take; negative for as long as it likes.
        """
        engine = task.engine
        assert engine is not None
        reason = task.cancelled or "cancelled"
        self._outbox.send(engine.peer, TaskInterrupted(task.id, task.attempt, reason))
        if grace_s >= 0.0:
            attempt = task.attempt
            self._later(now, grace_s, lambda: self._kill(engine, task, attempt))

    def interrupt_item(self, chunk: TaskRecord, item: int, *, grace_s: float, now: float) -> None:
        """Stop or skip one item of a chunk that an engine has, like `interrupt`.

        The hub does not know which item runs, and an engine that is stuck cannot tell. Its node
        can: the engine has written it down.
        """
        engine = chunk.engine
        assert engine is not None
        message = TaskInterrupted(chunk.id, chunk.attempt, "cancelled", item)
        self._outbox.send(engine.peer, message)
        if grace_s >= 0.0:
            attempt = chunk.attempt
            self._later(
                now, grace_s, lambda: self._kill_item(engine, chunk, attempt, item, FIRST_LOOK_S)
            )

    def start_clock(self, engine: EngineRecord, task: TaskRecord, now: float) -> None:
        """The engine begins this task, alone: from now on its `timeout_s` counts."""
        timeout_s = task.group.template.spec.timeout_s
        if timeout_s:
            engine.timer = self._timers.at(now + timeout_s, lambda later: self._expire(task, later))

    def stop_clock(self, engine: EngineRecord) -> None:
        """That task has ended."""
        if engine.timer is not None:
            self._timers.cancel(engine.timer)
            engine.timer = None

    def _expire(self, task: TaskRecord, now: float) -> None:
        task.cancelled = task.cancelled or "timeout"
        self.interrupt(task, grace_s=TIMEOUT_GRACE_S, now=now)

    def _kill(self, engine: EngineRecord, task: TaskRecord, attempt: int) -> None:
        if _computes(engine, task, attempt):
            self._fleet.retire(engine, task.cancelled or "cancelled")

    def _kill_item(
        self, engine: EngineRecord, chunk: TaskRecord, attempt: int, item: int, rest_s: float
    ) -> None:
        given_back = item >= chunk.id + chunk.returns
        if given_back or engine.dying or not _computes(engine, chunk, attempt):
            return
        engine.condemned = chunk.id
        self._outbox.send(engine.node.peer, ItemUnwanted(engine.number, item))
        # Another item may run now, and this one begin before the engine has heard that it is not
        # wanted: whoever is stuck while it holds the GIL hears nothing.
        self._timers.after(
            rest_s,
            lambda now: self._kill_item(engine, chunk, attempt, item, min(2 * rest_s, LAST_LOOK_S)),
        )

    def _later(self, now: float, grace_s: float, action: Callable[[], None]) -> None:
        if grace_s > 0.0:
            self._timers.at(now + grace_s, lambda later: action())
        else:
            action()


def _computes(engine: EngineRecord, task: TaskRecord, attempt: int) -> bool:
    # Only the head of the queue computes; a task behind it is dropped without a kill.
    return task.engine is engine and task.attempt == attempt and next(iter(engine.queue)) == task.id


def why_cancelled(task: TaskRecord) -> Failure:
    """What the caller of a cancelled task gets."""
    if task.cancelled == "timeout":
        limit_s = task.group.template.spec.timeout_s
        return Failure(
            "timeout",
            f"{task.name} was stopped: it ran longer than its timeout_s={limit_s:g}",
            b"",
            task.id,
        )
    shape = task.group.template.shape
    if task.cancelled == "group" and shape.group is not None:
        return shape.group.refusal(task.name, shape, task.id)
    return Failure("cancelled", f"{task.name} was cancelled", b"", task.id)
