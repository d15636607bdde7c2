"""The scheduler itself: its time under the simulator's virtual clock, and the hub's memory."""

from __future__ import annotations

import gc
from statistics import median

from benchmarks.systems.base import System
from benchmarks.tasks import echo, nap
from benchmarks.workloads.base import ENGINES, Metric, Workload, warm_up

SIMULATED_ENGINES = 1_000
SIMULATED_TASK_S = 0.01
FEW, MANY = 10_000, 1_000_000

WAITING = 200_000
OCCUPIED_S = 60.0
"""Long enough that the engines are busy until the pool is stopped."""


def _core(_system: System) -> dict[str, float]:
    return {
        "few": median(_core_seconds_per_task(FEW) for _ in range(5)),
        "many": _core_seconds_per_task(MANY),
    }


def _core_seconds_per_task(tasks: int) -> float:
    """Return what the core's own code takes for one task, of many submitted at once."""
    from parallax.testing import Cluster

    cluster = Cluster(engines=SIMULATED_ENGINES, seed=1)
    for _ in range(tasks):
        cluster.submit(SIMULATED_TASK_S)
    before_s = cluster.hub.core_s
    gc.collect()
    # As in the hub; here the collector would mostly visit what the simulator keeps.
    gc.disable()
    try:
        cluster.run()
    finally:
        gc.enable()
    return (cluster.hub.core_s - before_s) / tasks


def _waiting(system: System) -> dict[str, float]:
    import parallax
    from benchmarks.processes import private_memory_bytes

    warm_up(system, 1_000)
    occupied = system.submit_many(nap, [OCCUPIED_S] * ENGINES)
    parallax.available_resources()
    before = private_memory_bytes()
    waiting = system.submit_many(echo, range(WAITING))
    # An answer of the hub comes after all that was submitted before the question.
    parallax.available_resources()
    after = private_memory_bytes()
    del occupied, waiting
    # What grows is the hub: nothing waits anywhere else.
    growth = max(after[pid] - before[pid] for pid in after.keys() & before.keys())
    return {"waiting": growth / WAITING}


_NOT_PARALLAX = dict.fromkeys(
    ("stdlib", "loky", "dask", "ray", "ipyparallel"), "about the inside of Parallax"
)

WORKLOADS = [
    Workload(
        name="core",
        title=f"the core alone on a virtual clock, {SIMULATED_ENGINES:,} simulated engines, "
        "tasks of 10 ms submitted at once; real time spent in the core",
        metrics={
            "few": Metric(label=f"core, one of {FEW:,} tasks", unit="s"),
            "many": Metric(label=f"core, one of {MANY:,} tasks", unit="s"),
        },
        run=_core,
        left_out=_NOT_PARALLAX,
        timeout_s=300,
        rounds=3,
    ),
    Workload(
        name="waiting",
        title=f"{WAITING:,} tasks that wait while both engines are busy",
        metrics={"waiting": Metric(label="hub memory of a waiting task", unit="B")},
        run=_waiting,
        left_out=_NOT_PARALLAX,
    ),
]
