"""Which measurements a run takes, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bars import barred_pairs
from benchmarks.systems import SLOW
from benchmarks.workloads import WORKLOADS

_ROUNDS = 5
_ROUNDS_BESIDE = 3
"""Rounds of a measurement that only stands in the table, beside the bars."""
_ROUNDS_SLOW = 3


@dataclass(frozen=True)
class Step:
    """One measurement to take."""

    round: int
    workload: str
    system: str


def rounds(system: str, workload: str) -> int:
    """Return how often a full run measures this pair."""
    barred = (system, workload) in barred_pairs()
    if system in SLOW:
        return _ROUNDS_SLOW if barred else 1
    return min(_ROUNDS if barred else _ROUNDS_BESIDE, WORKLOADS[workload].rounds)


def plan(workloads: Sequence[str], systems: Sequence[str], *, quick: bool) -> list[Step]:
    """Return the steps of a run, the systems interleaved.

    All systems do one workload right after each other, so that drift hits both sides of a ratio;
    each round starts with another system, so that none is always the first after a pause; and
    rounds are the outermost loop, so that they spread over the whole run.
    """
    limit = 1 if quick else _ROUNDS
    return [
        Step(number, workload, system)
        for number in range(limit)
        for workload in workloads
        for system in _rotated(systems, number)
        if number < rounds(system, workload)
    ]


def _rotated(systems: Sequence[str], by: int) -> list[str]:
    start = by % len(systems) if systems else 0
    return [*systems[start:], *systems[:start]]
