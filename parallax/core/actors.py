"""The table of actors: from the call of a constructor until nobody can call the actor any more.

    PENDING ──(constructed)──► ALIVE ──(its process ended, a restart is left)──► PENDING ...
       │                         │
       │ the constructor raised, │ kill, exit_actor, no handle and no call left,
       │ was cancelled, killed   │ its process ended and no restart is left
       ▼                         ▼
      DEAD ◄─────────────────────┘      the row goes with the last handle

The constructor is a task like any other: it waits for its arguments and is placed by its demand.
When it has ended well, its engine belongs to the actor. Handles are references to the object under
the actor's id, and counted as such; what runs through `parallax.core.actor_calls` are its calls. A
call that was cancelled, and runs on, keeps no actor that nobody can reach: it has `END_GRACE_S`.
"""

from __future__ import annotations

from collections.abc import Callable

from parallax.core.actor_calls import ActorCalls, check_spec, new_task
from parallax.core.actor_failures import crashed, died, name_taken, not_made, unavailable
from parallax.core.actor_records import ActorRecord, ActorState
from parallax.core.fleet import Fleet
from parallax.core.interrupts import why_cancelled
from parallax.core.jobs import JobRecord
from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.placement import Placement
from parallax.core.ready import Shape
from parallax.core.records import EngineRecord, PeerRecord, TaskRecord, Template
from parallax.core.resources import UNIT, Demand
from parallax.core.states import TaskState
from parallax.core.streams import Streams
from parallax.core.tasks import TaskTable
from parallax.core.timers import Timers
from parallax.errors import ProtocolError
from parallax.messages import (
    CONSTRUCTOR,
    ActorCreated,
    ActorStopped,
    CallsSubmitted,
    Done,
    EngineUnwanted,
    Failure,
    KillRequested,
)

END_GRACE_S = 5.0
"""From the word that an actor shall end by itself to the kill of its engine."""


class ActorTable:
    """All actors that live, or that somebody could still call."""

    def __init__(
        self,
        tasks: TaskTable,
        objects: ObjectTable,
        placement: Placement,
        fleet: Fleet,
        streams: Streams,
        outbox: Outbox,
        timers: Timers,
    ) -> None:
        self.rows: dict[int, ActorRecord] = {}
        self.names: dict[tuple[str, str], ActorRecord] = {}
        """By namespace and name."""
        self.calls = ActorCalls(tasks, objects, placement, streams, outbox)
        self._tasks = tasks
        self._objects = objects
        self._placement = placement
        self._fleet = fleet
        self._outbox = outbox
        self._timers = timers
        self._touched: dict[int, ActorRecord] = {}
        self.on_alive: Callable[[ActorRecord], None] = lambda actor: None
        """Told of each actor that was constructed, also when that was done again."""
        self.on_dead: Callable[[ActorRecord], None] = lambda actor: None
        """Told of each named actor that will not come back, while it still has its name."""
        objects.on_unused = self._on_unused
        tasks.actors = self

    # ---- what clients say -----------------------------------------------------------------

    def create(
        self, owner: PeerRecord, job: JobRecord, message: ActorCreated, template: Template
    ) -> None:
        """Accept a new actor. One that is known already was sent twice and is ignored.

        An actor by a name that is taken is dead at once.

        Raises:
            ProtocolError: its template makes no actor.
        """
        spec = message.spec
        check_spec(spec, template, CONSTRUCTOR)
        if spec.id in self._tasks.rows or spec.id in self.rows or self._objects.known(spec.id):
            return
        template = template.inside(self._tasks.rows.get(message.parent))
        task = new_task(self._tasks, owner, job, message.parent, spec, template)
        asks = template.shape.demand.quantities
        kept = {n: a / UNIT for n, a in asks.items() if n != "CPU" or message.keeps_cpus}
        living = Shape(Demand(kept))
        actor = task.actor = ActorRecord(task, living)
        actor.keeps_cpus = message.keeps_cpus
        actor.ordered = message.ordered
        actor.info = message.info
        self.rows[actor.id] = actor
        self._tasks.enter(owner, task)
        if message.detached:
            actor.detached = True
            self._objects.hold([actor.id])
        if message.name:
            key = message.namespace or job.namespace, message.name
            if key in self.names and not self.names[key].wanted:
                self.settle()  # its last handle may have gone just before this message
            if key in self.names:
                self._tasks.fail(task, name_taken(actor, *key))
                return
            self.names[key] = actor
            actor.namespace, actor.name = key
        self._tasks.await_values(task)

    def submit(
        self,
        owner: PeerRecord,
        job: JobRecord,
        message: CallsSubmitted,
        templates: dict[int, Template],
    ) -> None:
        """Accept calls. Those that are known already were sent twice and are ignored.

        Raises:
            ProtocolError: a call's template is not one of calls.
        """
        actor = self.rows.get(message.actor)
        self.calls.submit(owner, job, message, templates, actor)
        if actor is not None:
            self._touched[actor.id] = actor

    def kill(self, message: KillRequested) -> None:
        """End the actor's process now. One that is dead already is left alone."""
        actor = self.rows.get(message.actor)
        if actor is None or actor.state is ActorState.DEAD:
            return
        if message.restart:
            self._stop_process(actor)
        else:
            self.destroy(actor, "it was killed by kill()")

    def destroy(self, actor: ActorRecord, why: str) -> None:
        """End an actor that is not dead, and its process, now and for good."""
        self._stop_process(actor)
        self._end(actor, died(actor, why))

    def _stop_process(self, actor: ActorRecord) -> None:
        constructor = actor.constructor
        assert constructor is not None
        engine = actor.engine or constructor.engine
        if engine is not None:
            self._fleet.retire(engine, "killed")

    def exited(self, engine: EngineRecord) -> None:
        """An actor ends because its own code wants so."""
        actor = engine.actor
        if actor is not None and actor.engine is engine and actor.state is ActorState.ALIVE:
            self._let_go(engine)
            self._end(actor, died(actor, "it left by exit_actor()"))

    def client_lost(self, number: int) -> None:
        """This client calls no more. O(actors)."""
        for actor in self.rows.values():
            lane = actor.lanes.get(number)
            if lane is not None and lane.peek() is None:
                del actor.lanes[number]

    # ---- what tasks say -------------------------------------------------------------------

    def ready(self, call: TaskRecord) -> None:
        """See `parallax.core.tasks.Actors`."""
        assert call.actor is not None
        self.calls.ready(call.actor, call)
        self._touched[call.actor.id] = call.actor

    def put_back(self, call: TaskRecord) -> None:
        """See `parallax.core.tasks.Actors`."""
        assert call.actor is not None
        self.calls.put_back(call.actor, call)
        self._touched[call.actor.id] = call.actor

    def feed(self, call: TaskRecord) -> None:
        """See `parallax.core.tasks.Actors`."""
        assert call.actor is not None
        self.calls.feed(call.actor)

    def finished(self, engine: EngineRecord, task: TaskRecord, done: Done) -> None:
        """See `parallax.core.tasks.Actors`.

        Raises:
            ProtocolError: the number of values is not that of the task's return objects.
        """
        actor = task.actor
        assert actor is not None
        if task.is_call:
            self.calls.finish(engine, task, done)
            if not actor.calls and not actor.wanted:
                self._touched[actor.id] = actor
            return
        if len(done.values) != 1:
            raise ProtocolError(f"constructor {task.id:016x} ended with {len(done.values)} values")
        self._placement.take(engine, task)
        task.group.template.duration.add(done.duration_s, 1)
        task.group.counts.seconds += done.duration_s
        (value,) = done.values
        if task.cancelled:
            self._tasks.discard_late(done)
            self._tasks.fail(task, why_cancelled(task))
        elif type(value) is Failure:
            self._tasks.fail(task, value)
        else:
            self._constructed(actor, task, engine, done)

    def why(self, task: TaskRecord, failure: Failure) -> Failure:
        """See `parallax.core.tasks.Actors`."""
        actor = task.actor
        assert actor is not None
        if task.is_call:
            return failure
        if actor.failure is None:
            actor.failure = not_made(actor, failure)
        return actor.failure

    def failed(self, task: TaskRecord, failure: Failure) -> None:
        """See `parallax.core.tasks.Actors`."""
        actor = task.actor
        assert actor is not None
        if task.is_call:
            actor.calls.pop(task.id, None)
            if actor.id in self.rows:
                self._touched[actor.id] = actor
        else:
            self._keep_row(actor, task)
            self._die(actor, failure)

    def cancelled(self, task: TaskRecord) -> None:
        """See `parallax.core.tasks.Actors`."""
        actor = task.actor
        assert actor is not None
        if not actor.wanted:
            self._touched[actor.id] = actor

    # ---- the life of one ------------------------------------------------------------------

    def _constructed(
        self, actor: ActorRecord, task: TaskRecord, engine: EngineRecord, done: Done
    ) -> None:
        self._tasks.leave(task)
        self._tasks.count_done(task.group, 1)
        row = self._objects.rows.get(actor.id)
        if row is not None and row.pending:
            self._objects.complete(row, done.values[0])
            self._keep_row(actor, task)
        self._fleet.dedicate(engine, actor)
        actor.engine = engine
        actor.sent.clear()
        actor.state = ActorState.ALIVE
        self.on_alive(actor)
        self._touched[actor.id] = actor

    def _keep_row(self, actor: ActorRecord, constructor: TaskRecord) -> None:
        """The object that stands for the actor has its value, and tells when it is not held."""
        row = self._objects.rows.get(actor.id)
        if row is None:
            actor.wanted = False
        else:
            row.task = constructor

    def _on_unused(self, constructor: TaskRecord) -> None:
        actor = constructor.actor
        assert actor is not None
        actor.wanted = False
        self._touched[actor.id] = actor

    def _end(self, actor: ActorRecord, failure: Failure) -> None:
        """The actor serves no call any more, whatever it does now."""
        constructor = actor.constructor
        assert constructor is not None
        if constructor.state is TaskState.ENDED:
            self._objects.release(constructor)
            self._die(actor, failure)
            return
        actor.failure = failure
        engine = constructor.engine
        if engine is not None:
            self._placement.take(engine, constructor)
            self._placement.relax(engine)
        self._tasks.fail(constructor, failure)

    def _die(self, actor: ActorRecord, failure: Failure) -> None:
        actor.state = ActorState.DEAD
        actor.failure = failure
        actor.constructor = actor.engine = None
        if actor.name:
            self.on_dead(actor)
            del self.names[actor.namespace, actor.name]
            actor.name = ""
        for task in list(actor.calls.values()):
            if task.engine is not None:
                self._placement.take(task.engine, task)
            self._tasks.fail(task, why_cancelled(task) if task.cancelled else failure)
        actor.lanes.clear()
        if actor.detached:
            actor.detached = False
            self._objects.drop([actor.id])
        self._touched[actor.id] = actor

    def engine_lost(
        self, engine: EngineRecord, running: int, turns: list[int], failure: Failure
    ) -> None:
        """The process of an actor has ended. It starts anew if it may, else it is dead.

        Args:
            running: the last object that the engine began to compute, as in
                `Recovery.engine_lost`.
            turns: of calls side by side the latest that began, as in `EngineExited`.
            failure: what had become of the engine.
        """
        actor = engine.actor
        if actor is None or actor.engine is not engine:
            return
        actor.engine = None
        constructor = actor.constructor
        assert constructor is not None
        again = bool(constructor.retries_left)
        max_restarts = constructor.group.template.spec.max_retries
        why = unavailable(actor, failure) if again else crashed(actor, max_restarts, failure)
        begun = self.calls.begun(actor, engine, running, turns)
        self.calls.engine_lost(actor, engine, begun, why)
        if again:
            self._restart(actor, constructor)
        else:
            if failure.kind == "node_died":  # the pool goes down; the next one may have it again
                actor.enlisted = False
            self._end(actor, why)

    def _restart(self, actor: ActorRecord, constructor: TaskRecord) -> None:
        actor.state = ActorState.PENDING
        actor.restarts += 1
        constructor.retries_left -= constructor.retries_left > 0
        constructor.attempt += 1
        counts = constructor.group.counts
        counts.pending += 1
        counts.done -= 1
        counts.retried += 1
        self._tasks.rows[constructor.id] = constructor
        self._tasks.await_values(constructor)

    # ---- after each batch -----------------------------------------------------------------

    def settle(self) -> None:
        """Send calls to their actors; end actors that nobody can call any more."""
        while self._touched:
            touched, self._touched = self._touched, {}
            for actor in touched.values():
                if actor.state is ActorState.ALIVE:
                    self.calls.feed(actor)
                if not actor.wanted and all(call.cancelled for call in actor.calls.values()):
                    self._part_with(actor)

    def _part_with(self, actor: ActorRecord) -> None:
        if actor.state is ActorState.DEAD:
            self.rows.pop(actor.id, None)
            return
        row = self._objects.rows.get(actor.id)
        constructor = actor.constructor
        assert constructor is not None
        if row is not None:  # a call has given a handle away, after the last one had gone
            row.task, row.freed, row.value = constructor, False, b""
            actor.wanted = True
            return
        if actor.engine is not None:
            self._outbox.send(actor.engine.peer, ActorStopped(actor.id))
            self._let_go(actor.engine)
        elif constructor.engine is not None:
            return  # it is being made anew; the end of that comes back here
        self._end(actor, died(actor, "nobody had a handle of it any more"))

    def _let_go(self, engine: EngineRecord) -> None:
        """The engine ends by itself; it is killed if it has not done so in time."""
        self._fleet.doom(engine, "its actor has ended")

        def insist(now: float) -> None:
            if self._fleet.engines.get(engine.number) is engine:
                self._outbox.send(engine.node.peer, EngineUnwanted(engine.number))

        self._timers.after(END_GRACE_S, insist)
