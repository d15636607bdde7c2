"""Tasks that do nothing: what a task costs."""

from __future__ import annotations

from statistics import median

from benchmarks.systems.base import System
from benchmarks.tasks import echo
from benchmarks.workloads.base import Metric, Workload, timed, typical_seconds, warm_up

FLAT = 5_000
"""Tasks of one flat batch."""

MANY = 200_000
"""Tasks of the batch that shows whether cost grows with the number of waiting tasks."""


def flat_seconds(system: System, tasks: int = FLAT, *, times: int = 5) -> float:
    """Return the typical time to submit `tasks` no-ops one by one and then get them all."""
    return typical_seconds(lambda: _flat(system, tasks), times=times)


def _flat(system: System, tasks: int) -> list[int]:
    return system.gather(system.submit_many(echo, range(tasks)))


def _no_ops(system: System) -> dict[str, float]:
    warm_up(system)
    return {"throughput": FLAT / flat_seconds(system)}


def _round_trip(system: System) -> dict[str, float]:
    return {"round_trip": round_trip_seconds(system)}


def round_trip_seconds(system: System, *, trips: int = 500) -> float:
    """Return the median time from submitting one no-op to holding its result."""
    warm_up(system, 50)
    for _ in range(50):
        system.call(echo)
    return median(timed(system.call, echo)[0] for _ in range(trips))


def _many(system: System) -> dict[str, float]:
    warm_up(system)
    few_s = flat_seconds(system, FLAT)
    many_s, values = timed(_flat, system, MANY)
    if values != list(range(MANY)):
        raise AssertionError(f"{len(values)} of {MANY} results, or out of order")
    return {"few_rate": FLAT / few_s, "many_rate": MANY / many_s}


_TOO_LONG = "would take minutes at its rate for 5,000"

WORKLOADS = [
    Workload(
        name="no_ops",
        title=f"{FLAT:,} no-op tasks, submitted one by one, then all results",
        metrics={"throughput": Metric(label="no-op tasks", unit="/s")},
        run=_no_ops,
    ),
    Workload(
        name="round_trip",
        title="one no-op, submit to result, median of 500",
        metrics={"round_trip": Metric(label="round trip", unit="s")},
        run=_round_trip,
    ),
    Workload(
        name="many",
        title=f"{MANY:,} no-op tasks at once, all results checked",
        metrics={
            "few_rate": Metric(label=f"{FLAT:,} no-ops", unit="/s"),
            "many_rate": Metric(label=f"{MANY:,} no-ops at once", unit="/s"),
        },
        run=_many,
        left_out=dict.fromkeys(("dask", "ray", "ipyparallel"), _TOO_LONG),
        timeout_s=180,
    ),
]
