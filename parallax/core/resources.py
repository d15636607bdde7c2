"""Resources: what nodes have, what tasks ask for, and the bookkeeping between.

Quantities are ints in ten-thousandths of a unit, so that fractions add up exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parallax.core.ready import Shape
    from parallax.core.records import EngineRecord

UNIT = 10_000


def quantities(amounts: Mapping[str, float]) -> dict[str, int]:
    """Amounts as ints, without zeros.

    Raises:
        ValueError: an amount is negative or no number.
    """
    for name, amount in amounts.items():
        if not (0 <= amount < math.inf):
            raise ValueError(f"{name}={amount!r} is no amount of a resource")
    return {name: round(amount * UNIT) for name, amount in sorted(amounts.items()) if amount}


class Demand:
    """What a task reserves while it runs. Immutable; equal demands share one lease."""

    __slots__ = ("cpus", "gpus", "items", "quantities")

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self.quantities = quantities(amounts)
        self.items = tuple(self.quantities.items())
        self.cpus = self.quantities.get("CPU", 0)
        self.gpus = self.quantities.get("GPU", 0)

    def describe(self) -> str:
        """For people: ``num_cpus=2, num_gpus=0.5``."""
        return describe(self.quantities) or "nothing"


class Stock:
    """Resources in one place, of which tasks take: those of a host, or a bundle's part of them."""

    __slots__ = ("available", "gpu_free", "held", "reserved", "total")

    def __init__(self, total: Mapping[str, int], gpus: Mapping[int, int]) -> None:
        self.total = {"CPU": 0, **total}
        self.gpu_free = dict(gpus)
        """How much of each GPU is free, by its index on the host."""
        self.available = dict(self.total)
        """What is free; CPU is negative while tasks that waited in `get` overdraw it."""
        self.held: dict[str, int] = {}
        """What stays reserved however many tasks end: by actors, and of hosts by bundles."""
        self.reserved: Shape | None = None
        """A shape for which it is being emptied."""

    def could_fit(self, demand: Demand) -> bool:
        """Would the demand fit here if nothing else were?"""
        total = self.total
        for name, amount in demand.items:
            if total.get(name, 0) < amount:
                return False
        return -(-demand.gpus // UNIT) <= len(self.gpu_free)

    def could_empty(self, demand: Demand) -> bool:
        """Would the demand fit once all tasks have ended? Actors and bundles stay."""
        held = self.held
        return self.could_fit(demand) and all(
            self.total[name] - held.get(name, 0) >= amount for name, amount in demand.items
        )

    def keep(self, demand: Demand, sign: int) -> None:
        """This, which was acquired before, is held from now on, or (-1) is held no more."""
        for name, amount in demand.items:
            self.held[name] = self.held.get(name, 0) + sign * amount

    def fits(self, demand: Demand) -> bool:
        """Does the demand fit now?"""
        available = self.available
        for name, amount in demand.items:
            if available.get(name, 0) < amount:
                return False
        return not demand.gpus or self._gpus_fit(demand.gpus)

    def room(self, demand: Demand) -> float:
        """Which part of the demand is free now: 1 and more when it fits."""
        return min((self.available.get(n, 0) / amount for n, amount in demand.items), default=1.0)

    def lacks_only_cpu(self, demand: Demand) -> bool:
        """Does all that the demand asks for fit now, but for CPU?"""
        available = self.available
        for name, amount in demand.items:
            if name != "CPU" and available.get(name, 0) < amount:
                return False
        return not demand.gpus or self._gpus_fit(demand.gpus)

    def acquire(self, demand: Demand) -> list[int]:
        """Reserve; returns the GPU indices. The caller has checked `fits`."""
        if demand.gpus:
            gpus = self._choose_gpus(demand.gpus)
            self.take(demand, gpus)
            return gpus
        available = self.available
        for name, amount in demand.items:
            available[name] -= amount
        return []

    def take(self, demand: Demand, gpus: list[int]) -> None:
        """Reserve, of the GPUs these."""
        available = self.available
        for name, amount in demand.items:
            available[name] -= amount
        share = min(demand.gpus, UNIT)
        for index in gpus:
            self.gpu_free[index] -= share

    def release(self, demand: Demand, gpus: list[int]) -> None:
        """Give back what `acquire` took."""
        available = self.available
        for name, amount in demand.items:
            available[name] += amount
        if gpus:
            share = min(demand.gpus, UNIT)
            for index in gpus:
                self.gpu_free[index] += share

    def _gpus_fit(self, amount: int) -> bool:
        free = self.gpu_free.values()
        if amount < UNIT:
            return any(part >= amount for part in free)
        return sum(part == UNIT for part in free) >= -(-amount // UNIT)

    def _choose_gpus(self, amount: int) -> list[int]:
        # A fraction shares the fullest GPU that still has room; whole GPUs are taken entire.
        free = self.gpu_free
        if amount < UNIT:
            return [min((i for i, part in free.items() if part >= amount), key=free.__getitem__)]
        return [i for i, part in free.items() if part == UNIT][: -(-amount // UNIT)]


class NodeRecord(Stock):
    """One host: what it has in all, what is free now, and its engines."""

    __slots__ = (
        "actors",
        "blocked",
        "dying",
        "engines",
        "host",
        "idle",
        "number",
        "peer",
        "pid",
        "rests_until",
        "shrinking",
        "starting",
        "target",
    )

    def __init__(
        self, number: int, peer: int, host: str, amounts: Mapping[str, float], *, pid: int = 0
    ) -> None:
        total = quantities(amounts)
        super().__init__(total, dict.fromkeys(range(total.get("GPU", 0) // UNIT), UNIT))
        self.number = number
        self.peer = peer
        self.host = host
        self.pid = pid
        """Of its agent."""
        self.engines: dict[int, EngineRecord] = {}
        self.idle: dict[int, EngineRecord] = {}
        self.starting: set[int] = set()
        self.target = max(1, self.total["CPU"] // UNIT)
        """Engines that it keeps."""
        self.blocked = 0
        """Engines whose task waits in `get`."""
        self.dying = 0
        """Engines that have been told to end."""
        self.actors = 0
        """Engines that belong to actors, but for those that have been told to end."""
        self.shrinking = False
        self.rests_until = 0.0
        """No engine is started before that time: the last one could not."""


_OPTION_NAMES = {"CPU": "num_cpus", "GPU": "num_gpus"}


def describe(amounts: Mapping[str, int]) -> str:
    """Quantities as the options that ask for them."""
    return ", ".join(
        f"memory={amount / UNIT / 2**30:.3g} GiB"
        if name == "memory"
        else f"{_OPTION_NAMES.get(name, name)}={amount / UNIT:g}"
        for name, amount in amounts.items()
        if amount
    )
