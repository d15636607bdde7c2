"""What this host offers to a pool: cores that this process may use, GPUs, memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from parallax.errors import UsageError
from parallax.options import MAX_AMOUNT
from parallax.store.place import memory_bytes

MEMORY_SHARE = 0.7
"""Of the host's memory, for tasks that reserve some."""


THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What limits the thread pools of numeric libraries."""


def detect_resources(
    num_cpus: float | None,
    num_gpus: float | None,
    memory: float | None,
    others: Mapping[str, float],
) -> dict[str, float]:
    """The resources of a node; what is None is detected.

    Raises:
        UsageError: an amount that makes no sense.
    """
    given = {"num_cpus": num_cpus, "num_gpus": num_gpus, "memory": memory, **others}
    for name, amount in given.items():
        if amount is not None and (isinstance(amount, bool) or not 0 <= amount <= MAX_AMOUNT):
            raise UsageError(f"{name}={amount!r} must be a number from 0 to {MAX_AMOUNT:g}.")
    if num_cpus is not None and num_cpus < 1:
        raise UsageError(f"num_cpus={num_cpus!r}: a pool needs at least one.")
    resources = {
        "CPU": float(usable_cpus() if num_cpus is None else num_cpus),
        "GPU": float(usable_gpus() if num_gpus is None else num_gpus),
        "memory": float(memory_bytes() * MEMORY_SHARE if memory is None else memory),
        **{name: float(amount) for name, amount in others.items()},
    }
    return {name: amount for name, amount in resources.items() if amount}


def usable_cpus() -> int:
    """Cores that this process may use: affinity and the cgroup's quota are respected."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_cpus()
    return max(1, min(count, round(quota)) if quota else count)


def _cgroup_cpus() -> float:
    """Cores by the cgroup's quota, 0 without one."""
    text = _read("/sys/fs/cgroup/cpu.max")
    if text:
        quota, period = text.split()[:2]
        return 0.0 if quota == "max" else int(quota) / int(period)
    quota_us = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period_us = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota_us and period_us and int(quota_us) > 0:
        return int(quota_us) / int(period_us)
    return 0.0


def visible_devices() -> list[str]:
    """The names in `CUDA_VISIBLE_DEVICES`: indices or UUIDs."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [name.strip() for name in names if name.strip() and name.strip() != "-1"]


def usable_gpus() -> int:
    """GPUs that this process may see: `CUDA_VISIBLE_DEVICES`, else the NVIDIA devices."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return len(visible_devices())
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
