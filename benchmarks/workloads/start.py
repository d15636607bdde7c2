"""From nothing to the first result."""

from __future__ import annotations

import os
from time import monotonic

from benchmarks.systems.base import System
from benchmarks.tasks import echo
from benchmarks.workloads.base import Metric, Workload

EXEC_TIME = "BENCH_EXEC_TIME"
"""Environment variable: the parent's monotonic clock just before it started this interpreter."""


def _cold_start(system: System) -> dict[str, float]:
    system.call(echo)
    return {"cold_start": monotonic() - float(os.environ[EXEC_TIME])}


WORKLOADS = [
    Workload(
        name="cold_start",
        title="a fresh interpreter, the imports, the pool and one task",
        metrics={"cold_start": Metric(label="cold start to first result", unit="s")},
        run=_cold_start,
    )
]
