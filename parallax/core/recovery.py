"""What happens to tasks and objects when engines give work back, stall, or die."""

from __future__ import annotations

from collections.abc import Iterable

from parallax.core import chunks
from parallax.core.interrupts import why_cancelled
from parallax.core.objects import ObjectTable, lost
from parallax.core.placement import Placement
from parallax.core.records import EngineRecord, ObjectRecord, TaskRecord
from parallax.core.states import TaskState
from parallax.core.tasks import TaskTable
from parallax.messages import Failure, Stored

ANY_OF_THEM = -1
"""Instead of what an engine was computing, when nobody knows."""


class Recovery:
    """Brings tasks back to the ready table, and lost values back from their lineage."""

    def __init__(self, tasks: TaskTable, objects: ObjectTable, placement: Placement) -> None:
        self._tasks = tasks
        self._objects = objects
        self._placement = placement

    def returned(self, engine: EngineRecord, task_ids: list[int]) -> None:
        """Tasks that an engine had not begun are ready again."""
        for task_id in task_ids:
            task = engine.queue.get(task_id)
            if task is not None:
                self._placement.take(engine, task)
                if task.cancelled:
                    self._tasks.fail(task, why_cancelled(task))
                elif task.is_call:
                    self._tasks.actors.put_back(task)
                else:
                    self._tasks.make_ready(task)
        self._placement.relax(engine)

    def items_returned(self, engine: EngineRecord, task_id: int, attempt: int, kept: int) -> None:
        """A chunk that is being computed gave back all but its first `kept` items."""
        task = engine.queue.get(task_id)
        if task is not None and task.chunk and task.attempt == attempt and 0 < kept < task.returns:
            chunks.give_back(self._tasks, task, kept)

    def stalled(self, engine: EngineRecord, task_id: int, attempt: int, missing: list[int]) -> None:
        """A task could not begin because values that it needs were lost: rebuild them first."""
        task = engine.queue.get(task_id)
        if task is None or task.attempt != attempt:
            return
        self._placement.take(engine, task)
        if task.cancelled:
            self._tasks.fail(task, why_cancelled(task))
        else:
            task.attempt += 1
            if task.is_call:
                self._tasks.actors.put_back(task)
            self.rebuild(self._still_lost(task, missing))
            self._resume(task, missing)
        self._placement.relax(engine)

    def _still_lost(self, task: TaskRecord, missing: list[int]) -> list[ObjectRecord]:
        """Those of the missing objects whose value is the one that the engine looked for."""
        sent = dict(zip(task.deps, task.values or [], strict=False))
        rows = self._objects.rows
        still = []
        for object_id in dict.fromkeys(missing):
            row = rows.get(object_id)
            if row is None or type(row.value) is not Stored:
                continue
            if row.value is sent.get(object_id, row.value):
                still.append(row)
        return still

    def _resume(self, task: TaskRecord, missing: list[int]) -> None:
        needed = set(task.deps) | set(task.refs)
        for object_id in missing:
            if object_id not in needed:
                self._tasks.fail(task, _arguments_lost(task))
                return
            value = self._objects.rows[object_id].value
            if type(value) is Failure:
                self._tasks.fail(task, value)
                return
        self._tasks.await_values(task)

    def engine_lost(self, engine: EngineRecord, running: int, failure: Failure) -> None:
        """An engine is gone. What it computed is retried or fails; what it had queued moves on.

        Args:
            running: the last object that it began to compute, 0 for none: only that task pays
                with a retry. Those before it in the queue were over, but their results are lost.
                `ANY_OF_THEM` when nobody knows: then all may have begun, and the first one pays.
            failure: what the caller of a task gets that was begun and has no retry left.
        """
        # If it was killed because of one item, whichever other one was hit is innocent.
        guilty = engine.condemned not in engine.queue
        queue = list(engine.queue.values())
        culprit = next((i for i, task in enumerate(queue) if makes(task, running)), -1)
        begun = culprit + 1
        if running == ANY_OF_THEM:
            culprit, begun = 0, len(queue)
        for index, task in enumerate(queue):
            self._placement.take(engine, task)
            if task.cancelled:
                self._tasks.fail(task, why_cancelled(task))
            elif index >= begun:
                self._tasks.make_ready(task)
            elif task.chunk and task.returns > 1:
                items = running - task.id + 1 if makes(task, running) else task.returns + 1
                chunks.engine_died(self._tasks, task, items, failure, charge=guilty)
            elif not task.retries_left:
                self._tasks.fail(task, failure)
            elif index == culprit and guilty:
                self._tasks.retry(task)
            else:
                self._tasks.again(task)

    def rebuild(self, lost_rows: Iterable[ObjectRecord]) -> None:
        """These values were lost: run the tasks that made them again, and before them whatever
        made their arguments when those are gone too."""
        wanted = list(lost_rows)
        hopeless: list[tuple[ObjectRecord, Failure]] = []
        again: list[TaskRecord] = []
        while wanted:
            row = wanted.pop()
            self._objects.lose(row)
            task = row.task
            if task is None:
                why = "no task made it that could run again: it was put, or is an actor's"
                hopeless.append((row, lost("", row.id, why)))
            elif task.state is not TaskState.ENDED:  # it runs again already, for another value
                if task.chunk and task.id in self._tasks.rows:
                    _reopen(task, 1)
            elif not task.retries_left:
                why = "its task has no retries left"
                hopeless.append((row, lost(task.name, row.id, why)))
            else:
                wanted += self._objects.unsettle(task)
                task.state = TaskState.WAITING
                again.append(task)
        for row, failure in hopeless:
            self._objects.give_up(row, failure)
        for task in again:
            self._run_again(task)

    def _run_again(self, task: TaskRecord) -> None:
        rows = self._objects.rows
        ids = range(task.id, task.id + task.returns)
        items = sum(rows[i].pending for i in ids if i in rows and rows[i].task is task)
        task.retries_left -= task.retries_left > 0
        task.attempt += 1
        self._tasks.rows[task.id] = task
        task.group.counts.retried += 1
        _reopen(task, items if task.chunk else 1)
        self._tasks.await_values(task)


def _reopen(task: TaskRecord, count: int) -> None:
    """So many calls that were done are pending again."""
    task.group.counts.pending += count
    task.group.counts.done -= count


def _arguments_lost(task: TaskRecord) -> Failure:
    return Failure(
        "object_lost",
        f"the arguments of {task.name} left the store before it could begin. Submit it again.",
        b"",
        task.id,
    )


def makes(task: TaskRecord, object_id: int) -> bool:
    """Is it this task that computes the object? A task without returns goes by its own id."""
    return task.id <= object_id < task.id + max(task.returns, 1)
