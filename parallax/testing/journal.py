"""The simulated journal: what outlives the hub, done in order, each thing at its own pace."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from parallax.core.journal import (
    Enlist,
    Entry,
    Forget,
    Journalled,
    Keep,
    Muster,
    Promise,
    Recall,
    Recipe,
    Strike,
)
from parallax.core.outbox import Journal
from parallax.messages import Failure, Stored, Value

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

WRITE_S = 0.005
"""A transaction takes up to so long, with all that was ordered when it began."""


class SimJournal:
    """Rows by name, and the recipes of actors; what is in them is on disk."""

    def __init__(self, cluster: Cluster) -> None:
        self.rows: dict[str, Any] = {}
        """Name → what the value stands for, a `Failure`, or None while it is only promised."""
        self.written: set[str] = set()
        """Names of which the disk knows, or had to forget."""
        self.recipes: dict[tuple[str, str], Recipe] = {}
        self._cluster = cluster
        self._orders: deque[Journal] = deque()
        self._is_writing = False

    def order(self, action: Journal) -> None:
        """Do this, after all that was ordered before."""
        self._orders.append(action)
        if not self._is_writing:
            self._begin()

    def _begin(self) -> None:
        world = self._cluster.world
        self._is_writing = True
        world.after(WRITE_S * world.random.random(), lambda: self._write(len(self._orders)))

    def _write(self, count: int) -> None:
        self._is_writing = False
        for _ in range(count):
            order = self._orders.popleft()
            self._cluster.hub.journalled(self._do(order.ticket, order.entry))
        if self._orders:
            self._begin()

    def _do(self, ticket: int, entry: Entry) -> Journalled:
        if self._cluster.chance(self._cluster.faults.disk_fails):
            return Journalled(ticket, failure=Failure("journal", "the disk is full"))
        if isinstance(entry, Promise):
            self.rows[entry.name] = None
            self.written.add(entry.name)
        elif isinstance(entry, Keep):
            if self._is_lost(entry.value):
                return Journalled(ticket, lost=True)
            failed = isinstance(entry.value, Failure)
            self.rows[entry.name] = entry.value if failed else self._cluster.decode(entry.value)
            self.written.add(entry.name)
        elif isinstance(entry, Forget):
            self.rows.pop(entry.name, None)
            self.written.add(entry.name)  # as well as if it had been
        elif isinstance(entry, Enlist):
            recipe = entry.recipe
            if any(map(self._is_lost, [recipe.args, *recipe.deps, *recipe.captured])):
                return Journalled(ticket, lost=True)
            self.recipes[recipe.namespace, recipe.name] = recipe
        elif isinstance(entry, Strike):
            self.recipes.pop((entry.namespace, entry.name), None)
        elif isinstance(entry, Muster):
            return Journalled(ticket, list(self.recipes.values()))
        elif isinstance(entry, Recall):
            return self._recall(ticket, entry.name)
        return Journalled(ticket)

    def _is_lost(self, value: Value) -> bool:
        return isinstance(value, Stored) and value.name not in self._cluster.segments

    def _recall(self, ticket: int, name: str) -> Journalled:
        if name not in self.rows:
            return Journalled(ticket, failure=Failure("usage", f"nothing is kept as {name!r}"))
        value = self.rows[name]
        if isinstance(value, Failure):
            return Journalled(ticket, failure=value)
        return Journalled(ticket, {"value": repr(value)})
