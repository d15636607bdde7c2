"""What a pool and its driver hold while they rest: memory, descriptors, threads, segments."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil

import parallax as px

REST_S = 40.0
"""Warm segments are given back after ten seconds, by whoever looks; more is a leak."""
MIB = 1 << 20


@dataclass(frozen=True)
class Quantity:
    """Something that is measured again and again.

    Attributes:
        name: what of whom.
        is_memory: whether it is in bytes; else it is a count.
    """

    name: str
    is_memory: bool = False

    def show(self, value: float) -> str:
        """A value as people read it."""
        return f"{value / MIB:.2f} MiB" if self.is_memory else f"{value:g}"

    def may_reach(self, begin: float, growth: float) -> float:
        """What it may have grown to; a count of a few may differ by one."""
        return begin * (1.0 + growth) + (0 if self.is_memory else 1)


Sample = dict[Quantity, float]


class Gauge:
    """Looks at the pool of this process's session, and at this process."""

    def __init__(self, *, engines: bool) -> None:
        session = px.init(ignore_reinit_error=True)
        (self._pool,) = (p for p in px.pools(embedded=True) if p.cluster == session.cluster)
        self._with_engines = engines

    def rest(self) -> None:
        """Wait until nothing runs, and nothing is kept for what has run.

        Raises:
            TimeoutError: something stays.
        """
        gc.collect()
        deadline = time.monotonic() + REST_S
        while left := self._left():
            if time.monotonic() > deadline:
                raise TimeoutError(f"still there after {REST_S:g} s of rest: {left}")
            time.sleep(0.2)

    def sample(self) -> Sample:
        """Measure. Takes some milliseconds for each process."""
        found: Sample = {}
        for name, process in self._processes().items():
            memory = process.memory_full_info().uss
            found[Quantity(f"memory of {name}", is_memory=True)] = memory
            found[Quantity(f"descriptors of {name}")] = process.num_fds()
            found[Quantity(f"threads of {name}")] = process.num_threads()
        store = self._pool.snapshot()["object_store"]
        found[Quantity("segments")] = store["memory_objects"] + store["warm_segments"]
        return found

    def _processes(self) -> dict[str, psutil.Process]:
        hub = psutil.Process(self._pool.pid)
        found = {"client": psutil.Process(), "hub": hub}
        for process in hub.children(recursive=True):
            name = process.name().removeprefix("parallax-")
            if name in ("node", "zygote"):
                found[name] = process
        if self._with_engines:
            for place, row in enumerate(_engines(), 1):
                found[f"engine {place}"] = psutil.Process(row["pid"])
        return found

    def _left(self) -> list[str]:
        store = self._pool.snapshot()["object_store"]
        left = [f"{count} {name}" for name, count in store.items() if name in _KEPT and count]
        left += [f"an engine {row['state']}" for row in _engines() if row["state"] != "idle"]
        return left + [f"a job {job.state}" for job in px.jobs() if job.state == "running"]


_KEPT = ("memory_objects", "spilled_objects", "warm_segments")


def _engines() -> list[dict[str, Any]]:
    return [row for node in px.nodes() for row in node["engines"]]


@dataclass(frozen=True)
class Verdict:
    """How one quantity went.

    Attributes:
        begin: the median of the first third of its samples.
        end: that of the last third.
        flat: whether it has not grown by more than is allowed.
    """

    quantity: Quantity
    begin: float
    end: float
    flat: bool

    def __str__(self) -> str:
        show = self.quantity.show
        growth = f"{self.end / self.begin - 1:+.1%}" if self.begin else ""
        line = f"{self.quantity.name:<24} {show(self.begin):>12} → {show(self.end):>12} {growth:>8}"
        return f"{line}  {'flat' if self.flat else 'GROWS'}"


def judge(samples: list[Sample], growth: float) -> list[Verdict]:
    """Compare the beginning with the end.

    Args:
        samples: at least three.
        growth: what is allowed, as a part of the beginning.
    """
    third = max(1, len(samples) // 3)
    verdicts = []
    for quantity in samples[0]:
        values = [sample.get(quantity, 0.0) for sample in samples]
        begin, end = median(values[:third]), median(values[-third:])
        flat = end <= quantity.may_reach(begin, growth)
        verdicts.append(Verdict(quantity, begin, end, flat))
    return verdicts


def in_short(sample: Sample, choose: Callable[[Quantity], bool]) -> str:
    """Some of a sample on one line."""
    return ", ".join(f"{q.name} {q.show(value)}" for q, value in sample.items() if choose(q))
