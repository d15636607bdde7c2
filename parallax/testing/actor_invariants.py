"""What must hold of the hub's table of actors after every batch of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from parallax.core.actor_records import ActorRecord, ActorState
from parallax.core.machine import Machine
from parallax.core.states import TaskState


def actors(machine: Machine) -> Iterator[str]:
    """Says everything that does not hold."""
    table = machine.actors
    for key, actor in table.names.items():
        if key != (actor.namespace, actor.name) or table.rows.get(actor.id) is not actor:
            yield f"the name {key} leads to actor {actor.id:x}, which is {actor.name!r}"
    for actor in table.rows.values():
        yield from _life(machine, actor)
        yield from _calls(machine, actor)
    for engine in machine.fleet.engines.values():
        if engine.actor is not None and engine.actor.engine is not engine and engine.queue:
            yield f"engine {engine.number}: calls of an actor that is not there any more"
    for task in machine.tasks.rows.values():
        called = task.actor
        if called is not None and task.is_call and called.calls.get(task.id) is not task:
            yield f"call {task.id:x}: its actor {called.id:x} does not know it"


def _life(machine: Machine, actor: ActorRecord) -> Iterator[str]:
    who = f"actor {actor.id:x}"
    constructor = actor.constructor
    row = machine.objects.rows.get(actor.id)
    alive = actor.state is ActorState.ALIVE
    if (actor.state is ActorState.DEAD) != (constructor is None):
        yield f"{who}: {actor.state}, its constructor is {constructor}"
    if (actor.engine is not None) != alive:
        yield f"{who}: {actor.state} at {actor.engine}"
    if actor.engine is not None and actor.engine.actor is not actor:
        yield f"{who}: its engine belongs to another"
    if constructor is not None and (constructor.state is TaskState.ENDED) != alive:
        yield f"{who}: {actor.state}, its constructor is {constructor.state}"
    if actor.wanted != (row is not None):
        yield f"{who}: wanted={actor.wanted}, its handles are {row}"
    if row is not None and (row.task is None or row.task.actor is not actor):
        yield f"{who}: nobody would tell it that its last handle is gone"
    if not actor.wanted and not actor.calls and (actor.state is ActorState.DEAD or alive):
        yield f"{who}: {actor.state}, though nobody can call it"
    if actor.name and machine.actors.names.get((actor.namespace, actor.name)) is not actor:
        yield f"{who}: cannot be found by its name"


def _calls(machine: Machine, actor: ActorRecord) -> Iterator[str]:
    who = f"actor {actor.id:x}"
    if actor.state is ActorState.DEAD and actor.calls:
        yield f"{who}: dead, with {len(actor.calls)} calls"
    queued = Counter[int]()
    for caller, lane in actor.lanes.items():
        calls = [call for call in lane.queue if call.state is not TaskState.ENDED]
        queued.update(call.id for call in calls)
        if actor.ordered and any(call.owner != caller for call in calls):
            yield f"{who}: a call in the lane of another caller"
        head = lane.peek()
        engine = actor.engine
        if head is not None and head.state is TaskState.READY and engine and not engine.dying:
            yield f"{who}: call {head.id:x} could go to its engine"
    for call in actor.calls.values():
        if call.state is TaskState.ASSIGNED:
            expected = 0
            if call.engine is not actor.engine:
                yield f"{who}: call {call.id:x} is at another engine"
        else:
            expected = int(actor.ordered or call.state is TaskState.READY)
        if queued.pop(call.id, 0) != expected:
            yield f"{who}: call {call.id:x} is {call.state}, and queued wrongly"
    if queued:
        yield f"{who}: calls in its lanes that it does not know: {sorted(queued)}"
