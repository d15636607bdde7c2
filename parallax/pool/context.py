"""Where the running code is: which task, on which engine."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parallax.pool.client import Client


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The task that runs in this engine now."""

    task: int
    job: int
    attempt: int
    name: str
    demand: dict[str, float] = field(default_factory=dict)
    seed: int = -1


class ActorExit(SystemExit):
    """Raised by `exit_actor` through the actor's own code, which has no business to catch it."""


current_call: ContextVar[TaskContext | None] = ContextVar("parallax_call", default=None)
"""The call of an actor whose code runs here, where several run side by side."""


class EngineContext:
    """What an engine process knows of itself; `engine` below is its only instance."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.number = 0
        self.actor = 0
        """The actor that lives here, 0 for none."""
        self.interrupted = False
        """The running task was cancelled."""
        self.cancelled_calls: set[int] = set()
        """Those of the actor's running calls that were cancelled."""
        self.children = 0
        """Tasks that the running task has submitted, for their seeds."""
        self._task: TaskContext | None = None

    @property
    def task(self) -> TaskContext | None:
        """The task or call that the calling code belongs to."""
        return current_call.get() or self._task

    @task.setter
    def task(self, task: TaskContext | None) -> None:
        self._task = task

    @property
    def cancelled(self) -> bool:
        """Whether the task or call that the calling code belongs to was cancelled."""
        task = self.task
        return self.interrupted or (task is not None and task.task in self.cancelled_calls)


engine = EngineContext()
"""Filled in engines; `engine.client` is None in every other process."""
