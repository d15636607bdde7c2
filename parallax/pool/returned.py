"""What a task's function returned, taken apart by its options: values, coroutines, generators."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

from parallax.errors import UsageError


def split_returns(result: Any, count: int, task_name: str) -> list[Any]:
    """The values of a task with ``num_returns=count``, for a count other than 1.

    Raises:
        UsageError: it is no sequence of so many values.
    """
    if count == 0:
        return []
    try:
        values = list(result)
    except TypeError:
        values = None
    if values is None or len(values) != count:
        got = type(result).__name__ if values is None else f"{len(values)} values"
        raise UsageError(
            f"{task_name} has num_returns={count} and must return a sequence of {count} values; "
            f"it returned {got}."
        )
    return values


def iterate_items(result: Any, task_name: str) -> Iterator[Any]:
    """The items of a streaming task.

    Raises:
        UsageError: it returned nothing to iterate over.
    """
    if hasattr(result, "__anext__"):
        return _drain(result)
    try:
        return iter(result)
    except TypeError:
        raise UsageError(
            f'{task_name} has num_returns="streaming" and must be a generator function or '
            f"return an iterable; it returned {type(result).__name__}."
        ) from None


def _drain(items: Any) -> Iterator[Any]:
    """The items of an async generator, one at a time, on a loop of their own."""
    import asyncio  # late: see parallax.refs

    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(anext(items))
            except StopAsyncIteration:
                return


def seed_generators(seed: int) -> None:
    """Seed `random` and NumPy's legacy generator for one task."""
    random.seed(seed)
    if "numpy" not in sys.modules:
        try:
            import numpy  # noqa: F401 - imported now so that a later import finds it seeded
        except ImportError:
            return
    sys.modules["numpy"].random.seed(seed % (1 << 32))
