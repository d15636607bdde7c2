"""The task table: from submission to the one end that each task has.

    WAITING ──(last argument has its value)──► READY ──(placed)──► ASSIGNED ──► ENDED
       ▲                                         ▲                    │
       └────────(an argument was lost)───────────┴──(retry, taken ────┘
                                                      back, stalled)

Late news is a named case: a result whose task or attempt is not the one at hand is discarded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from parallax.core import chunks
from parallax.core.fleet import Fleet
from parallax.core.interrupts import why_cancelled
from parallax.core.jobs import JobRecord, JobTable
from parallax.core.objects import ObjectTable, gone
from parallax.core.placement import Placement
from parallax.core.ready import Lane, ReadyTable
from parallax.core.records import NOTHING, EngineRecord, Group, PeerRecord, TaskRecord, Template
from parallax.core.resources import describe
from parallax.core.states import TaskState
from parallax.core.streams import Streams
from parallax.errors import ProtocolError
from parallax.messages import Chunk, Done, Failure, Stored, TaskSpec, Value


class Actors(Protocol):
    """What becomes of constructors and calls of actors is for the table of actors to say."""

    def ready(self, call: TaskRecord) -> None:
        """The arguments of a call are there."""

    def put_back(self, call: TaskRecord) -> None:
        """A call has come back from the engine: it is the next one of its caller."""

    def feed(self, call: TaskRecord) -> None:
        """Send to the actor of this call what may go there, before anything else is sent."""

    def finished(self, engine: EngineRecord, task: TaskRecord, done: Done) -> None:
        """An engine has ended an attempt of a constructor or a call."""

    def why(self, task: TaskRecord, failure: Failure) -> Failure:
        """What callers get of a constructor or a call that ends by this failure."""

    def failed(self, task: TaskRecord, failure: Failure) -> None:
        """A constructor or a call has ended by this failure."""

    def cancelled(self, task: TaskRecord) -> None:
        """A call that its engine has was cancelled, and runs on as long as it likes."""


class TaskTable:
    """All tasks that have not ended."""

    actors: Actors
    """Set by the machine."""

    def __init__(
        self,
        objects: ObjectTable,
        fleet: Fleet,
        ready: ReadyTable,
        placement: Placement,
        streams: Streams,
        jobs: JobTable,
    ) -> None:
        self.rows: dict[int, TaskRecord] = {}
        self.objects = objects
        self.placement = placement
        self._fleet = fleet
        self._ready = ready
        self._streams = streams
        self._jobs = jobs
        self._submitted = 0
        """Calls so far, of a chunk each item."""
        self._failing: deque[tuple[TaskRecord, Failure]] = deque()
        self.on_durable_over: Callable[[TaskRecord], None] = lambda task: None
        """Told of durable tasks that leave the table; set by what has them in the journal."""
        objects.on_value = self._on_value
        placement.stale = self.await_values

    # ---- submission -----------------------------------------------------------------------

    def submit(
        self,
        owner: PeerRecord,
        job: JobRecord,
        parent_id: int,
        specs: list[TaskSpec],
        templates: dict[int, Template],
    ) -> None:
        """Accept new tasks. One that is known already was sent twice and is ignored."""
        rows = self.rows
        objects = self.objects
        parent = rows.get(parent_id) if parent_id else None
        depth = parent.group.lane.depth + 1 if parent is not None else 0
        group: Group | None = None
        order = self._submitted
        for spec in specs:
            task_id = spec.id
            if task_id in rows or (task_id in objects.rows and objects.known(task_id)):
                continue
            if group is None or group.template.id != spec.template:
                group = self.group_of(job, templates[spec.template].inside(parent), depth)
                options = group.template.spec
            task = TaskRecord(
                task_id,
                group,
                owner.number,
                spec.args,
                spec.deps or NOTHING,
                spec.refs or NOTHING,
                spec.seed,
                options.num_returns,
                options.max_retries,
                order,
            )
            order += 1
            if type(spec.args) is Chunk:
                task.chunk = True
                task.returns = len(spec.args.items)
                order += task.returns
            elif options.streaming:
                self._streams.open(task)
            rows[task_id] = task
            if task.returns == 1:
                group.counts.pending += 1
                objects.expect(task_id, owner, task)
            else:
                group.counts.pending += task.returns if task.chunk else 1
                for object_id in range(task_id, task_id + task.returns):
                    objects.expect(object_id, owner, task)
            objects.count_arguments(task)
            if options.captured:
                task.refs = [*task.refs, *options.captured]
            if task.refs:
                objects.hold(task.refs)
            if task.deps:
                objects.hold(task.deps)
            if parent is not None:
                self.adopt(parent, task)
                if parent.cancelled:
                    task.cancelled = "cancelled"
                    self.fail(task, why_cancelled(task))
                    continue
            if task.deps:
                self.await_values(task)
            elif group.template.shape.feasible:
                self._ready.push(task)
            else:
                self.make_ready(task)
        self._submitted = order

    def next_order(self) -> int:
        """The place of a constructor or a call of an actor among all that was submitted."""
        self._submitted += 1
        return self._submitted - 1

    def enter(self, owner: PeerRecord, task: TaskRecord) -> None:
        """A constructor or a call of an actor is in the table from now on, with all it holds."""
        options = task.group.template.spec
        if options.streaming:
            self._streams.open(task)
        self.rows[task.id] = task
        task.group.counts.pending += 1
        for object_id in range(task.id, task.id + task.returns):
            self.objects.expect(object_id, owner, task)
        self.objects.count_arguments(task)
        if options.captured:
            task.refs = [*task.refs, *options.captured]
        self.objects.hold(task.refs)
        self.objects.hold(task.deps)

    def group_of(self, job: JobRecord, template: Template, depth: int) -> Group:
        """Where tasks of this template and depth count and queue."""
        key = (template.id, depth, template.shape)
        group = job.groups.get(key)
        if group is None:
            lane = job.lanes.get((template.shape, depth))
            if lane is None:
                lane = job.lanes[template.shape, depth] = Lane(template.shape, job, depth)
            group = job.groups[key] = Group(template, job, lane)
            template.uses.add((job.id, key))
        return group

    def adopt(self, parent: TaskRecord, task: TaskRecord) -> None:
        """The parent, which runs, has submitted the task."""
        task.parent = parent.id
        task.durable = parent.durable
        if parent.children is None:
            parent.children = set()
        parent.children.add(task.id)

    # ---- towards an engine ----------------------------------------------------------------

    def await_values(self, task: TaskRecord) -> None:
        """Count the arguments that have no value yet; ready, or failed, when there is none."""
        task.state = TaskState.WAITING
        task.waiting = 0
        rows = self.objects.rows
        for object_id in task.deps:
            row = rows[object_id]
            if row.value is None:
                if row.freed:
                    self.fail(task, gone(object_id))
                    return
                task.waiting += 1
                row.wait(task)
            elif type(row.value) is Failure:
                self.fail(task, row.value)
                return
        if not task.waiting:
            self.make_ready(task)

    def _on_value(self, task: TaskRecord, value: Value) -> None:
        if task.state is not TaskState.WAITING:
            return
        if type(value) is Failure:
            self.fail(task, value)
            return
        task.waiting -= 1
        if not task.waiting:
            self.make_ready(task)

    def make_ready(self, task: TaskRecord) -> None:
        """All arguments are there: queue the task, or say at once that no node can run it."""
        if task.actor is not None and task.is_call:
            self.actors.ready(task)
            return
        if task.group.template.shape.feasible or not self._fleet.nodes:
            self._ready.push(task)
        else:
            self.fail(task, self._infeasible(task))

    def refuse_infeasible(self) -> None:
        """There are nodes now: what was submitted before is measured against them."""
        for task in list(self.rows.values()):
            if task.state is TaskState.READY and not task.group.template.shape.feasible:
                self.fail(task, self._infeasible(task))

    def _infeasible(self, task: TaskRecord) -> Failure:
        shape = task.group.template.shape
        if shape.group is not None:
            return shape.group.refusal(task.name, shape, task.id)
        nodes = self._fleet.nodes.values()
        has = "; ".join(f"node {n.number}: {describe(n.total)}" for n in nodes)
        where = f" on node {shape.affinity}" if shape.affinity >= 0 and not shape.soft else ""
        return Failure(
            "infeasible",
            f"{task.name} asks for {shape.demand.describe()}{where}, which no node "
            f"of this cluster has ({has}). Ask for less with .options(...), or start a larger pool "
            "with parallax.init(num_cpus=..., resources=...).",
            b"",
            task.id,
        )

    # ---- the end of an attempt ------------------------------------------------------------

    def finish(self, engine: EngineRecord, done: Done) -> None:
        """An engine has ended an attempt. The caller refills the engine.

        Raises:
            ProtocolError: the number of values is not that of the task's return objects.
        """
        task = engine.queue.get(done.task)
        if task is None or task.attempt != done.attempt:
            self.discard_late(done)
            return
        if task.actor is not None:
            self.actors.finished(engine, task, done)
            return
        values = done.values
        plain = not task.chunk and task.stream is None
        if plain and len(values) != task.returns:
            values = spread(task, values)
        elif task.chunk and len(values) > task.returns:
            raise _miscounted(task, values)
        self.placement.take(engine, task)
        group = task.group
        count = len(values) if task.chunk else 1
        group.template.duration.add(done.duration_s, count or 1)
        group.counts.seconds += done.duration_s
        if group.template.spec.max_calls:
            self._count_call(engine, group.template)
        if task.cancelled:
            self.discard_late(done)
            self.fail(task, why_cancelled(task))
        elif task.chunk:
            chunks.finish(self, task, done)
        elif done.retriable and task.retries_left:
            self.retry(task)
        else:
            if task.stream is not None:
                values = self._streams.end(task, values)
            self._succeed(task, values, done.contained)

    def discard_late(self, done: Done) -> None:
        """A result that comes too late or twice: nobody will use its values."""
        for object_id, value in enumerate(done.values, done.task):
            self.objects.discard_copy(object_id, value)

    def _succeed(
        self, task: TaskRecord, values: list[Value], contained: dict[int, list[int]]
    ) -> None:
        objects = self.objects
        self.leave(task)
        failure: Failure | None = None
        lasting = task.attempt > 0  # results of an earlier run may be there
        object_id = task.id
        for value in values:
            row = objects.rows.get(object_id)
            if type(value) is Failure:
                failure = value
            elif type(value) is Stored:
                lasting = True
            if row is not None and row.value is None and not row.freed:
                objects.complete(row, value, contained.get(object_id) if contained else None)
            else:  # a sibling was lost, not this one
                objects.discard_copy(object_id, value)
            object_id += 1
        if failure is None:
            self.count_done(task.group, 1)
        else:
            self.count_failure(task, 1, failure)
        if lasting:
            objects.settle(task)
        elif task.args or task.deps or task.refs:
            objects.release(task)

    def fail(self, task: TaskRecord, failure: Failure) -> None:
        """The task ends without a value; those who need it fail with the same failure."""
        # Dependents are reached through the values of objects, and theirs in turn: a chain of
        # thousands would overflow the stack, so failures queue up here instead.
        self._failing.append((task, failure))
        if len(self._failing) > 1:
            return
        while self._failing:
            task, failure = self._failing[0]
            if task.state is not TaskState.ENDED:
                self._fail_one(task, failure)
            self._failing.popleft()

    def _fail_one(self, task: TaskRecord, failure: Failure) -> None:
        if task.actor is not None:
            failure = self.actors.why(task, failure)
        ready = task.state is TaskState.READY and not task.is_call
        self.leave(task)
        if ready:
            self._ready.discard(task)
        ended = 0 if task.chunk else 1
        for object_id in range(task.id, task.id + task.returns):
            row = self.objects.rows.get(object_id)
            if row is None or row.task is not task:
                continue
            row.task = None
            if row.pending:
                ended += task.chunk
                self.objects.complete(row, failure)
        if task.stream is not None:
            self._streams.fail(task, failure)
        if ended:
            self.count_failure(task, ended, failure)
        self.objects.release(task)
        if task.actor is not None:
            self.actors.failed(task, failure)

    def count_done(self, group: Group, ended: int) -> None:
        """So many items (one, of what is no chunk) ended well."""
        counts = group.counts
        counts.pending -= ended
        counts.done += ended
        if not counts.pending:
            self._jobs.touch(group.job)

    def count_failure(
        self, task: TaskRecord, ended: int, failure: Failure, object_id: int = 0
    ) -> None:
        """So many items of the task (one, if it is no chunk) ended by this failure."""
        job, counts = task.group.job, task.group.counts
        counts.pending -= ended
        if failure.kind == "cancelled":
            counts.cancelled += ended
        else:
            counts.failed += ended
            job.fail(_failed(task, object_id), task.name, failure, ended, task.group.template)
        if not counts.pending:
            self._jobs.touch(job)

    def leave(self, task: TaskRecord, *, heirs: bool = False) -> None:
        """The task is over: it leaves the table.

        Args:
            heirs: others take its place, so that its parent has still to wait.
        """
        del self.rows[task.id]
        task.state = TaskState.ENDED
        if task.durable:
            self.on_durable_over(task)
        if task.parent:
            parent = self.rows.get(task.parent)
            if parent is not None and parent.children is not None:
                parent.children.discard(task.id)
                if not parent.children and not heirs:
                    self.placement.children_ended(parent)

    def retry(self, task: TaskRecord) -> None:
        """Run it again, on its own account."""
        task.retries_left -= task.retries_left > 0
        task.group.counts.retried += 1
        self.again(task)

    def again(self, task: TaskRecord) -> None:
        """Run it again, before those that were submitted later."""
        task.attempt += 1
        self.make_ready(task)

    def _count_call(self, engine: EngineRecord, template: Template) -> None:
        calls = engine.calls[template.id] = engine.calls.get(template.id, 0) + 1
        if calls >= template.spec.max_calls:
            self._fleet.retire(engine, "max_calls")


def _failed(task: TaskRecord, object_id: int) -> TaskSpec:
    """What to submit to run the task again; of a chunk one item, or all when `object_id` is 0."""
    args, seed = task.args, task.seed
    position = object_id - task.id
    if object_id and type(args) is Chunk:
        args = Chunk([args.items[position]])
        seed += position if seed >= 0 else 0
    return TaskSpec(object_id or task.id, task.group.template.id, args, task.deps, task.refs, seed)


def spread(task: TaskRecord, values: list[Value]) -> list[Value]:
    """One exception stands for all return values of a call.

    Raises:
        ProtocolError: these are too many values, or too few.
    """
    if len(values) == 1 and type(values[0]) is Failure:
        return values * max(task.returns, 1)
    raise _miscounted(task, values)


def _miscounted(task: TaskRecord, values: list[Value]) -> ProtocolError:
    return ProtocolError(
        f"task {task.id:016x} ended with {len(values)} values instead of {task.returns}"
    )
