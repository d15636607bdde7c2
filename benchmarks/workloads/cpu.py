"""Pure-Python work on every engine against the same work in one loop."""

from __future__ import annotations

from statistics import median

from benchmarks.systems.base import System
from benchmarks.tasks import spin
from benchmarks.workloads.base import Metric, Workload, timed, warm_up


def iterations_per_second() -> float:
    """Return how fast this machine spins now, from the best of some short runs."""
    iterations = 200_000
    return iterations / min(timed(spin, iterations)[0] for _ in range(10))


def _speed_ups(system: System) -> dict[str, float]:
    warm_up(system)
    rate = iterations_per_second()
    return {
        # Enough tasks that a last one, finishing alone, weighs less than one in a hundred.
        "speed_up_10ms": _speed_up(system, int(rate * 10e-3), 200),
        "speed_up_1ms": _speed_up(system, int(rate * 1e-3), 1_000),
        "speed_up_100us": _speed_up(system, int(rate * 1e-4), 10_000, mapped=True),
    }


def _speed_up(system: System, iterations: int, tasks: int, *, mapped: bool = False) -> float:
    """Return serial over parallel time, the median of pairs taken one right after the other."""
    items = [iterations] * tasks

    def serial() -> None:
        for item in items:
            spin(item)

    def parallel() -> object:
        if mapped:
            return system.map(spin, items)
        return system.gather(system.submit_many(spin, items))

    parallel()
    return median(timed(serial)[0] / timed(parallel)[0] for _ in range(3))


WORKLOADS = [
    Workload(
        name="cpu",
        title="CPU-bound pure Python on 2 engines against a serial loop",
        metrics={
            "speed_up_10ms": Metric(label="speed-up, tasks of 10 ms", unit="ratio"),
            "speed_up_1ms": Metric(label="speed-up, tasks of 1 ms", unit="ratio"),
            "speed_up_100us": Metric(label="speed-up, items of 100 µs through map", unit="ratio"),
        },
        run=_speed_ups,
    )
]
