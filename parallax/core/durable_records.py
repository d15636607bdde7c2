"""The rows of the books of durable tasks: what has not ended, and what it needs."""

from __future__ import annotations

from parallax.core.journal import DurableTask, DurableTemplate, GraphChanged, TaskEnd
from parallax.core.records import Template
from parallax.messages import Value


class Use:
    """A template that is in the journal."""

    __slots__ = ("count", "key", "template")

    def __init__(self, template: Template, key: str) -> None:
        self.template = template
        self.key = key
        self.count = 0
        """Its tasks that have not ended."""


class Need:
    """An object whose value unfinished tasks take."""

    __slots__ = ("count", "key", "told")

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0
        """How many tasks."""
        self.told = False
        """Its value is on disk, or on its way."""


class Unfinished:
    """A durable task whose end is not on disk."""

    __slots__ = ("id", "key", "name", "needs", "owner", "results", "telling", "use")

    def __init__(self, task_id: int, returns: int, key: str) -> None:
        self.id = task_id
        self.key = key
        self.results = range(task_id, task_id + returns)
        self.needs: list[int] = []
        self.use: Use | None = None
        self.name = ""
        self.owner = 0
        """The client that submitted it; 0 when that was an earlier hub's."""
        self.telling = False
        """Its end is on its way to the disk."""


class Changes:
    """What the journal is to be told of."""

    def __init__(self) -> None:
        self.templates: list[DurableTemplate] = []
        self.tasks: list[DurableTask] = []
        self.values: list[tuple[int, str, Value]] = []
        self.ends: list[tuple[Unfinished, list[tuple[int, str, Value]]]] = []
        self.dropped: list[str] = []
        self.idle: list[str] = []
        self.afresh = False

    def all_values(self) -> list[tuple[int, str, Value]]:
        """Objects, their keys and their values."""
        return [*self.values, *(value for _, values in self.ends for value in values)]

    def entry(self) -> GraphChanged:
        """As the journal is told."""
        return GraphChanged(
            self.templates,
            self.tasks,
            [(key, value) for _, key, value in self.values],
            [
                TaskEnd(one.key, [(key, value) for _, key, value in values])
                for one, values in self.ends
            ],
            self.dropped,
            self.idle,
            self.afresh,
        )

    def __bool__(self) -> bool:
        return self.afresh or any(
            (self.templates, self.tasks, self.values, self.ends, self.dropped, self.idle)
        )
