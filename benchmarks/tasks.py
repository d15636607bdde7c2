"""The functions that engines run. Importing this module must cost nothing: engines do it too."""

from __future__ import annotations

import time
from typing import Any


def echo(value: Any = None) -> Any:
    """Return the argument: the no-op task."""
    return value


def increment(value: int) -> int:
    """Return one more: a link of a chain."""
    return value + 1


def add(left: int, right: int) -> int:
    """Return the sum: a node of a reduction tree."""
    return left + right


def spin(iterations: int) -> int:
    """Keep one core busy with pure Python, in proportion to `iterations`."""
    total = 0
    for i in range(iterations):
        total += i & 7
    return total


def nap(duration_s: float) -> float:
    """Hold the engine for a time without a core, so that only scheduling is measured."""
    time.sleep(duration_s)
    return duration_s


def peek(array: Any, index: int) -> float:
    """Read one element of a large array, without paying for its whole length."""
    return float(array[index])


def last(array: Any) -> float:
    """Read the last element of a large array."""
    return peek(array, -1)


def ramp(size_bytes: int) -> Any:
    """Make an array of float64 in the engine, to be fetched by the caller."""
    import numpy as np

    return np.arange(size_bytes // 8, dtype=np.float64)


class Target:
    """An actor whose method does nothing."""

    def hit(self, value: Any = None) -> Any:
        """Return the argument."""
        return value


class AsyncTarget:
    """An actor on an event loop whose method does nothing."""

    async def hit(self, value: Any = None) -> Any:
        """Return the argument."""
        return value


def fill(queue: Any, batches: int, size: int) -> None:
    """Put so many batches of numbers into a queue."""
    for _ in range(batches):
        queue.put_batch(range(size))


def total(array: Any) -> float:
    """Return the sum of an array."""
    return float(array.sum())
