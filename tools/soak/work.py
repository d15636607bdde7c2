"""What a soak does, over and over: something of everything, and every result is checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import parallax as px

TIMEOUT_S = 120.0
"""What takes longer hangs."""
LARGE_BYTES = 1 << 20


@px.remote(max_retries=-1)
def add(*numbers: Any) -> int:
    """A small task."""
    return int(sum(numbers))


@px.remote(max_retries=-1)
def fib(n: int) -> int:
    """A nested one."""
    return n if n < 2 else sum(px.get([fib.remote(n - 1), fib.remote(n - 2)]))


@px.remote(max_retries=-1)
def grow(value: Any) -> bytearray:
    """One whose argument and result are in shared memory."""
    return bytearray(value) + b"x"


@px.remote(max_retries=-1)
def count_to(n: int) -> Iterator[int]:
    """A stream."""
    yield from range(n)


@px.remote(max_retries=-1)
def fail(number: int) -> None:
    """A task that raises, with something to keep."""
    raise ValueError(f"{number} " * 20)


@px.remote(max_retries=-1)
def sleep() -> None:
    """A task to be cancelled."""
    time.sleep(600)


@px.remote(max_restarts=-1, max_task_retries=-1)
class Counter:
    """An actor."""

    def __init__(self) -> None:
        self.children: list[Any] = []

    def add(self, n: int) -> int:
        """A call that submits a task."""
        self.children.append(add.remote(n, n))
        return int(px.get(self.children[-1]))


@px.remote(max_restarts=-1, max_task_retries=-1)
class Loop:
    """An actor on an event loop."""

    async def add(self, n: int) -> int:
        """A call that waits."""
        await asyncio.sleep(0.001)
        return 2 * n


def graph() -> int:
    """A graph of small tasks, some of them nested."""
    first = add.map(range(200))
    second = [add.remote(a, b, -1) for a, b in zip(first, reversed(first), strict=True)]
    assert _get(second) == [198] * 200
    assert _get(fib.remote(5)) == 5
    return 415


def objects() -> int:
    """Values in shared memory, passed on and read."""
    refs = [px.put(bytearray(LARGE_BYTES)) for _ in range(4)]
    for _ in range(3):
        refs = [grow.remote(ref) for ref in refs]
    assert [len(value) for value in _get(refs)] == [LARGE_BYTES + 3] * 4
    return 12


def actors() -> int:
    """Actors that are made, called and dropped, and one that is killed."""
    calls = 0
    kinds: tuple[Any, ...] = (Counter, Loop)
    for kind in kinds:
        actor = kind.remote()
        assert _get([actor.add.remote(n) for n in range(20)]) == [2 * n for n in range(20)]
        calls += 21
    px.kill(actor)
    return calls


def cancels() -> int:
    """Tasks that are cancelled, waiting and running."""
    refs = [sleep.remote() for _ in range(6)]
    px.wait(refs, timeout=0.02)
    for ref in refs:
        px.cancel(ref)
    for ref in refs:
        with suppress(px.errors.TaskCancelledError):
            _get(ref)
    return len(refs)


def errors() -> int:
    """Tasks that raise."""
    refs = [fail.remote(n) for n in range(5)]
    for ref in refs:
        with suppress(ValueError):
            _get(ref)
    return len(refs)


def streams() -> int:
    """Generators, read to the end and left half way."""
    assert [_get(ref) for ref in count_to.remote(20)] == list(range(20))
    half = count_to.remote(1000)
    assert _get(next(half)) == 0
    return 2


WORK: tuple[Callable[[], int], ...] = (graph, objects, actors, cancels, errors, streams)


def work(number: int) -> int:
    """One round; how many tasks and calls it was.

    In every second round each kind of work is a job of its own, else all is one with the script.
    """
    done = 0
    for part in WORK:
        with px.job(f"{part.__name__} {number}") if number % 2 else nullcontext():
            done += part()
    return done


def flood(count: int) -> int:
    """Many small tasks, so that what is remembered of ended ones is as much as it will ever be."""
    assert _get([add.remote(n) for n in range(count)]) == list(range(count))
    return count


def _get(refs: Any) -> Any:
    return px.get(refs, timeout=TIMEOUT_S)
