"""The calls of actors: in whose order they go to the engine, and how they end.

A call is a task that only one engine can run. An actor that runs one call at a time gets those of
one caller in the order in which they were made: a call that waits for an argument holds up those
that the same caller made after it, and nobody else's. Callers number their calls, so that the
order, and what was sent twice, can be told by whoever gets them.

A call runs at most once unless it has `max_task_retries`. When the process of an actor ends, what
had begun fails, or is retried; what had not begun goes to the next process, if there is one.
"""

from __future__ import annotations

from itertools import islice

from parallax.core.actor_records import ActorRecord, ActorState, Lane
from parallax.core.interrupts import why_cancelled
from parallax.core.jobs import JobRecord
from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.placement import NO_VALUES, Placement
from parallax.core.records import NOTHING, EngineRecord, PeerRecord, TaskRecord, Template
from parallax.core.recovery import ANY_OF_THEM, makes
from parallax.core.states import TaskState
from parallax.core.streams import Streams
from parallax.core.tasks import TaskTable, spread
from parallax.errors import ProtocolError
from parallax.ids import hex_id
from parallax.messages import (
    CALL,
    CONSTRUCTOR,
    Assignment,
    CallsSubmitted,
    Chunk,
    Done,
    Failure,
    TaskSpec,
    Value,
)


class ActorCalls:
    """Moves calls from their callers to the engines of actors, and their results back."""

    def __init__(
        self,
        tasks: TaskTable,
        objects: ObjectTable,
        placement: Placement,
        streams: Streams,
        outbox: Outbox,
    ) -> None:
        self._tasks = tasks
        self._objects = objects
        self._placement = placement
        self._streams = streams
        self._outbox = outbox

    # ---- from the callers -----------------------------------------------------------------

    def submit(
        self,
        owner: PeerRecord,
        job: JobRecord,
        message: CallsSubmitted,
        templates: dict[int, Template],
        actor: ActorRecord | None,
    ) -> None:
        """Accept calls of this actor, None when it is not known; see `ActorTable.submit`."""
        for spec in message.calls:
            check_spec(spec, templates[spec.template], CALL)
            if spec.id == message.actor:
                raise ProtocolError(f"call {spec.id:016x} has the id of its actor")
        lane = self.lane(actor, owner.number) if actor is not None else None
        for number, spec in enumerate(message.calls, message.first):
            if spec.id in self._tasks.rows or self._objects.known(spec.id):
                continue
            if lane is not None:
                if number < lane.next:
                    continue
                lane.next = number + 1
            template = templates[spec.template]
            call = new_task(self._tasks, owner, job, message.parent, spec, template)
            call.actor = actor if actor is not None else _nobody(message.actor, call)
            self._accept(owner, call, call.actor, message.parent)

    def _accept(
        self, owner: PeerRecord, call: TaskRecord, actor: ActorRecord, parent_id: int
    ) -> None:
        self._tasks.enter(owner, call)
        actor.calls[call.id] = call
        parent = self._tasks.rows.get(parent_id)
        if parent is not None:
            self._tasks.adopt(parent, call)
            if parent.cancelled:
                call.cancelled = "cancelled"
        if call.cancelled:
            self._tasks.fail(call, why_cancelled(call))
        elif actor.failure is not None:
            self._tasks.fail(call, actor.failure)
        else:
            if actor.ordered:
                self.lane(actor, call.owner).queue.append(call)
            self._tasks.await_values(call)

    # ---- towards the engine ---------------------------------------------------------------

    def lane(self, actor: ActorRecord, caller: int) -> Lane:
        """The calls of one client to the actor."""
        lane = actor.lanes.get(caller)
        if lane is None:
            lane = actor.lanes[caller] = Lane()
        return lane

    def ready(self, actor: ActorRecord, call: TaskRecord) -> None:
        """Its arguments are there."""
        call.state = TaskState.READY
        if not actor.ordered:
            self.lane(actor, 0).queue.append(call)

    def put_back(self, actor: ActorRecord, call: TaskRecord) -> None:
        """It was at the engine, and is to go there again before those that were not."""
        call.state = TaskState.READY
        queue = self.lane(actor, call.owner if actor.ordered else 0).queue
        later = (place for place, other in enumerate(queue) if other.order > call.order)
        queue.insert(next(later, len(queue)), call)

    def feed(self, actor: ActorRecord) -> None:
        """Send to the engine all that may go. O(callers), and O(1) a call."""
        engine = actor.engine
        if engine is None or engine.dying:
            return
        given: list[Assignment] = []
        for lane in actor.lanes.values():
            while (call := lane.peek()) is not None and call.state is TaskState.READY:
                values = self._placement.values_of(call) if call.deps else NO_VALUES
                if call.deps and not values:  # one was lost since
                    if not actor.ordered:
                        lane.queue.popleft()
                    self._tasks.await_values(call)
                    continue
                lane.queue.popleft()
                given.append(self._assign(engine, call, values))
        if given:
            self._outbox.assign(engine.peer, given)

    def _assign(self, engine: EngineRecord, call: TaskRecord, values: list[Value]) -> Assignment:
        template = call.group.template
        if template.id not in engine.templates:
            self._placement.teach(engine, template)
        call.values = values
        call.state = TaskState.ASSIGNED
        call.engine = engine
        actor = call.actor
        assert actor is not None
        if not actor.ordered:
            group = template.spec.concurrency_group
            call.turn = actor.sent[group] = actor.sent.get(group, 0) + 1
        engine.queue[call.id] = call
        return Assignment(
            call.id,
            call.attempt,
            template.id,
            call.args,
            call.group.job.id,
            call.deps,
            values,
            call.seed,
            engine.gpus,
            NOTHING,
            call.turn,
        )

    # ---- the end of an attempt ------------------------------------------------------------

    def finish(self, engine: EngineRecord, call: TaskRecord, done: Done) -> None:
        """The engine has ended an attempt of this call.

        Raises:
            ProtocolError: the number of values is not that of the call's return objects.
        """
        values = done.values
        if call.stream is None and len(values) != call.returns:
            values = spread(call, values)
        self._placement.take(engine, call)
        group = call.group
        group.template.duration.add(done.duration_s, 1)
        group.counts.seconds += done.duration_s
        group.counts.retried += done.retried
        if call.cancelled:
            self._tasks.discard_late(done)
            self._tasks.fail(call, why_cancelled(call))
            return
        if call.stream is not None:
            values = self._streams.end(call, values)
        self._tasks.leave(call)
        assert call.actor is not None
        del call.actor.calls[call.id]
        self._deliver(call, values, done.contained)

    def _deliver(
        self, call: TaskRecord, values: list[Value], contained: dict[int, list[int]]
    ) -> None:
        objects = self._objects
        failure: Failure | None = None
        for object_id, value in enumerate(values, call.id):
            row = objects.rows.get(object_id)
            if type(value) is Failure:
                failure = value
            if row is not None and row.task is call and row.pending:
                row.task = None  # a lost result cannot be made again: the actor has moved on
                objects.complete(row, value, contained.get(object_id))
            else:
                objects.discard_copy(object_id, value)
        if failure is None:
            self._tasks.count_done(call.group, 1)
        else:
            self._tasks.count_failure(call, 1, failure)
        objects.release(call)

    def begun(
        self, actor: ActorRecord, engine: EngineRecord, running: int, turns: list[int]
    ) -> set[int]:
        """Which of the calls at its engine had begun, as far as anybody knows.

        Args:
            running: the last object that it began to compute, `ANY_OF_THEM` when nobody knows.
            turns: of calls side by side the latest that began, as in `EngineExited`.
        """
        queue = engine.queue
        if running == ANY_OF_THEM:
            return set(queue)
        if actor.ordered:
            calls = queue.values()
            count = next((i for i, call in enumerate(calls, 1) if makes(call, running)), 0)
            return set(islice(queue, count))
        constructor = actor.constructor
        assert constructor is not None
        groups = ["", *constructor.group.template.spec.concurrency_groups]
        latest = dict(zip(groups, turns, strict=False))
        return {
            call.id
            for call in queue.values()
            if call.turn <= latest.get(call.group.template.spec.concurrency_group, call.turn)
        }

    def engine_lost(
        self, actor: ActorRecord, engine: EngineRecord, begun: set[int], failure: Failure
    ) -> None:
        """Its process has ended: calls that had not begun, or may run twice, are queued again.

        Args:
            begun: those that had begun.
            failure: what callers of those get that may not run twice.
        """
        for call in reversed(list(engine.queue.values())):
            self._placement.take(engine, call)
            if call.cancelled:
                self._tasks.fail(call, why_cancelled(call))
            elif call.id not in begun:
                self.put_back(actor, call)
            elif call.retries_left:
                call.retries_left -= call.retries_left > 0
                call.attempt += 1
                call.group.counts.retried += 1
                self.put_back(actor, call)
            else:
                self._tasks.fail(call, failure)


def new_task(
    tasks: TaskTable,
    owner: PeerRecord,
    job: JobRecord,
    parent_id: int,
    spec: TaskSpec,
    template: Template,
) -> TaskRecord:
    """The record of a constructor or a call, which is not in the table yet."""
    parent = tasks.rows.get(parent_id) if parent_id else None
    depth = parent.group.lane.depth + 1 if parent is not None else 0
    return TaskRecord(
        spec.id,
        tasks.group_of(job, template, depth),
        owner.number,
        spec.args,
        spec.deps or NOTHING,
        spec.refs or NOTHING,
        spec.seed,
        template.spec.num_returns,
        template.spec.max_retries,
        tasks.next_order(),
    )


def check_spec(spec: TaskSpec, template: Template, role: int) -> None:
    """Check that this could be a constructor, or a call.

    Raises:
        ProtocolError: it could not.
    """
    if template.spec.role != role or type(spec.args) is Chunk or spec.id in spec.deps:
        raise ProtocolError(f"task {spec.id:016x} is none that an actor could run")
    if role == CONSTRUCTOR and (template.spec.num_returns != 1 or template.spec.streaming):
        raise ProtocolError(f"constructor {spec.id:016x} must return one object")


def _nobody(actor: int, call: TaskRecord) -> ActorRecord:
    """Stands in for an actor that is not known."""
    record = ActorRecord(call, call.group.template.shape)
    record.id = actor
    record.constructor = None
    record.state = ActorState.DEAD
    record.failure = Failure(
        "actor_died",
        f"the actor {hex_id(actor)} is not known to the cluster: it ended when its last handle "
        "was gone, or it belongs to another cluster.",
        b"",
        actor,
    )
    return record
