"""What an inline session answers when it is asked: the shapes of `parallax.core.views`."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from parallax.core.jobs import JobRecord
from parallax.core.resources import Demand
from parallax.messages import Failure
from parallax.sessions.inline.actors import InlineCall
from parallax.sessions.inline.book import ENGINE, InlineBook

Amounts: TypeAlias = Mapping[str, float]


def answer(book: InlineBook, resources: Amounts, what: str, argument: Any) -> Any:
    """Answer one question.

    Raises:
        LookupError: nobody knows such a question, or what it asks about.
    """
    return _VIEWS[what](book, resources, argument)


def _nodes(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    begun = [task for task in book.tasks.values() if task.begun]
    return [
        {
            "node": 0,
            "host": platform.node(),
            "pid": os.getpid(),
            "alive": True,
            "resources": dict(resources),
            "available": _available(book, resources),
            "engines": [
                {
                    "engine": ENGINE,
                    "pid": os.getpid(),
                    "state": "busy" if begun else "idle",
                    "running": begun[-1].call.name if begun else "",
                    "queued": len(begun),
                }
            ],
        }
    ]


def _resources(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    return {"total": dict(resources), "available": _available(book, resources)}


def _available(book: InlineBook, resources: Amounts) -> dict[str, float]:
    """What is left beside the tasks that run; one that has submitted another waits for it."""
    left = dict(resources)
    for name, amount in book.groups.reserved().items():
        left[name] -= amount
    waiting = {task.parent for task in book.tasks.values() if task.begun}
    for task in book.tasks.values():
        if task.begun and task.id not in waiting and task.call.task_options.group is None:
            for name, amount in task.call.task_options.demand.items():
                left[name] = max(0.0, left.get(name, 0.0) - amount)
    return left


def _groups(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    return book.groups.view()


def _jobs(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    return [_job_row(book, job) for job in book.jobs.all()]


def _job(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    return _job_row(book, book.jobs[argument])


def _job_tasks(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    job = book.jobs[argument]
    return [task.id for task in book.tasks.values() if task.job is job]


def _job_errors(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    errors = book.jobs[argument].errors
    return [(call.spec.id, call.function, call.failure) for call in errors]


def _job_output(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    return list(book.jobs[argument].output)


def _job_row(book: InlineBook, job: JobRecord) -> dict[str, Any]:
    row = job.snapshot()
    row["running"] = sum(task.begun and task.job is job for task in book.tasks.values())
    return row


def _task(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    row = book.objects.rows.get(argument)
    task = book.task_of(argument)
    if row is not None and row.value is not None:
        kind = "Failure" if isinstance(row.value, Failure) else "bytes"
        return {"state": "ended", "value": kind, "job": row.job}
    if task is None:
        raise LookupError(f"object {argument:016x} is not known")
    return {
        "state": "assigned" if task.begun else "ready",
        "name": task.call.name,
        "job": task.job.id,
        "engine": ENGINE if task.begun else 0,
        "attempt": task.context.attempt,
        "waiting_for": [],
        "asks": Demand(task.call.task_options.demand).describe(),
    }


def _timeline(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    return list(book.timeline)


def _counts(book: InlineBook, resources: Amounts, argument: Any) -> Any:
    return {
        "tasks": len(book.tasks),
        "ready": sum(not task.begun for task in book.tasks.values()),
        "objects": len(book.objects.rows),
        "templates": 0,
        "clients": 1,
        "engines": 1,
    }


def _is_call(book: InlineBook, resources: Amounts, argument: Any) -> bool:
    return isinstance(getattr(book.task_of(argument), "call", None), InlineCall)


_VIEWS: dict[str, Callable[[InlineBook, Amounts, Any], Any]] = {
    "nodes": _nodes,
    "resources": _resources,
    "groups": _groups,
    "jobs": _jobs,
    "job": _job,
    "job_tasks": _job_tasks,
    "job_errors": _job_errors,
    "job_output": _job_output,
    "task": _task,
    "timeline": _timeline,
    "counts": _counts,
    "is_call": _is_call,
}
