"""Threads, futures and event loops that share one session."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import parallax as px
from parallax.sessions.current import current
from tests.pool import tasks
from tests.pool.clusters import wait_until

same = px.remote(tasks.same)
clock = px.remote(time.monotonic)


@px.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


@px.remote
def nested(x: int) -> Any:
    return px.get(same.remote(x))


def test_a_task_begins_within_milliseconds_though_nobody_waits_for_it(cluster: str) -> None:
    px.get([clock.remote() for _ in range(20)])
    submitted, refs = [], []
    # On the heels of another one and out of the blue, and each time the caller goes on to compute
    for pause_s in (0.0, 0.002, 0.08) * 7:
        tasks.spin(pause_s)
        submitted.append(time.monotonic())
        refs.append(clock.remote())
    delays = [begun - at for begun, at in zip(px.get(refs), submitted, strict=True)]
    assert statistics.median(delays) < 0.005


def test_many_threads_wait_in_all_ways_at_once(cluster: str) -> None:
    failures: list[BaseException] = []
    over = time.monotonic() + 4

    async def await_all() -> None:
        assert await asyncio.gather(*(same.remote(i) for i in range(20))) == list(range(20))

    async def iterate() -> list[int]:
        return [await ref async for ref in count.remote(5)]

    def wait_for_some(dice: random.Random) -> None:
        refs = [same.remote(i) for i in range(20)]
        ready, rest = px.wait(refs, num_returns=dice.randrange(1, 20), timeout=20)
        assert ready
        assert len(ready) + len(rest) == 20

    ways: list[Callable[[random.Random], Any]] = [
        lambda dice: px.get([same.remote(i) for i in range(dice.randrange(50))], timeout=20),
        lambda dice: [same.remote(i).future() for i in range(10)][-1].result(20),
        wait_for_some,
        lambda dice: asyncio.run(asyncio.wait_for(await_all(), 20)),
        lambda dice: asyncio.run(asyncio.wait_for(iterate(), 20)),
        lambda dice: [px.get(ref, timeout=20) for ref in count.remote(5)],
        lambda dice: px.get(nested.remote(3), timeout=20),
        lambda dice: px.get(same.remote(bytearray(1 << 17)), timeout=20),
        lambda dice: sum(1 for _ in px.as_completed([same.remote(i) for i in range(9)])),
    ]

    def work(seed: int) -> None:
        dice = random.Random(seed)
        try:
            while time.monotonic() < over:
                dice.choice(ways)(dice)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    work(99)
    for thread in threads:
        thread.join(40)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)
    # Nothing of all this is still held
    gc.collect()
    client = current().client  # type: ignore[attr-defined]
    wait_until(lambda: px.nodes() and not client.local)
    assert (client.holdings._waiters, client.holdings._callbacks) == ({}, {})
    assert client.streams._states == {}


def test_a_callback_may_block_and_wait_for_other_results(cluster: str) -> None:
    gate, seen = threading.Event(), []
    blocked = same.remote(1).future()
    blocked.add_done_callback(lambda future: gate.wait(30))
    assert px.get([same.remote(i) for i in range(100)], timeout=10) == list(range(100))
    gate.set()
    same.remote(2).future().add_done_callback(
        lambda future: seen.append(px.get(same.remote(future.result() + 1)))
    )
    wait_until(lambda: seen == [3])


def test_a_cancelled_future_hurts_nobody(cluster: str) -> None:
    sleep = px.remote(tasks.sleep)
    futures = [sleep.remote(0.05).future() for _ in range(4)]
    assert futures[0].cancel()
    assert [future.result(10) for future in futures[1:]] == [0.05] * 3

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(sleep.remote(0.3).future()), 0.05)

    asyncio.run(give_up())
    assert px.get(same.remote(5), timeout=10) == 5


def test_waits_that_end_early_leave_nothing_behind(cluster: str) -> None:
    slow = px.remote(tasks.sleep).remote(600)
    client = current().client  # type: ignore[attr-defined]
    for _ in range(50):
        px.wait([slow, same.remote(1)], timeout=10)
        with pytest.raises(px.errors.GetTimeoutError):
            px.get(slow, timeout=0)
    with pytest.raises(px.errors.TaskError):
        px.get([slow, px.remote(tasks.fail).remote()], timeout=10)
    more = [px.remote(tasks.sleep).remote(600) for _ in range(30)]
    with pytest.raises(px.errors.UsageError, match="not held"):
        client.get([*(ref.id for ref in more), more[-1].id + 1], None)
    assert client.holdings._waiters == {}
    for ref in slow, *more:
        px.cancel(ref)
