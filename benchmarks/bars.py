"""The ratios that the project promises, and whether a run keeps them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal

from benchmarks.results import Quantity, Results, Spread
from benchmarks.workloads.base import Unit

Relation = Literal["≤", "<", "≥"]

_HOLDS = {"≤": operator.le, "<": operator.lt, "≥": operator.ge}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A limit on one quantity, or on one quantity over another."""

    name: str
    what: str
    value: Quantity
    over: Quantity | None = None
    relation: Relation
    limit: float
    unit: Unit = "ratio"

    def measured(self, results: Results) -> Spread | None:
        """Return what the run says, or None when it lacks one side."""
        if self.over is None:
            return results.spread(self.value)
        return results.ratio(self.value, self.over)

    def holds(self, value: float) -> bool:
        """Return whether a value keeps the promise."""
        return bool(_HOLDS[self.relation](value, self.limit))

    def pairs(self) -> set[tuple[str, str]]:
        """Return each (system, workload) that this bar reads."""
        sides = [self.value] if self.over is None else [self.value, self.over]
        return {(side.system, side.workload) for side in sides}


def _against(
    peer: str,
    workload: str,
    metric: str,
    relation: Relation,
    limit: float,
    *,
    title: str,
    name: str | None = None,
) -> Bar:
    return Bar(
        name=name or f"{workload}-{peer}",
        what=title,
        value=Quantity("parallax", workload, metric),
        over=Quantity(peer, workload, metric),
        relation=relation,
        limit=limit,
    )


def _within(
    workload: str, metric: str, over: str, relation: Relation, limit: float, *, title: str
) -> Bar:
    return Bar(
        name=f"{workload}-{metric}",
        what=title,
        value=Quantity("parallax", workload, metric),
        over=Quantity("parallax", workload, over),
        relation=relation,
        limit=limit,
    )


def _plain(
    workload: str,
    metric: str,
    relation: Relation,
    limit: float,
    unit: Unit = "ratio",
    *,
    title: str,
) -> Bar:
    return Bar(
        name=f"{workload}-{metric}",
        what=title,
        value=Quantity("parallax", workload, metric),
        relation=relation,
        limit=limit,
        unit=unit,
    )


def _beside_no_ops(workload: str, metric: str, limit: float, *, title: str) -> Bar:
    """A rate over that of no-op tasks on the standard library's pool."""
    return Bar(
        name=f"{workload}-stdlib",
        what=title,
        value=Quantity("parallax", workload, metric),
        over=Quantity("stdlib", "no_ops", "throughput"),
        relation="≥",
        limit=limit,
    )


BARS = [
    _against("dask", "cold_start", "cold_start", "≤", 0.25, title="cold start / Dask"),
    _against("ray", "cold_start", "cold_start", "≤", 0.05, title="cold start / Ray"),
    _against(
        "stdlib", "no_ops", "throughput", "≥", 5, title="no-op throughput / ProcessPoolExecutor"
    ),
    _against("ray", "no_ops", "throughput", "≥", 25, title="no-op throughput / Ray"),
    _against(
        "stdlib", "round_trip", "round_trip", "≤", 0.75, title="round trip / ProcessPoolExecutor"
    ),
    _against("ray", "round_trip", "round_trip", "≤", 0.15, title="round trip / Ray"),
    _within("chain", "link", "round_trip", "≤", 1.3, title="one link of a chain / round trip"),
    _within("tree", "tree_task", "flat_task", "≤", 2, title="one task of a tree / of a flat batch"),
    _within("put", "copy", "put", "≥", 0.6, title="put 256 MiB, speed / memcpy"),
    _plain("put", "get", "<", 1e-3, "s", title="get 256 MiB that was put"),
    _plain("fetch", "fetch", "<", 1e-3, "s", title="get 256 MiB that a task returned"),
    _within("share", "reads", "no_ops", "<", 3, title="200 reads of 64 MiB / 200 no-ops"),
    # A private copy would be a growth of one array, or more; half of it is already none.
    _plain("share", "growth", "<", 0.5, title="growth of an engine / the array"),
    _plain("cpu", "speed_up_10ms", "≥", 1.9, title="speed-up on 2 engines, 10 ms a task"),
    _plain("cpu", "speed_up_1ms", "≥", 1.7, title="speed-up on 2 engines, 1 ms a task"),
    _plain("cpu", "speed_up_100us", "≥", 1.0, title="speed-up on 2 engines, 100 µs through `map`"),
    _plain("placement", "worst", "≤", 1.15, title="makespan / ideal, the worst order"),
    _within("core", "many", "few", "≤", 1.5, title="core, a task of 1,000,000 / of 10,000"),
    _plain("waiting", "waiting", "≤", 2048, "B", title="hub memory of a waiting task"),
    _within("many", "many_rate", "few_rate", "≥", 0.7, title="throughput of 200,000 / of 5,000"),
    _plain("idle", "cpu", "<", 1, "%", title="idle pool, share of one core"),
    _plain("idle", "memory", "<", 200 << 20, "B", title="idle pool, unique memory"),
    _against("ray", "actor_calls", "round_trip", "≤", 0.2, title="one call of an actor / Ray"),
    _within("actor_calls", "round_trip", "echo", "≤", 6, title="one call of an actor / pyzmq echo"),
    _against(
        "ray",
        "actor_calls",
        "calls",
        "≥",
        10,
        title="calls of an actor / Ray",
        name="actor_calls-ray-many",
    ),
    _beside_no_ops("actor_calls", "calls", 4, title="calls of an actor / ProcessPoolExecutor"),
    _against(
        "ray",
        "actor_calls",
        "async_calls",
        "≥",
        10,
        title="calls of an asyncio actor / Ray",
        name="actor_calls-ray-async",
    ),
    _against("ray", "actors_made", "made", "≤", 0.1, title="50 actors / Ray"),
    _beside_no_ops("queue", "items", 5, title="items through a queue / ProcessPoolExecutor"),
    _within("cached", "large", "hash", "≤", 2, title="a cached call with 100 MB / one xxh3 pass"),
    _within("cached", "small", "no_op", "≤", 3, title="a cached call with a number / a no-op"),
]


def barred_pairs() -> set[tuple[str, str]]:
    """Return each (system, workload) that some bar reads: those deserve the most rounds."""
    return set().union(*(bar.pairs() for bar in BARS))
