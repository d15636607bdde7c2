"""From `Failure`, as it travels, to the exception that `get` raises."""

from __future__ import annotations

from parallax.errors import (
    ActorDiedError,
    ActorUnavailableError,
    DeadlockError,
    EngineDiedError,
    InternalError,
    JournalError,
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfMemoryError,
    ParallaxError,
    PlacementGroupRemovedError,
    TaskCancelledError,
    TaskTimeoutError,
    UsageError,
)
from parallax.messages import Failure, Value
from parallax.serial.cell_names import name_cells
from parallax.serial.failures import dump_error, load_error

_CLASSES: dict[str, type[ParallaxError]] = {
    "actor_died": ActorDiedError,
    "actor_unavailable": ActorUnavailableError,
    "cancelled": TaskCancelledError,
    "deadlock": DeadlockError,
    "engine_died": EngineDiedError,
    "group_removed": PlacementGroupRemovedError,
    "infeasible": UsageError,
    "journal": JournalError,
    "name_taken": UsageError,
    "node_died": NodeDiedError,
    "object_lost": ObjectLostError,
    "out_of_memory": OutOfMemoryError,
    "store_full": ObjectStoreFullError,
    "timeout": TaskTimeoutError,
    "usage": UsageError,
}


def outcome_of(value: Value) -> str:
    """How a ref with this value is described: ``ready``, ``failed`` or ``cancelled``."""
    if type(value) is not Failure:
        return "ready"
    return "cancelled" if value.kind == "cancelled" else "failed"


def to_error(failure: Failure) -> BaseException:
    """The exception that this failure means."""
    if failure.kind == "task":
        return load_error(failure.data)
    kind = _CLASSES.get(failure.kind, InternalError)
    error = kind(name_cells(failure.message))
    if isinstance(error, ActorDiedError) and failure.data:
        error.cause = error.__cause__ = load_error(failure.data)
    return error


def from_error(error: BaseException, *, task_name: str, task: int) -> Failure:
    """What a task raised, ready to travel. Errors of the pool itself stay what they are."""
    if type(error) is ObjectStoreFullError:
        return Failure("store_full", f"{task_name}: {error}", b"", task)
    message = f"{type(error).__name__}: {_text(error)}"
    return Failure("task", message, dump_error(error, task_name=task_name), task)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        return "(its text cannot be shown)"
