"""What a workload is, and the clock that all of them use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Literal, ParamSpec, TypeVar

from benchmarks.systems.base import System
from benchmarks.tasks import echo

P = ParamSpec("P")
T = TypeVar("T")

ENGINES = 2
"""Engines of every pool: the bars are stated for two."""

Unit = Literal["s", "/s", "B", "ratio", "%", "count"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number that a workload yields."""

    label: str
    unit: Unit


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One piece of work, done in a fresh interpreter on one started system.

    `run` returns a value for each of `metrics`, by name. `left_out` maps systems that are not
    measured to the reason why; a system may also say so itself by raising `Unsupported`.
    """

    name: str
    title: str
    metrics: Mapping[str, Metric]
    run: Callable[[System], dict[str, float]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 120.0
    rounds: int = 5
    """At most, where the work takes long."""


def warm_up(system: System, tasks: int = 200) -> None:
    """Make every engine known to the system, with its code loaded and its connections open."""
    system.gather(system.submit_many(echo, range(tasks)))


def timed(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[float, T]:
    """Call once; return how many seconds it took, and what it returned."""
    begin = perf_counter()
    value = work(*args, **kwargs)
    return perf_counter() - begin, value


def typical_seconds(work: Callable[[], object], *, times: int, budget_s: float = 4.0) -> float:
    """Return the median duration of up to `times` calls, fewer when `budget_s` is used up.

    The budget keeps slow peers inside the time that a whole run may take.
    """
    samples: list[float] = []
    while len(samples) < times and sum(samples) < budget_s:
        samples.append(timed(work)[0])
    return median(samples)
