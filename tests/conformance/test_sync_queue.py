"""Queues that tasks, actors and the driver share."""

from __future__ import annotations

import asyncio
import pickle
import queue
from typing import Any

import numpy as np
import pytest

import parallax as px

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]


@px.remote
def put_all(shared: px.sync.Queue[Any], items: Any) -> None:
    for item in items:
        shared.put(item)


@px.remote
def get_one(shared: px.sync.Queue[Any]) -> Any:
    return shared.get()


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


def test_first_in_first_out() -> None:
    shared = px.sync.Queue[int]()
    for item in range(5):
        shared.put(item)
    assert [shared.get() for _ in range(5)] == list(range(5))


@pytest.mark.parametrize(
    "item",
    [None, True, 1, 2.5, "text", b"bytes", "x" * 100_000, [1, {"a": (2, 3)}], {4}, Point(5), len],
    ids=lambda item: f"{type(item).__name__}{str(item)[:9]}",
)
def test_what_goes_in_comes_out(item: Any) -> None:
    shared = px.sync.Queue[Any]()
    shared.put(item)
    found = shared.get()
    assert found == item
    assert type(found) is type(item)


def test_arrays_and_references_as_items() -> None:
    shared = px.sync.Queue[Any]()
    shared.put(np.arange(100_000))
    shared.put(px.put("kept"))
    shared.put([px.put("inside")])
    assert shared.get().sum() == sum(range(100_000))
    assert px.get(shared.get()) == "kept"
    assert px.get(shared.get()[0]) == "inside"


def test_an_item_that_cannot_be_pickled_is_not_put() -> None:
    shared = px.sync.Queue[Any]()
    with pytest.raises(px.errors.SerializationError):
        shared.put(x for x in "generator")
    assert shared.qsize() == 0


def test_empty_and_full_are_those_of_the_standard_library_too() -> None:
    shared = px.sync.Queue[int](maxsize=1)
    with pytest.raises(queue.Empty, match=r"Queue\.get\(block=False\): there is no item"):
        shared.get_nowait()
    shared.put(1)
    with pytest.raises(queue.Full, match=r"maxsize=1"):
        shared.put_nowait(2)
    assert shared.get() == 1


def test_timeouts() -> None:
    shared = px.sync.Queue[int](maxsize=1)
    with pytest.raises(TimeoutError, match=r"get\(timeout=0\.01\)") as caught:
        shared.get(timeout=0.01)
    assert isinstance(caught.value, px.sync.Empty)
    shared.put(1)
    with pytest.raises(TimeoutError) as late:
        shared.put(2, timeout=0.01)
    assert isinstance(late.value, px.sync.Full)
    assert shared.qsize() == 1


def test_sizes() -> None:
    shared = px.sync.Queue[int](maxsize=2)
    assert (shared.qsize(), shared.size(), len(shared), shared.empty(), shared.full()) == (
        *(0, 0, 0),
        True,
        False,
    )
    assert shared
    shared.put_nowait_batch([1, 2])
    assert (shared.qsize(), shared.empty(), shared.full(), shared.maxsize) == (2, False, True, 2)


def test_batches() -> None:
    shared = px.sync.Queue[int](maxsize=5)
    shared.put_batch(range(3))
    with pytest.raises(px.sync.Full):
        shared.put_nowait_batch(range(3))
    assert shared.qsize() == 3
    with pytest.raises(px.sync.Empty):
        shared.get_nowait_batch(4)
    assert shared.get_nowait_batch(2) == [0, 1]
    assert shared.get_batch(10) == [2]
    assert shared.get_nowait_batch(0) == []
    shared.put_batch([])
    with pytest.raises(ValueError, match="maxsize=5"):
        shared.put_batch(range(6))


def test_tasks_and_actors_share_it() -> None:
    @px.remote
    class Keeper:
        def __init__(self, shared: px.sync.Queue[int]) -> None:
            self.shared = shared

        def put(self, item: int) -> None:
            self.shared.put(item)

    shared = px.sync.Queue[int]()
    px.get(put_all.remote(shared, [1, 2]))
    keeper = Keeper.remote(shared)
    px.get(keeper.put.remote(3))
    assert [shared.get(), px.get(get_one.remote(shared)), shared.get()] == [1, 2, 3]


def test_copies_are_the_same_queue() -> None:
    shared = px.sync.Queue[int](maxsize=3)
    copy = pickle.loads(pickle.dumps(shared))
    copy.put(1)
    assert copy == shared
    assert hash(copy) == hash(shared)
    assert copy.maxsize == 3
    assert shared.get() == 1
    assert px.sync.Queue() != shared
    assert "Queue maxsize=3" in repr(shared)


def test_a_queue_with_a_name() -> None:
    shared = px.sync.Queue[int](maxsize=3, name="orders")
    shared.put(1)
    assert px.sync.Queue[int](maxsize=3, name="orders").get() == 1
    with pytest.raises(ValueError, match="orders"):
        px.sync.Queue[int](maxsize=4, name="orders")


def test_shutdown() -> None:
    shared = px.sync.Queue[int]()
    shared.put(1)
    shared.shutdown()
    with pytest.raises(px.sync.ShutDown):
        shared.put(2)
    assert shared.get() == 1
    with pytest.raises(px.sync.ShutDown):
        shared.get()
    with pytest.raises(px.sync.ShutDown):
        shared.get_nowait()


def test_shutdown_at_once() -> None:
    shared = px.sync.Queue[int]()
    shared.put(1)
    shared.shutdown(immediate=True)
    with pytest.raises(px.sync.ShutDown):
        shared.get()


def test_iteration_ends_with_the_queue() -> None:
    with px.sync.Queue[int]() as shared:
        shared.put_batch(range(3))
    assert list(shared) == [0, 1, 2]


def test_on_an_event_loop() -> None:
    shared = px.sync.Queue[Any](maxsize=2)

    async def use() -> list[Any]:
        await shared.put_async(1)
        await shared.put_async(np.arange(3))
        with pytest.raises(px.sync.Full):
            await shared.put_async(3, timeout=0.01)
        found = [await shared.get_async(), (await shared.get_async()).tolist()]
        with pytest.raises(px.sync.Empty):
            await shared.get_async(block=False)
        await shared.put_async(4)
        shared.shutdown()
        return found + [item async for item in shared]

    assert asyncio.run(use()) == [1, [0, 1, 2], 4]


@pytest.mark.parametrize("maxsize", [-1, 1.5, True, "many"])
def test_a_maxsize_that_makes_no_sense(maxsize: Any) -> None:
    with pytest.raises(px.errors.UsageError, match="maxsize="):
        px.sync.Queue(maxsize=maxsize)


def test_a_timeout_that_makes_no_sense() -> None:
    with pytest.raises(px.errors.UsageError, match="timeout=-1"):
        px.sync.Queue[int]().get(timeout=-1)


def test_what_would_wait_for_ever_inline_is_told_so(session: str) -> None:
    shared = px.sync.Queue[int](maxsize=1)
    if session != "inline":
        return
    with pytest.raises(px.errors.DeadlockError, match="inline session"):
        shared.get()
    shared.put(1)
    with pytest.raises(px.errors.DeadlockError, match="the queue is full"):
        shared.put(2)


def test_whose_actor_is_gone() -> None:
    shared = px.sync.Queue[int]()
    px.kill(shared._desk)
    with pytest.raises(px.errors.ActorDiedError):
        shared.put(1)
    with pytest.raises(px.errors.ActorDiedError):
        shared.get()
