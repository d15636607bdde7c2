"""Cancelling tasks: on request, and because nobody is left who wants them."""

from __future__ import annotations

from collections.abc import Iterable

from parallax.core.interrupts import Interrupts, why_cancelled
from parallax.core.objects import ObjectTable
from parallax.core.records import ObjectRecord, TaskRecord
from parallax.core.states import TaskState
from parallax.core.tasks import TaskTable
from parallax.messages import CancelRequested

ORPHAN_GRACE_S = 1.0
"""A running task that nobody wants may ignore its interrupt for so long."""


class Cancels:
    """Ends tasks before their time: those that wait at once, those at engines by an interrupt."""

    def __init__(self, tasks: TaskTable, objects: ObjectTable, interrupts: Interrupts) -> None:
        self._tasks = tasks
        self._objects = objects
        self._interrupts = interrupts

    def request(self, request: CancelRequested, now: float) -> None:
        """Cancel the tasks that make these objects; those that have ended are left alone."""
        grace_s = 0.0 if request.force else request.grace_s
        for object_id in request.ids:
            row = self._objects.rows.get(object_id)
            task = self._tasks.rows.get(object_id) if row is None else row.task
            if task is None or task.state is TaskState.ENDED:
                continue
            if task.chunk and task.returns > 1:
                if row is not None and row.pending:
                    self._cancel_item(task, row, grace_s, now)
            else:
                self.cancel(task, recursive=request.recursive, grace_s=grace_s, now=now)

    def cancel(self, task: TaskRecord, *, recursive: bool, grace_s: float, now: float) -> None:
        """Cancel a task, and if so wished what it has submitted, and so on."""
        doomed = [task]
        for parent in doomed:
            if recursive and parent.children:
                rows = self._tasks.rows
                doomed += [rows[child] for child in sorted(parent.children) if child in rows]
        for one in reversed(doomed):
            if one.state is TaskState.ENDED:
                continue
            one.cancelled = one.cancelled or "cancelled"
            if one.engine is None:
                self._tasks.fail(one, why_cancelled(one))
            else:
                if one.is_call:
                    # What was called before the cancel, the actor hears of before it.
                    self._tasks.actors.feed(one)
                # A call must not take its actor with it.
                kill_after_s = grace_s
                if one.is_call:
                    kill_after_s = -1.0
                    self._tasks.actors.cancelled(one)
                self._interrupts.interrupt(one, grace_s=kill_after_s, now=now)

    def _cancel_item(
        self, chunk: TaskRecord, row: ObjectRecord, grace_s: float, now: float
    ) -> None:
        if chunk.skipped is None:
            chunk.skipped = []
        chunk.skipped.append(row.id)
        if len(chunk.skipped) == chunk.returns:
            self.cancel(chunk, recursive=True, grace_s=grace_s, now=now)
            return
        failure = why_cancelled(chunk)
        self._tasks.count_failure(chunk, 1, failure)
        self._objects.complete(row, failure)
        if chunk.engine is not None:
            self._interrupts.interrupt_item(chunk, row.id, grace_s=grace_s, now=now)

    def abandon(self, tasks: Iterable[TaskRecord], now: float) -> None:
        """Those who submitted these are gone. What nobody else refers to is cancelled.

        The newest first: they are what holds on to the older ones.
        """
        for task in sorted(tasks, key=lambda task: -task.id):
            if task.state is not TaskState.ENDED and not self._referred_to(task):
                self.cancel(task, recursive=True, grace_s=ORPHAN_GRACE_S, now=now)

    def end_unread(self, parent: TaskRecord, now: float) -> None:
        """An attempt of this task is over, and with it the readers of streams that it has begun."""
        rows = self._tasks.rows
        children = (rows.get(child) for child in parent.children or ())
        self.abandon([child for child in children if child is not None and child.stream], now)

    def _referred_to(self, task: TaskRecord) -> bool:
        rows = self._objects.rows
        ids = range(task.id, task.id + task.returns)
        return any(i in rows and rows[i].refs > 0 for i in ids)
