"""Answers to questions about actors, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parallax.core.records import PeerRecord

if TYPE_CHECKING:
    from parallax.core.actor_records import ActorRecord
    from parallax.core.machine import Machine


def actors(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """Every actor that lives, or that somebody still has a handle of."""
    return [_row(actor) for actor in machine.actors.rows.values()]


def actor(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """One actor, by its id."""
    return _row(machine.actors.rows[argument])


def find_actor(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """A named actor's id and what handles know of its class. Whoever asks holds it from now on.

    Raises:
        LookupError: there is none.
    """
    job, namespace, name = argument
    key = namespace or _namespace_of(machine, job), name
    found = machine.actors.names[key]
    machine.objects.client_holds(peer, [found.id])
    return {"id": found.id, "info": found.info}


def named_actors(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """Names in the namespace of a job, or with their namespaces when no job is given."""
    names = sorted(machine.actors.names)
    if not argument:
        return names
    here = _namespace_of(machine, argument)
    return [name for namespace, name in names if namespace == here]


def namespace(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """Where names of a job's actors live, unless their creator says otherwise."""
    return _namespace_of(machine, argument)


def is_call(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """Is it a call of an actor, not ended yet, that makes this object?"""
    row = machine.objects.rows.get(argument)
    task = machine.tasks.rows.get(argument) if row is None else row.task
    return task is not None and task.is_call


def _namespace_of(machine: Machine, job: int) -> str:
    record = machine.jobs.get(job)
    return record.namespace if record is not None else ""


def _row(actor: ActorRecord) -> dict[str, Any]:
    engine = actor.engine
    return {
        "actor": actor.id,
        "class": actor.title,
        "name": actor.name,
        "namespace": actor.namespace,
        "state": actor.state.value,
        "restarts": actor.restarts,
        "calls": len(actor.calls),
        "detached": actor.detached,
        "node": engine.node.number if engine is not None else -1,
        "engine": engine.number if engine is not None else 0,
        "pid": engine.pid if engine is not None else 0,
        "refused": actor.failure is not None and actor.failure.kind == "name_taken",
        "why": actor.failure.message if actor.failure is not None else "",
    }
