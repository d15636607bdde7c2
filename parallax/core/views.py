"""Answers to questions: what the cluster looks like now, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from parallax.core import actor_views, group_views
from parallax.core.records import PeerRecord, TaskRecord
from parallax.core.resources import UNIT
from parallax.core.states import TaskState
from parallax.messages import Chunk, Stored

if TYPE_CHECKING:
    from parallax.core.machine import Machine


def answer(machine: Machine, peer: PeerRecord, what: str, argument: Any, now: float) -> Any:
    """Answer one question.

    Raises:
        LookupError: nobody knows such a question, or what it asks about.
    """
    return _VIEWS[what](machine, peer, argument)


def _nodes(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    return [
        {
            "node": node.number,
            "host": node.host,
            "pid": node.pid,
            "alive": True,
            "resources": _amounts(node.total),
            "available": _amounts(node.available),
            "engines": [
                {
                    "engine": engine.number,
                    "pid": engine.pid,
                    "state": _engine_state(engine),
                    "running": _running(engine),
                    "queued": len(engine.queue),
                }
                for engine in node.engines.values()
            ],
        }
        for node in machine.fleet.nodes.values()
    ]


def _engine_state(engine: Any) -> str:
    if engine.dying:
        return "ending"
    if engine.blocked:
        return "blocked"
    if engine.queue:
        return "busy"
    return "idle" if engine.actor is None else "actor"


def _running(engine: Any) -> str:
    """The name of the task that it runs, or is about to; empty when there is none."""
    return str(next(iter(engine.queue.values())).name) if engine.queue else ""


def _resources(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    total: dict[str, int] = {}
    available: dict[str, int] = {}
    for node in machine.fleet.nodes.values():
        for name, amount in node.total.items():
            total[name] = total.get(name, 0) + amount
        for name, amount in node.available.items():
            available[name] = available.get(name, 0) + max(0, amount)
    return {"total": _amounts(total), "available": _amounts(available)}


def _amounts(quantities: dict[str, int]) -> dict[str, float]:
    return {name: amount / UNIT for name, amount in quantities.items()}


def _jobs(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    return [_job_row(machine, job) for job in machine.jobs.all()]


def _job(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    return _job_row(machine, machine.jobs[argument])


def _job_tasks(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """The tasks of a job that have not ended, of a chunk each item: what there is to cancel."""
    job = machine.jobs[argument]
    return [
        object_id
        for task in machine.tasks.rows.values()
        if task.group.job is job
        for object_id in (_items(machine, task) if task.chunk else (task.id,))
    ]


def _items(machine: Machine, chunk: TaskRecord) -> list[int]:
    rows = machine.objects.rows
    ids = range(chunk.id, chunk.id + chunk.returns)
    return [i for i in ids if i in rows and rows[i].task is chunk and rows[i].pending]


def _job_errors(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    errors = machine.jobs[argument].errors
    return [(call.spec.id, call.function, call.failure) for call in errors]


def _job_failed(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """What to submit to run the failed tasks of a job again, and how many objects each returns.

    Not streaming tasks, nor what belongs to an actor, nor a task inside of the placement group of
    another one, once its function was forgotten.
    """
    found = []
    for call in machine.jobs[argument].errors:
        template = machine.templates.rows.get(call.spec.template)
        if template is None:
            continue
        options = template.spec
        if not options.streaming and not options.role:
            args = call.spec.args
            items = len(args.items) if isinstance(args, Chunk) else options.num_returns
            found.append((call.spec, items))
    return found


def _job_output(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    return list(machine.jobs[argument].output)


def _job_row(machine: Machine, job: Any) -> dict[str, Any]:
    row: dict[str, Any] = job.snapshot()
    running = sum(
        1
        for engine in machine.fleet.engines.values()
        if engine.queue and next(iter(engine.queue.values())).group.job is job
    )
    row["running"] = running
    return row


def _task(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """Where the task that makes this object stands."""
    row = machine.objects.rows.get(argument)
    task = machine.tasks.rows.get(argument) if row is None else row.task
    if row is not None and row.value is not None:
        value = row.value
        kind = "stored" if isinstance(value, Stored) else type(value).__name__
        return {"state": "ended", "value": kind, "job": row.job}
    if task is None:
        raise LookupError(f"object {argument:016x} is not known")
    waiting = []
    if task.state is TaskState.WAITING:
        waiting = [d for d in task.deps if machine.objects.rows[d].value is None]
    return {
        "state": task.state.name.lower(),
        "name": task.name,
        "job": task.group.job.id,
        "engine": task.engine.number if task.engine else 0,
        "attempt": task.attempt,
        "waiting_for": waiting,
        "asks": task.group.template.shape.demand.describe(),
    }


def _timeline(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    return list(machine.timeline)


def _counts(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    return {
        "tasks": len(machine.tasks.rows),
        "ready": machine.ready.count,
        "objects": len(machine.objects.rows),
        "templates": len(machine.templates.rows),
        "clients": sum(1 for p in machine.peers.values() if p.role == "client"),
        "engines": len(machine.fleet.engines),
    }


ABOUT_NODES = frozenset(("nodes", "resources"))
"""Questions without an answer while there is no node."""


def _orphans(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """Those of these segments that no object has, and whose creators are not here any more to
    announce one. Their names begin with their creators' numbers."""
    values = (row.value for row in machine.objects.rows.values())
    known = {value.name for value in values if type(value) is Stored}
    return [
        name
        for name in argument
        if name not in known and int(name.partition("-")[0], 16) not in machine.peers
    ]


_VIEWS: dict[str, Callable[[Machine, PeerRecord, Any], Any]] = {
    "actor": actor_views.actor,
    "actors": actor_views.actors,
    "find_actor": actor_views.find_actor,
    "named_actors": actor_views.named_actors,
    "namespace": actor_views.namespace,
    "is_call": actor_views.is_call,
    "groups": group_views.groups,
    "nodes": _nodes,
    "resources": _resources,
    "jobs": _jobs,
    "job": _job,
    "job_tasks": _job_tasks,
    "job_errors": _job_errors,
    "job_failed": _job_failed,
    "job_output": _job_output,
    "task": _task,
    "timeline": _timeline,
    "counts": _counts,
    "orphans": _orphans,
}
