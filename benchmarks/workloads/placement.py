"""A few long tasks among many short ones: who waits behind whom."""

from __future__ import annotations

import random
from collections.abc import Iterator
from statistics import median

from benchmarks.systems.base import System
from benchmarks.tasks import nap
from benchmarks.workloads.base import ENGINES, Metric, Workload, timed, warm_up

LONG = [0.2] * 4
SHORT = [0.005] * 200
IDEAL_S = sum(LONG + SHORT) / ENGINES
"""Both engines busy to the end."""


def orders() -> Iterator[list[float]]:
    """Yield the orders of submission: the awkward ones, then some at random."""
    yield LONG + SHORT
    yield SHORT + LONG
    yield LONG[:-1] + SHORT + LONG[-1:]
    for seed in range(5):
        order = LONG + SHORT
        random.Random(seed).shuffle(order)
        yield order


def _makespans(system: System) -> dict[str, float]:
    warm_up(system)
    system.gather(system.submit_many(nap, SHORT[:20]))
    spans = [timed(_all, system, order)[0] for order in orders()]
    return {"typical": median(spans) / IDEAL_S, "worst": max(spans) / IDEAL_S}


def _all(system: System, order: list[float]) -> None:
    system.gather(system.submit_many(nap, order))


WORKLOADS = [
    Workload(
        name="placement",
        title="4 tasks of 0.2 s among 200 of 5 ms (sleeping), in 8 orders",
        metrics={
            "typical": Metric(label="makespan / ideal, median of the orders", unit="ratio"),
            "worst": Metric(label="makespan / ideal, worst of the orders", unit="ratio"),
        },
        run=_makespans,
    )
]
