"""Who waits for whom: a circle of waits through an actor would never end, and is broken.

A task waits in `get`, in `wait` for all of them, or for the next item of a stream; a call waits for
its turn, and for the constructor.

A call that waits for another one of the same actor waits for ever, since that one begins when the
first has ended. So does a chain of calls and tasks that leads back to where it began. Each time a
task says what it waits for, the chain is followed; most end after a step or two.
"""

from __future__ import annotations

from collections.abc import Iterator

from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.placement import Placement
from parallax.core.records import TaskRecord
from parallax.core.states import TaskState
from parallax.core.tasks import TaskTable
from parallax.messages import Failure, TaskInterrupted

MAX_STEPS = 10_000
"""Tasks that are looked at in one search."""


class Waits:
    """What blocked tasks wait for."""

    def __init__(
        self, tasks: TaskTable, objects: ObjectTable, placement: Placement, outbox: Outbox
    ) -> None:
        self._rows: dict[int, list[int]] = {}
        """By task: objects of which it needs all, streams by the ids of their tasks. Some of these
        tasks may have gone on since."""
        self._tasks = tasks
        self._objects = objects
        self._placement = placement
        self._outbox = outbox

    def blocked(self, number: int, objects: list[int]) -> None:
        """A task waits for all of these objects. If it waits for itself, the call that could only
        begin after it fails."""
        task = self._tasks.rows.get(number)
        if task is None or not objects:
            return
        self._rows = {n: waits for n, waits in self._rows.items() if self._waits(n)}
        self._rows[number] = objects
        circle = self._circle(task)
        queued = next((one for one in circle if one.is_call and not _runs(one)), None)
        if queued is not None:
            self._break(queued, circle)

    def unblocked(self, number: int) -> None:
        """The task goes on."""
        self._rows.pop(number, None)

    def _waits(self, number: int) -> bool:
        task = self._tasks.rows.get(number)
        if task is None or task.engine is None:
            return False
        return number == task.engine.blocked or number in task.engine.waiting

    def _circle(self, start: TaskRecord) -> list[TaskRecord]:
        """The tasks on a way from this one back to it; none when there is no such way."""
        came_from: dict[int, TaskRecord] = {}
        pending = [start]
        while pending and len(came_from) < MAX_STEPS:
            task = pending.pop()
            for following in self._following(task):
                if following is start:
                    way = [task]
                    while way[-1] is not start:
                        way.append(came_from[way[-1].id])
                    return way[::-1]
                if following.id not in came_from:
                    came_from[following.id] = task
                    pending.append(following)
        return []

    def _following(self, task: TaskRecord) -> Iterator[TaskRecord]:
        """What must end, or go on, before this one can."""
        needed = self._rows.get(task.id, [])
        if task.state is TaskState.WAITING:
            needed = [*needed, *task.deps]
        for object_id in needed:
            row = self._objects.rows.get(object_id)
            if row is None:
                maker = self._tasks.rows.get(object_id)
                stream = maker.stream if maker is not None else None
                # An item that was yielded, and not taken, is on its way to the reader.
                if maker is not None and stream is not None and stream.count <= stream.consumed:
                    yield maker
            elif row.pending and row.task is not None:
                yield row.task
        actor = task.actor
        if actor is None or not task.is_call or _runs(task):
            return
        if actor.engine is None and actor.constructor is not None:
            yield actor.constructor
        if not actor.ordered:
            return
        if actor.engine is not None and actor.engine.queue:
            yield next(iter(actor.engine.queue.values()))
        lane = actor.lanes.get(task.owner)
        if task.engine is None and lane is not None:
            head = lane.peek()
            if head is not None and head is not task:
                yield head

    def _break(self, call: TaskRecord, circle: list[TaskRecord]) -> None:
        names = " → ".join(task.name for task in (*circle, circle[0]))
        failure = Failure(
            "deadlock",
            f"{call.name} would never begin: calls wait for each other in a circle, {names}. An "
            "actor runs one call at a time; have it call itself directly, give it max_concurrency, "
            "or do not wait for the result inside.",
            b"",
            call.id,
        )
        if call.engine is not None:
            engine = call.engine
            self._outbox.send(engine.peer, TaskInterrupted(call.id, call.attempt, "deadlock"))
            self._placement.take(engine, call)
        self._tasks.fail(call, failure)


def _runs(call: TaskRecord) -> bool:
    """Is it the call that its actor's engine computes now?"""
    engine = call.engine
    return engine is not None and next(iter(engine.queue)) == call.id
