"""Large arrays: stored, read back, and shared by many tasks."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.systems.base import System
from benchmarks.tasks import echo, last, peek, ramp
from benchmarks.workloads.base import Metric, Workload, timed, warm_up

STORED_BYTES = 256 << 20
SHARED_BYTES = 64 << 20
READERS = 200


def _put(system: System) -> dict[str, float]:
    import numpy as np

    warm_up(system)
    source = np.arange(STORED_BYTES // 8, dtype=np.float64)
    target = np.zeros_like(source)
    put_s: list[float] = []
    copy_s: list[float] = []
    get_s: list[float] = []
    for _ in range(8):
        copy_s.append(timed(np.copyto, target, source)[0])
        elapsed_s, handle = timed(system.put, source)
        put_s.append(elapsed_s)
        elapsed_s, array = timed(system.get, handle)
        get_s.append(elapsed_s)
        if array[-1] != source[-1]:
            raise AssertionError("the array came back changed")
        del handle, array
        # A round trip lets the release reach the store: the next put is a warm one.
        system.call(echo)
    warm = slice(3, None)
    return {
        "put": median(put_s[warm]),
        "copy": median(copy_s[warm]),
        "get": median(get_s[warm]),
    }


def _fetch(system: System) -> dict[str, float]:
    warm_up(system)
    get_s: list[float] = []
    for _ in range(5):
        handle = system.submit(ramp, STORED_BYTES)
        # A task that reads the finished array: the caller's `get` then waits for nothing.
        system.gather([system.submit_after(last, handle)])
        elapsed_s, array = timed(system.get, handle)
        get_s.append(elapsed_s)
        if array[-1] != STORED_BYTES // 8 - 1:
            raise AssertionError(f"the last element is {array[-1]}")
        del handle, array
    return {"fetch": median(get_s)}


def _share(system: System) -> dict[str, float]:
    import numpy as np

    from benchmarks.processes import private_memory_bytes

    warm_up(system)
    # The engines' imports are not the array's memory.
    system.gather([system.submit(peek, np.zeros(8), i % 8) for i in range(READERS)])
    no_ops_s: list[float] = []
    reads_s: list[float] = []
    growth: list[int] = []
    for _ in range(5):
        no_ops_s.append(timed(_no_ops, system)[0])
        before = private_memory_bytes()
        array = system.put(np.arange(SHARED_BYTES // 8, dtype=np.float64))
        reads_s.append(timed(_reads, system, array)[0])
        after = private_memory_bytes()
        growth.append(max(after[pid] - before[pid] for pid in after.keys() & before.keys()))
        del array
    return {
        "reads": median(reads_s),
        "no_ops": median(no_ops_s),
        "growth": max(growth) / SHARED_BYTES,
    }


def _no_ops(system: System) -> None:
    system.gather(system.submit_many(echo, range(READERS)))


def _reads(system: System, array: Any) -> None:
    system.gather([system.submit(peek, array, i) for i in range(READERS)])


_TRAVELS = "a result travels to the caller with the end of its task"

WORKLOADS = [
    Workload(
        name="put",
        title="a 256 MiB array stored and read back by the caller, warm",
        metrics={
            "put": Metric(label="put 256 MiB", unit="s"),
            "copy": Metric(label="memcpy beside it", unit="s"),
            "get": Metric(label="get what was put", unit="s"),
        },
        run=_put,
    ),
    Workload(
        name="fetch",
        title="a 256 MiB array that a finished task returned, got by the caller",
        metrics={"fetch": Metric(label="get 256 MiB from a task", unit="s")},
        run=_fetch,
        left_out=dict.fromkeys(("stdlib", "loky", "ipyparallel"), _TRAVELS),
    ),
    Workload(
        name="share",
        title=f"{READERS} tasks that each read an element of one 64 MiB array, "
        f"beside {READERS} no-ops",
        metrics={
            "reads": Metric(label=f"{READERS} reads of one 64 MiB array", unit="s"),
            "no_ops": Metric(label=f"{READERS} no-ops beside it", unit="s"),
            "growth": Metric(label="largest growth of a process, in arrays", unit="ratio"),
        },
        run=_share,
    ),
]
