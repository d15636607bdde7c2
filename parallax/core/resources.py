"""Resources: what nodes have, what tasks ask for, and the bookkeeping between.

Quantities are ints in ten-thousandths of a unit, so that fractions add up exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parallax.core.records import EngineRecord

UNIT = 10_000


class Demand:
    """What a task reserves while it runs. Immutable; equal demands share one lease."""

    __slots__ = ("gpus", "items", "quantities")

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self.quantities = {
            name: round(amount * UNIT) for name, amount in sorted(amounts.items()) if amount > 0
        }
        self.items = tuple(self.quantities.items())
        self.gpus = self.quantities.get("GPU", 0)

    def describe(self) -> str:
        """For people: ``num_cpus=2, num_gpus=0.5``."""
        return describe(self.quantities) or "nothing"


class NodeRecord:
    """One host: what it has in all, what is free now, and its engines."""

    __slots__ = (
        "available",
        "blocked",
        "engines",
        "gpu_free",
        "host",
        "idle",
        "number",
        "peer",
        "shrinking",
        "starting",
        "target",
        "total",
    )

    def __init__(self, number: int, peer: int, host: str, amounts: Mapping[str, float]) -> None:
        self.number = number
        self.peer = peer
        self.host = host
        self.total = {name: round(amount * UNIT) for name, amount in amounts.items()}
        self.available = dict(self.total)
        self.gpu_free = [UNIT] * (self.total.get("GPU", 0) // UNIT)
        self.engines: dict[int, EngineRecord] = {}
        self.idle: dict[int, EngineRecord] = {}
        self.starting: set[int] = set()
        self.target = max(1, self.total.get("CPU", 0) // UNIT)
        self.blocked = 0
        self.shrinking = False

    def could_fit(self, demand: Demand) -> bool:
        """Would the demand fit on this node if it were empty?"""
        total = self.total
        return all(total.get(name, 0) >= amount for name, amount in demand.items)

    def fits(self, demand: Demand) -> bool:
        """Does the demand fit now?"""
        available = self.available
        for name, amount in demand.items:
            if available.get(name, 0) < amount:
                return False
        return not demand.gpus or self._gpus_fit(demand.gpus)

    def acquire(self, demand: Demand) -> list[int]:
        """Reserve; returns the GPU indices. The caller has checked `fits`."""
        available = self.available
        for name, amount in demand.items:
            available[name] = available.get(name, 0) - amount
        return self._take_gpus(demand.gpus) if demand.gpus else []

    def release(self, demand: Demand, gpus: list[int]) -> None:
        """Give back what `acquire` took."""
        available = self.available
        for name, amount in demand.items:
            available[name] += amount
        if gpus:
            share = UNIT if demand.gpus >= UNIT else demand.gpus
            for index in gpus:
                self.gpu_free[index] += share

    def give_cpu(self, demand: Demand) -> None:
        """The holder of this demand waits: its CPU is free meanwhile, all else stays taken."""
        if amount := demand.quantities.get("CPU", 0):
            self.available["CPU"] += amount

    def take_cpu(self, demand: Demand) -> None:
        """The opposite of `give_cpu`; the node may be overdrawn by it."""
        if amount := demand.quantities.get("CPU", 0):
            self.available["CPU"] -= amount

    def _gpus_fit(self, amount: int) -> bool:
        if amount < UNIT:
            return any(free >= amount for free in self.gpu_free)
        return sum(free == UNIT for free in self.gpu_free) >= -(-amount // UNIT)

    def _take_gpus(self, amount: int) -> list[int]:
        # A fraction shares the fullest GPU that still has room; whole GPUs are taken entire.
        if amount < UNIT:
            candidates = [i for i, free in enumerate(self.gpu_free) if free >= amount]
            chosen = [min(candidates, key=self.gpu_free.__getitem__)] if candidates else []
            share = amount
        else:
            chosen = [i for i, free in enumerate(self.gpu_free) if free == UNIT]
            chosen = chosen[: -(-amount // UNIT)]
            share = UNIT
        for index in chosen:
            self.gpu_free[index] -= share
        return chosen


_OPTION_NAMES = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def describe(quantities: Mapping[str, int]) -> str:
    """Quantities as the options that ask for them."""
    return ", ".join(
        f"{_OPTION_NAMES.get(name, name)}={amount / UNIT:g}"
        for name, amount in quantities.items()
        if amount
    )
