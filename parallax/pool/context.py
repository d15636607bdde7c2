"""Where the running code is: which task, on which engine."""

from __future__ import annotations

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


class EngineContext:
    """What an engine process knows of itself; `engine` below is its only instance."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.number = 0
        self.task: TaskContext | None = None
        self.cancelled = False
        self.children = 0
        """Tasks that the running task has submitted, for their seeds."""


engine = EngineContext()
"""Filled in engines; `engine.client` is None in every other process."""
