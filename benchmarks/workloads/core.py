"""The scheduler's core alone, under the simulator's virtual clock."""

from __future__ import annotations

from benchmarks.systems.base import System, Unsupported
from benchmarks.workloads.base import Metric, Workload


def _core(system: System) -> dict[str, float]:
    raise Unsupported("the simulator is not there yet")


_NOT_PARALLAX = "the simulator runs Parallax's own core"

WORKLOADS = [
    Workload(
        name="core",
        title="the core alone, 1,000 simulated engines",
        metrics={
            "few": Metric(label="core, one of 10,000 tasks", unit="s"),
            "many": Metric(label="core, one of 1,000,000 tasks", unit="s"),
            "waiting": Metric(label="hub memory of a waiting task", unit="B"),
        },
        run=_core,
        left_out=dict.fromkeys(("stdlib", "loky", "dask", "ray", "ipyparallel"), _NOT_PARALLAX),
        timeout_s=300,
    )
]
