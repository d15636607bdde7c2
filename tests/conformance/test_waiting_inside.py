"""Tasks that wait, in whichever thread; values whose own code raises; handlers left behind."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import parallax as px


def _unregistered(size: int) -> bytes:
    raise KeyError("not registered")


class Unreadable:
    """Pickles well, and cannot be rebuilt anywhere."""

    def __init__(self, size: int) -> None:
        self.padding = bytes(size)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unregistered, (len(self.padding), self.padding)[:1]


@pytest.mark.needs("concurrency")
def test_threads_of_tasks_may_wait_for_tasks(session: str) -> None:
    @px.remote
    def inner(x: int) -> int:
        return x

    @px.remote
    def outer() -> list[int]:
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(lambda x: px.get(inner.remote(x)), range(2)))

    assert px.get([outer.remote(), outer.remote()], timeout=30) == [[0, 1], [0, 1]]


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_key_error_of_a_value_is_its_own_and_no_lost_object(session: str, size: int) -> None:
    ref = px.put(Unreadable(size))
    with pytest.raises(KeyError, match="not registered"):
        px.get(ref)


@pytest.mark.needs("processes")
def test_a_task_that_takes_the_interrupt_leaves_the_next_one_cancellable(session: str) -> None:
    @px.remote
    def deaf() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    @px.remote
    def endless() -> None:
        threading.Event().wait()

    px.get([deaf.remote() for _ in range(20)])
    refs = [endless.remote() for _ in range(2)]
    for ref in refs:
        px.cancel(ref)
    for ref in refs:
        with pytest.raises(px.errors.TaskCancelledError):
            px.get(ref, timeout=30)


@pytest.mark.needs("concurrency")
def test_a_generator_that_nobody_reads_any_more_leaves_nothing_in_the_store(session: str) -> None:
    @px.remote
    def count() -> Any:
        for number in range(10_000):
            yield bytes(100_000) + bytes([number % 7])

    for _ in range(5):
        items = count.remote()
        px.get(next(items))
        del items
    pool = next(p for p in px.pools(embedded=True) if p.cluster == px.init().cluster)
    waited = threading.Event()
    for _ in range(1000):
        if pool.snapshot()["object_store"]["memory_objects"] == 0 == px.jobs()[0].counts["pending"]:
            break
        waited.wait(0.01)
    assert pool.snapshot()["object_store"]["memory_objects"] == 0


@pytest.mark.needs("concurrency")
def test_a_long_item_of_a_map_does_not_keep_the_others(session: str, tmp_path: Path) -> None:
    path = tmp_path / "go"

    @px.remote
    def wait_if_first(number: int) -> int:
        while number == 0 and not path.exists():
            threading.Event().wait(0.001)
        return number

    refs = wait_if_first.map(range(64))
    ready, _ = px.wait(refs[1:], num_returns=63, timeout=30)
    path.touch()
    assert len(ready) == 63
    assert px.get(refs) == list(range(64))
