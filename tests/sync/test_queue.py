"""Queues: waiting in line, interrupts, and takers that die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.pool.clusters import Driver

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("pool")]


@px.remote
def get_one(shared: px.sync.Queue[Any], gate: Gate, name: str = "task") -> Any:
    gate.note(name)
    return shared.get()


@px.remote
def put_one(shared: px.sync.Queue[Any], item: Any) -> None:
    shared.put(item)


def getters(shared: px.sync.Queue[Any]) -> int:
    """How many wait for an item."""
    return int(px.get(shared._desk.call(lambda desk: len(desk._getters))))


def putters(shared: px.sync.Queue[Any]) -> int:
    """How many wait for room."""
    return int(px.get(shared._desk.call(lambda desk: len(desk._putters))))


def lent(shared: px.sync.Queue[Any]) -> int:
    """How many loans are not settled."""
    return int(px.get(shared._desk.call(lambda desk: len(desk._loans))))


def test_who_waits_gets_the_next_item(gate: Gate) -> None:
    shared = px.sync.Queue[int]()
    refs = []
    for place in range(6):  # more than there are engines: who waits gives its CPU up
        refs.append(get_one.remote(shared, gate))
        wait_until(lambda place=place: getters(shared) == place + 1)  # type: ignore[misc]
    shared.put_batch(range(6))
    assert px.get(refs) == list(range(6))


def test_who_waits_for_room_puts_in_order_of_arrival() -> None:
    shared = px.sync.Queue[int](maxsize=1)
    shared.put(0)
    refs = []
    for place in range(1, 5):
        refs.append(put_one.remote(shared, place))
        wait_until(lambda place=place: putters(shared) == place)  # type: ignore[misc]
    assert [shared.get() for _ in range(5)] == list(range(5))
    px.get(refs)


def test_shutdown_ends_the_waits(gate: Gate) -> None:
    empty, full = px.sync.Queue[int](), px.sync.Queue[int](maxsize=1)
    full.put(0)
    refs = [get_one.remote(empty, gate), put_one.remote(full, 1)]
    wait_until(lambda: getters(empty) == putters(full) == 1)
    empty.shutdown()
    full.shutdown()
    for ref in refs:
        with pytest.raises(px.sync.ShutDown):
            px.get(ref)


def test_a_taker_that_is_cancelled_leaves_the_line(gate: Gate) -> None:
    shared = px.sync.Queue[int]()
    ref = get_one.remote(shared, gate)
    wait_until(lambda: getters(shared) == 1)
    px.cancel(ref)
    wait_until(lambda: getters(shared) == 0)
    shared.put(1)
    assert shared.get() == 1


def test_one_who_waits_for_room_and_is_cancelled_leaves_the_line() -> None:
    shared = px.sync.Queue[int](maxsize=1)
    shared.put(0)
    first = put_one.remote(shared, 1)
    wait_until(lambda: putters(shared) == 1)
    second = put_one.remote(shared, 2)
    wait_until(lambda: putters(shared) == 2)
    px.cancel(first)
    wait_until(lambda: putters(shared) == 1)
    assert [shared.get(), shared.get()] == [0, 2]
    px.get(second)
    assert shared.empty()


def test_a_batch_that_does_not_fit_holds_up_those_behind_until_it_is_cancelled() -> None:
    shared = px.sync.Queue[int](maxsize=2)
    shared.put(0)

    @px.remote
    def put_two(shared: px.sync.Queue[int]) -> None:
        shared.put_batch([1, 2])

    batch = put_two.remote(shared)
    wait_until(lambda: putters(shared) == 1)
    single = put_one.remote(shared, 3)
    wait_until(lambda: putters(shared) == 2)
    assert shared.qsize() == 1
    px.cancel(batch)
    px.get(single)
    assert [shared.get(), shared.get()] == [0, 3]


def test_a_taker_whose_engine_is_killed_leaves_the_line(gate: Gate) -> None:
    @px.remote(max_retries=0)
    def wait(shared: px.sync.Queue[int], pids: px.sync.Queue[int]) -> int:
        pids.put(os.getpid())
        return shared.get()

    shared, pids = px.sync.Queue[int](), px.sync.Queue[int]()
    ref = wait.remote(shared, pids)
    pid = pids.get()
    wait_until(lambda: getters(shared) == 1)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: getters(shared) == 0)
    with pytest.raises(px.errors.EngineDiedError):
        px.get(ref)


def test_an_item_on_its_way_to_one_who_dies_goes_back_to_the_front() -> None:
    shared = px.sync.Queue[int]()
    shared.put_batch([1, 2])
    stream = shared._desk.take.remote("ticket", 1, 1, None)
    assert px.get(stream.next()) == [1]
    assert shared.qsize() == 1
    del stream  # as if the process had died here
    wait_until(lambda: shared.qsize() == 2)
    assert [shared.get(), shared.get()] == [1, 2]


def test_a_task_may_end_right_after_it_has_taken_an_item() -> None:
    shared = px.sync.Queue[int]()

    @px.remote
    def take() -> int:
        return shared.get()

    shared.put_batch(range(200))
    found = px.get([take.remote() for _ in range(200)])
    assert sorted(found) == list(range(200))
    wait_until(lambda: lent(shared) == 0)
    assert shared.qsize() == 0


def test_many_producers_and_consumers_lose_nothing_and_double_nothing() -> None:
    shared = px.sync.Queue[tuple[int, int]](maxsize=7)

    @px.remote
    def produce(number: int) -> None:
        for item in range(50):
            shared.put((number, item))

    @px.remote
    def consume() -> list[tuple[int, int]]:
        return list(shared)

    consumers = [consume.remote() for _ in range(3)]
    px.get([produce.remote(number) for number in range(3)])
    shared.shutdown()
    found = px.get(consumers)
    assert sorted(item for items in found for item in items) == [
        (number, item) for number in range(3) for item in range(50)
    ]
    for items in found:  # each producer's items in their order
        for number in range(3):
            own = [item for who, item in items if who == number]
            assert own == sorted(own)


def test_cancelled_coroutines_leave_the_line() -> None:
    shared = px.sync.Queue[int](maxsize=1)

    async def use() -> None:
        getting = asyncio.create_task(shared.get_async())
        while getters(shared) != 1:
            await asyncio.sleep(0)
        getting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await getting
        while getters(shared) != 0:
            await asyncio.sleep(0)
        await shared.put_async(1)
        putting = asyncio.create_task(shared.put_async(2))
        while putters(shared) != 1:
            await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        while putters(shared) != 0:
            await asyncio.sleep(0)

    asyncio.run(use())
    assert shared.get() == 1
    assert shared.empty()


def test_threads_share_one_handle() -> None:
    shared = px.sync.Queue[int]()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(shared.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    shared.put_batch(range(8))
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))


def test_a_batch_is_one_call() -> None:
    shared = px.sync.Queue[int]()
    with px.job("batches") as job:
        shared.put_batch(range(1000))
        assert shared.get_batch(1000) == list(range(1000))
    assert sum(job.counts.values()) == 3  # to put, to take, and to say that it has arrived


def test_a_large_item_stays_in_shared_memory_and_is_freed() -> None:
    import gc

    import numpy as np

    shared = px.sync.Queue[Any]()
    shared.put(np.zeros(1_000_000))
    array = shared.get()
    assert not array.flags.writeable
    del array
    gc.collect()
    wait_until(lambda: lent(shared) == 0)


INTERRUPTS = """
    import random, threading
    px.init(num_cpus=1)
    shared = px.sync.Queue()
    shared.put(-1)
    assert shared.get() == -1
    armed = False
    hits = 0
    def handler(number, frame):
        global armed, hits
        if armed:
            armed = False
            hits += 1
            raise KeyboardInterrupt
    signal.signal(signal.SIGINT, handler)
    over = threading.Event()
    def hammer():
        dice = random.Random(7)
        for number in range(300):
            shared.put(number)
            time.sleep(dice.random() * 0.002)
            os.kill(os.getpid(), signal.SIGINT)
        over.set()
    threading.Thread(target=hammer).start()
    found = []
    while not over.is_set() or shared.qsize():
        item = None
        try:
            armed = True
            item = shared.get(timeout=0.05)
            armed = False
        except KeyboardInterrupt:
            pass
        except px.sync.Empty:
            armed = False
        if item is not None:
            found.append(item)
    def state(desk):
        return len(desk._getters), len(desk._loans), len(desk._items)
    while px.get(shared._desk.call(state)) != (0, 0, 0):
        found += shared.get_batch(100, timeout=1) if shared.qsize() else []
    say(hits=hits, found=found)
"""


def test_interrupts_at_any_moment_lose_no_item_and_leave_no_ghost() -> None:
    with Driver(INTERRUPTS) as driver:
        facts = driver.hear()
        assert driver.end() == (0, "")
    assert facts["hits"] > 50
    assert sorted(facts["found"]) == list(range(300))


def test_a_driver_that_is_killed_leaves_the_line(tmp_path: Any) -> None:
    name = f"sync-{os.getpid()}"
    px.shutdown()
    px.init(name=name, num_cpus=1)
    try:
        shared = px.sync.Queue[int](name="orders", lifetime="detached")
        script = f"""
            px.init({name!r})
            shared = px.sync.Queue(name="orders")
            say(ready=1)
            shared.get()
        """
        with Driver(script) as driver:
            assert driver.hear() == {"ready": 1}
            wait_until(lambda: getters(shared) == 1)
        wait_until(lambda: getters(shared) == 0)
        shared.put(1)
        assert shared.get() == 1
    finally:
        (pool,) = [pool for pool in px.pools() if pool.name == name]
        pool.stop()
        px.shutdown()
        px.init(num_cpus=2)


def test_importing_it_is_enough() -> None:
    import subprocess

    code = "import parallax.sync; print(parallax.sync.Queue.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Queue\n"
