"""The task table: from submission to the one end that each task has.

    WAITING ──(last argument has its value)──► READY ──(placed)──► ASSIGNED ──► ENDED
       ▲                                         ▲                    │
       └────────(an argument was lost)───────────┴──(retry, taken ────┘
                                                      back, stalled)

Late news is a named case: a result whose task or attempt is not the one at hand is discarded.
"""

from __future__ import annotations

from collections import deque

from parallax.core.jobs import JobRecord
from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.placement import Placement
from parallax.core.records import (
    EngineRecord,
    ObjectRecord,
    PeerRecord,
    Stream,
    TaskRecord,
    Template,
)
from parallax.core.resources import describe
from parallax.core.states import TaskState
from parallax.core.timers import Timers
from parallax.errors import ProtocolError
from parallax.messages import (
    Chunk,
    Done,
    Failure,
    ItemReady,
    ItemsConsumed,
    ItemYielded,
    TaskInterrupted,
    TaskSpec,
    Value,
)

TIMEOUT_GRACE_S = 1.0
"""From the interrupt of a task that ran too long to the kill of its engine."""


class TaskTable:
    """All tasks that have not ended."""

    def __init__(
        self,
        peers: dict[int, PeerRecord],
        objects: ObjectTable,
        placement: Placement,
        outbox: Outbox,
        timers: Timers,
    ) -> None:
        self.rows: dict[int, TaskRecord] = {}
        self.templates: dict[int, Template] = {}
        self._objects = objects
        self._placement = placement
        self._outbox = outbox
        self._timers = timers
        self._peers = peers
        self._failing: deque[tuple[TaskRecord, Failure]] = deque()

    # ---- submission -----------------------------------------------------------------------

    def submit(
        self, owner: PeerRecord, job: JobRecord, parent_id: int, specs: list[TaskSpec]
    ) -> None:
        """Accept new tasks. One whose id is known already was sent twice and is ignored."""
        rows = self.rows
        objects = self._objects
        parent = rows.get(parent_id) if parent_id else None
        for spec in specs:
            if spec.id in rows or spec.id in objects.rows:
                continue
            template = self.templates[spec.template]
            chunk = type(spec.args) is Chunk
            returns = len(spec.args.items) if chunk else template.spec.num_returns  # type: ignore[union-attr]
            task = TaskRecord(spec, template, job, owner.number, returns)
            task.chunk = chunk
            if template.spec.streaming:
                task.items = Stream()
            if parent is not None:
                task.parent = parent_id
                task.depth = parent.depth + 1
                if parent.children is None:
                    parent.children = set()
                parent.children.add(spec.id)
            self._enter(task)
            for object_id in range(spec.id, spec.id + returns):
                objects.expect(object_id, owner, task)
            if spec.refs:
                objects.hold(spec.refs)
            if spec.deps:
                objects.hold(spec.deps)
                self._await(task)
            else:
                self._ready(task)

    def _enter(self, task: TaskRecord) -> None:
        self.rows[task.id] = task
        job = task.job
        job.tasks[task.id] = None
        count = task.returns if task.chunk else 1
        job.pending += count
        job.of(task.template.spec.name).pending += count

    def _await(self, task: TaskRecord) -> None:
        """Count the arguments that have no value yet; ready, or failed, when there is none."""
        task.state = TaskState.WAITING
        task.waiting = 0
        for object_id in task.deps:
            row = self._objects.rows[object_id]
            if type(row.value) is Failure:
                self.fail(task, row.value)
                return
            if row.value is None:
                task.waiting += 1
                if row.waiters is None:
                    row.waiters = [task]
                else:
                    row.waiters.append(task)
        if not task.waiting:
            self._ready(task)

    def on_value(self, task: TaskRecord, value: Value) -> None:
        """One of the arguments that the task waits for has its value."""
        if task.state is not TaskState.WAITING:
            return
        if type(value) is Failure:
            self.fail(task, value)
            return
        task.waiting -= 1
        if task.waiting == 0:
            self._ready(task)

    def _ready(self, task: TaskRecord, *, first: bool = False) -> None:
        if self._placement.feasible(task.template.shape):
            self._placement.add(task, first=first)
        else:
            self.fail(task, self._infeasible(task))

    def _infeasible(self, task: TaskRecord) -> Failure:
        shape = task.template.shape
        nodes = self._placement.nodes.values()
        has = "; ".join(f"node {n.number}: {describe(n.total)}" for n in nodes) or "no nodes"
        where = f" on node {shape.affinity}" if shape.affinity >= 0 else ""
        return Failure(
            "infeasible",
            f"{task.template.spec.name} asks for {shape.demand.describe()}{where}, which no node "
            f"of this cluster has ({has}). Ask for less with .options(...), or start a larger pool "
            "with parallax.init(num_cpus=..., resources=...).",
        )

    # ---- the end of an attempt --------------------------------------------------------------

    def finish(self, engine: EngineRecord, done: Done, now: float) -> None:
        """An engine has ended an attempt."""
        task = engine.queue.get(done.task)
        if task is None or task.attempt != done.attempt:
            for value in done.values:
                self._objects.discard(value)
            return
        if len(done.values) != task.returns and not (
            task.items is not None or (task.chunk and len(done.values) < task.returns)
        ):
            raise ProtocolError(
                f"task {task.id:016x} ended with {len(done.values)} values, not {task.returns}"
            )
        del engine.queue[done.task]
        engine.moved_at = now
        template = task.template
        values = done.values
        task.engine = None
        self._placement.free(engine, task)
        template.duration.add(done.duration_s, max(1, len(values)) if task.chunk else 1)
        task.job.of(template.spec.name).seconds += done.duration_s
        if template.spec.max_calls:
            self._count_call(engine, template)
        if task.cancelled:
            for value in values:
                self._objects.discard(value)
            self.fail(task, self._why_cancelled(task))
        elif done.retriable and task.retries_left:
            self._retry(task)
        else:
            if task.chunk and len(values) < task.returns:
                self._split(task, len(values))
            self._succeed(task, values, done.contained)
        self._placement.refill(engine, template.shape, now)
        self._placement.settle(engine)

    def _succeed(
        self, task: TaskRecord, values: list[Value], contained: dict[int, list[int]]
    ) -> None:
        rows = self._objects.rows
        objects = self._objects
        returns: list[ObjectRecord] = []
        failures = 0
        self._leave(task)
        object_id = task.id
        for value in values:
            row = rows.get(object_id)
            if type(value) is Failure:
                failures += 1
                task.job.fail(object_id, task.template.spec.name, value)
            if row is None or row.value is not None:
                objects.discard(value)
            else:
                objects.complete(row, value, contained.get(object_id) if contained else None)
                if object_id in rows:
                    returns.append(row)
            object_id += 1
        if task.items is not None:
            self._close_stream(task)
        counts = task.job.of(task.template.spec.name)
        total = len(values) if task.chunk else 1
        counts.failed += failures if task.chunk else min(failures, 1)
        counts.done += total - (failures if task.chunk else min(failures, 1))
        objects.settle(task, returns)

    def fail(self, task: TaskRecord, failure: Failure) -> None:
        """The task ends without a value; those who need it fail with the same failure."""
        # Dependents of dependents are reached through ObjectTable.complete and on_value; a chain
        # of thousands would overflow the stack, so failures queue up here instead.
        self._failing.append((task, failure))
        if len(self._failing) > 1:
            return
        while self._failing:
            task, failure = self._failing[0]
            if task.state is not TaskState.ENDED:
                self._fail_one(task, failure)
            self._failing.popleft()

    def _fail_one(self, task: TaskRecord, failure: Failure) -> None:
        ready = task.state is TaskState.READY
        self._leave(task)
        if ready:
            task.template.shape.discard(task)
        counts = task.job.of(task.template.spec.name)
        total = task.returns if task.chunk else 1
        if failure.kind == "cancelled":
            counts.cancelled += total
        else:
            counts.failed += total
            task.job.fail(task.id, task.template.spec.name, failure)
        for object_id in range(task.id, task.id + task.returns):
            row = self._objects.get(object_id)
            if row is not None and row.value is None:
                self._objects.complete(row, failure)
        if task.items is not None:
            self._close_stream(task)
        self._objects.drop(task.deps)
        self._objects.drop(task.refs)

    def _leave(self, task: TaskRecord) -> None:
        del self.rows[task.id]
        task.state = TaskState.ENDED
        job = task.job
        job.tasks.pop(task.id, None)
        count = task.returns if task.chunk else 1
        job.pending -= count
        job.of(task.template.spec.name).pending -= count
        if task.parent:
            parent = self.rows.get(task.parent)
            if parent is not None and parent.children is not None:
                parent.children.discard(task.id)

    def _retry(self, task: TaskRecord) -> None:
        task.retries_left -= task.retries_left > 0
        task.attempt += 1
        task.job.of(task.template.spec.name).retried += 1
        self._ready(task, first=True)

    def _split(self, task: TaskRecord, done: int) -> None:
        """A chunk gave back what it had not begun: each of those items is a task from now on."""
        assert type(task.args) is Chunk
        items = task.args.items
        job, template = task.job, task.template
        shift = task.returns - done
        job.pending -= shift
        job.of(template.spec.name).pending -= shift
        for position in range(done, task.returns):
            object_id = task.id + position
            seed = task.seed + position if task.seed >= 0 else -1
            spec = TaskSpec(
                object_id, template.id, Chunk([items[position]]), task.deps, task.refs, seed
            )
            self._objects.hold(task.deps)
            self._objects.hold(task.refs)
            piece = TaskRecord(spec, template, job, task.owner, 1)
            piece.chunk = True
            piece.attempt = task.attempt
            piece.retries_left = task.retries_left
            piece.depth, piece.parent = task.depth, task.parent
            parent = self.rows.get(piece.parent)
            if parent is not None and parent.children is not None:
                parent.children.add(piece.id)
            row = self._objects.get(object_id)
            if row is not None:
                row.task = piece
            self._enter_piece(task, piece)
        task.returns = done
        task.args = Chunk(items[:done])

    def _enter_piece(self, whole: TaskRecord, piece: TaskRecord) -> None:
        self._enter(piece)
        if whole.skipped and piece.id in whole.skipped:
            piece.cancelled = "cancelled"
            self.fail(piece, self._why_cancelled(piece))
        else:
            self._ready(piece)

    def _count_call(self, engine: EngineRecord, template: Template) -> None:
        calls = engine.calls[template.id] = engine.calls.get(template.id, 0) + 1
        if calls >= template.spec.max_calls:
            self._placement.retire(engine, "max_calls")

    def begin_timeout(self, task: TaskRecord, now: float) -> None:
        """The clock of a task with `timeout_s` starts: it has an engine to itself."""
        attempt, engine = task.attempt, task.engine
        timeout_s = task.template.spec.timeout_s

        def expire(later: float) -> None:
            if task.attempt == attempt and task.engine is engine and engine is not None:
                task.cancelled = task.cancelled or "timeout"
                self._outbox.send(engine.peer, TaskInterrupted(task.id, attempt, "timeout"))
                self._kill_later(task, TIMEOUT_GRACE_S, later)

        if timeout_s:
            self._timers.at(now + timeout_s, expire)

    # ---- engines that give back, stall, or die ------------------------------------------------

    def returned(self, engine: EngineRecord, task_ids: list[int], *, recalled: bool) -> None:
        """Tasks that an engine had not begun are ready again."""
        if recalled:
            engine.recalling = False
        for task_id in reversed(task_ids):
            task = engine.queue.pop(task_id, None)
            if task is not None:
                task.engine = None
                self._placement.free(engine, task)
                if task.cancelled:
                    self.fail(task, self._why_cancelled(task))
                else:
                    self._ready(task, first=True)
        self._placement.settle(engine)

    def stalled(self, engine: EngineRecord, task_id: int, attempt: int, missing: list[int]) -> None:
        """A task could not begin because values of its arguments were lost: rebuild them first."""
        task = engine.queue.get(task_id)
        if task is None or task.attempt != attempt:
            return
        del engine.queue[task_id]
        task.engine = None
        task.attempt += 1
        self._placement.free(engine, task)
        self._placement.settle(engine)
        if not set(missing) <= set(task.deps):
            self.fail(task, _lost(task.template.spec.name, task.id, "its arguments left the store"))
            return
        for object_id in missing:
            self.rebuild(object_id)
        self._await(task)

    def engine_lost(self, engine: EngineRecord, running: int, failure: Failure) -> None:
        """An engine is gone. What it computed is retried or fails; what it had queued moves on.

        Args:
            running: the object it was computing, 0 when none: only that task pays with a retry.
            failure: what the task's caller gets when no retry is left.
        """
        queue = list(engine.queue.values())
        position = next(
            (i for i, t in enumerate(queue) if t.id <= running < t.id + max(t.returns, 1)), -1
        )
        engine.queue.clear()
        for index in range(len(queue) - 1, -1, -1):
            task = queue[index]
            task.engine = None
            begun = index <= position
            if task.cancelled:
                self.fail(task, self._why_cancelled(task))
            elif begun and task.retries_left == 0:
                self.fail(task, failure)
            elif begun and index == position and task.chunk and task.returns > 1:
                self._retry_apart(task, running, failure)
            elif begun:
                self._retry(task)
            else:
                task.attempt += 1
                self._ready(task, first=True)

    def _retry_apart(self, task: TaskRecord, running: int, failure: Failure) -> None:
        """A chunk's engine died: its items go on one by one, and only the culprit pays."""
        pieces_from = task.id
        del self.rows[task.id]
        task.job.tasks.pop(task.id, None)
        task.attempt += 1
        task.state = TaskState.ENDED
        returns, task_id = task.returns, task.id
        self._split(task, 0)
        if task.parent and (parent := self.rows.get(task.parent)) and parent.children:
            parent.children.add(task_id)
        culprit = self.rows.get(running)
        if culprit is not None and pieces_from <= running < pieces_from + returns:
            culprit.retries_left -= culprit.retries_left > 0
            culprit.job.of(culprit.template.spec.name).retried += 1
        self._objects.drop(task.deps)
        self._objects.drop(task.refs)

    def rebuild(self, object_id: int) -> None:
        """The value of this object was lost: run the task that made it again, and before it
        whatever made its own arguments when those are gone too."""
        wanted = [self._objects.rows[object_id]]
        while wanted:
            row = wanted.pop()
            task = row.task
            row.value = None
            row.freed = False
            if task is None or (task.state is TaskState.ENDED and task.pins is None):
                self._objects.complete(
                    row, _lost("", row.id, "no task made it, so none can rebuild it")
                )
                continue
            if task.state is not TaskState.ENDED:
                continue
            if not task.retries_left:
                self._objects.complete(
                    row, _lost(task.template.spec.name, row.id, "its task has no retries left")
                )
                continue
            wanted += self._objects.unsettle(task)
            task.retries_left -= task.retries_left > 0
            task.attempt += 1
            self._enter(task)
            task.job.of(task.template.spec.name).retried += 1
            self._await(task)

    # ---- cancelling -----------------------------------------------------------------------

    def cancel(
        self, object_id: int, *, force: bool, recursive: bool, grace_s: float, now: float
    ) -> None:
        """Cancel the task that makes this object; one that has ended is left alone."""
        row = self._objects.get(object_id)
        task = self.rows.get(object_id) if row is None else row.task
        if task is None or task.state is TaskState.ENDED:
            return
        if task.chunk and task.returns > 1:
            if row is not None:
                self._cancel_item(task, row)
            return
        if recursive and task.children:
            for child in list(task.children):
                self.cancel(child, force=force, recursive=True, grace_s=grace_s, now=now)
        task.cancelled = task.cancelled or "cancelled"
        if task.state is not TaskState.ASSIGNED:
            self.fail(task, self._why_cancelled(task))
            return
        engine = task.engine
        assert engine is not None
        self._outbox.send(engine.peer, TaskInterrupted(task.id, task.attempt, task.cancelled))
        if force:
            self._kill_later(task, 0.0, now)
        elif grace_s >= 0.0:
            self._kill_later(task, grace_s, now)

    def _cancel_item(self, task: TaskRecord, row: ObjectRecord) -> None:
        object_id = row.id
        task.skipped = [*(task.skipped or []), object_id]
        if task.engine is not None:
            self._outbox.send(
                task.engine.peer, TaskInterrupted(task.id, task.attempt, "cancelled", object_id)
            )
        if row.value is None:
            self._objects.complete(row, self._why_cancelled(task))

    def _kill_later(self, task: TaskRecord, grace_s: float, now: float) -> None:
        attempt, engine = task.attempt, task.engine

        def kill(later: float) -> None:
            if task.engine is not engine or task.attempt != attempt or engine is None:
                return
            # Only the head of the queue computes; a task behind it is dropped without a kill.
            if next(iter(engine.queue)) == task.id:
                self._placement.retire(engine, task.cancelled)

        if grace_s <= 0.0:
            kill(now)
        else:
            self._timers.at(now + grace_s, kill)

    def _why_cancelled(self, task: TaskRecord) -> Failure:
        name = task.template.spec.name
        if task.cancelled == "timeout":
            limit_s = task.template.spec.timeout_s
            return Failure(
                "timeout",
                f"{name} was stopped: it ran longer than its timeout_s={limit_s:g}",
                b"",
                task.id,
            )
        return Failure("cancelled", f"{name} was cancelled", b"", task.id)

    # ---- streaming ------------------------------------------------------------------------

    def yielded(self, engine: EngineRecord, item: ItemYielded) -> None:
        """A streaming task has produced an item."""
        task = engine.queue.get(item.task)
        if task is None or task.items is None or task.attempt != item.attempt:
            self._objects.discard(item.value)
            return
        stream = task.items
        if item.index < len(stream.ids):  # a retry repeats what the first attempt had yielded
            self._objects.discard(item.value)
        else:
            stream.ids.append(item.id)
            owner = self._peers.get(task.owner)
            if owner is None:
                self._objects.discard(item.value)
            else:
                row = self._objects.put(item.id, owner, item.value, item.contained)
                self._outbox.send(owner.number, ItemReady(task.id, item.index, item.id))
                if row.value is not None:
                    self._outbox.ready(owner.number, item.id, row.value)
        if stream.consumed > item.index:
            self._outbox.send(engine.peer, ItemsConsumed(task.id, stream.consumed))

    def consumed(self, task_id: int, count: int) -> None:
        """The reader of a stream has taken `count` items: its task may go on."""
        task = self.rows.get(task_id)
        if task is not None and task.items is not None:
            task.items.consumed = max(task.items.consumed, count)
            if task.engine is not None:
                self._outbox.send(task.engine.peer, ItemsConsumed(task_id, count))

    def _close_stream(self, task: TaskRecord) -> None:
        assert task.items is not None
        self._outbox.send(task.owner, ItemReady(task.id, len(task.items.ids), 0))

    # ---- clients that leave ---------------------------------------------------------------

    def orphan(self, owner: int, now: float) -> None:
        """A client is gone: nobody waits for what it had submitted."""
        for task in [task for task in self.rows.values() if task.owner == owner]:
            if task.state is not TaskState.ENDED:
                self.cancel(task.id, force=False, recursive=True, grace_s=1.0, now=now)

    def drop_templates(self, owner: int) -> None:
        """Forget the functions of a client that is gone, but for those still in use."""
        used = {task.template.id for task in self.rows.values()}
        for template in [t for t in self.templates.values() if t.owner == owner]:
            if template.id not in used:
                del self.templates[template.id]


def _lost(name: str, object_id: int, why: str) -> Failure:
    of = f" (made by {name})" if name else ""
    return Failure(
        "object_lost",
        f"the value of object {object_id:016x}{of} was lost and could not be rebuilt: {why}.",
        b"",
        object_id,
    )
