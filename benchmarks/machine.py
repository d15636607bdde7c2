"""What a reader must know about the machine: never its name, nor any path on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import gmtime, strftime

import psutil

from benchmarks import systems
from benchmarks.tasks import spin
from benchmarks.workloads.base import ENGINES, timed


def describe(system_names: list[str]) -> dict[str, str]:
    """Return the machine and the versions, by label. Takes some seconds: it measures two cores."""
    return {
        "date": strftime("%Y-%m-%d", gmtime()),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores usable",
        "two bare processes": f"{_ceiling():.2f} times as fast",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "load before the run": f"{os.getloadavg()[0]:.1f}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **_versions(system_names),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions(system_names: list[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name in system_names:
        adapter = systems.load(name)
        if adapter.distribution is None:
            continue
        try:
            found[adapter.title] = version(adapter.distribution)
        except PackageNotFoundError:
            found[adapter.title] = "not installed"
    return found


def _ceiling() -> float:
    """Return how much faster two plain processes spin than one does the same work alone.

    Shared caches, hyperthreads and neighbours on the host keep it under 2; no pool can pass it.
    """
    context = get_context("fork")
    iterations = 5_000_000

    def alone() -> None:
        for _ in range(ENGINES):
            spin(iterations)

    def together() -> None:
        crew = [context.Process(target=spin, args=(iterations,)) for _ in range(ENGINES)]
        for member in crew:
            member.start()
        for member in crew:
            member.join()

    return median(timed(alone)[0] / timed(together)[0] for _ in range(5))
