"""What a pool costs while nobody uses it."""

from __future__ import annotations

import time

from benchmarks.systems.base import System
from benchmarks.workloads.base import Metric, Workload, warm_up

SETTLE_S = 2.0
WATCH_S = 10.0


def _idle(system: System) -> dict[str, float]:
    from benchmarks.processes import cpu_seconds, private_memory_bytes

    warm_up(system)
    time.sleep(SETTLE_S)
    before_s, begin = cpu_seconds(), time.perf_counter()
    time.sleep(WATCH_S)
    used_s, watched_s = cpu_seconds() - before_s, time.perf_counter() - begin
    memory = private_memory_bytes()
    return {
        "cpu": 100 * used_s / watched_s,
        "memory": sum(memory.values()),
        "processes": len(memory),
    }


WORKLOADS = [
    Workload(
        name="idle",
        title=f"a warm pool left alone for {WATCH_S:.0f} s; core time with the caller's own, "
        "unique memory without",
        metrics={
            "cpu": Metric(label="idle, share of one core", unit="%"),
            "memory": Metric(label="idle, unique memory of all processes", unit="B"),
            "processes": Metric(label="idle, processes", unit="count"),
        },
        run=_idle,
    )
]
