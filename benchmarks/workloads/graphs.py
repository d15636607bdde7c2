"""Tasks that wait for tasks."""

from __future__ import annotations

from benchmarks.systems.base import System
from benchmarks.tasks import add, increment
from benchmarks.workloads.base import Metric, Workload, typical_seconds, warm_up
from benchmarks.workloads.small import FLAT, flat_seconds, round_trip_seconds

LINKS = 1_000
LEAVES = 2_048


def chain(system: System, links: int = LINKS) -> int:
    """Add one `links` times, each task waiting for the one before."""
    handle = system.submit(increment, 0)
    for _ in range(links - 1):
        handle = system.submit_after(increment, handle)
    total: int = system.gather([handle])[0]
    return total


def tree(system: System, leaves: int = LEAVES) -> int:
    """Sum `leaves` (a power of two) results pairwise, in `2 * leaves - 1` tasks."""
    level = system.submit_many(increment, [0] * leaves)
    while len(level) > 1:
        level = [
            system.submit_after(add, left, right)
            for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    total: int = system.gather(level)[0]
    return total


def _chain(system: System) -> dict[str, float]:
    round_trip_s = round_trip_seconds(system)
    _expect(chain(system), LINKS)
    chain_s = typical_seconds(lambda: chain(system), times=5)
    return {"link": chain_s / LINKS, "round_trip": round_trip_s}


def _tree(system: System) -> dict[str, float]:
    warm_up(system)
    _expect(tree(system), LEAVES)
    tree_s = typical_seconds(lambda: tree(system), times=5)
    flat_s = flat_seconds(system)
    return {"tree_task": tree_s / (2 * LEAVES - 1), "flat_task": flat_s / FLAT}


def _expect(result: int, expected: int) -> None:
    if result != expected:
        raise AssertionError(f"the graph returned {result}, expected {expected}")


WORKLOADS = [
    Workload(
        name="chain",
        title=f"a chain of {LINKS:,} dependent tasks, submitted without waiting",
        metrics={
            "link": Metric(label="chain, one link", unit="s"),
            "round_trip": Metric(label="round trip beside it", unit="s"),
        },
        run=_chain,
    ),
    Workload(
        name="tree",
        title=f"a binary tree reduction over {LEAVES:,} leaves",
        metrics={
            "tree_task": Metric(label="tree, one task", unit="s"),
            "flat_task": Metric(label="flat batch beside it, one task", unit="s"),
        },
        run=_tree,
    ),
]
