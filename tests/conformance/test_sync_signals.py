"""Events, barriers and counters."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import parallax as px

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]


def test_an_event() -> None:
    event = px.sync.Event()
    assert not event.is_set()
    with pytest.raises(TimeoutError, match=r"Event\.wait\(timeout=0\.01\): nobody has set it"):
        event.wait(timeout=0.01)
    event.set()
    event.wait()
    assert event.is_set()
    event.clear()
    assert not event.is_set()


@pytest.mark.needs("concurrency")
def test_all_who_wait_for_an_event_go_on() -> None:
    @px.remote
    def wait(event: px.sync.Event, begun: px.sync.Counter) -> bool:
        begun.add()
        event.wait()
        return True

    event, begun = px.sync.Event(), px.sync.Counter()
    refs = [wait.remote(event, begun) for _ in range(5)]
    begun.wait_for(5)
    assert px.wait(refs, timeout=0)[0] == []
    event.set()
    assert px.get(refs) == [True] * 5


def test_a_task_sets_an_event() -> None:
    event = px.sync.Event()
    px.get(px.remote(lambda event: event.set()).remote(event))
    event.wait()


def test_a_counter() -> None:
    counter = px.sync.Counter(10)
    assert counter.add() == 11
    assert counter.add(-1.5) == 9.5
    assert counter.set(0) == 9.5
    assert counter.compare_and_set(1, 5) is False
    assert counter.compare_and_set(0, 5) is True
    assert counter.value() == 5
    counter.wait_for(5)
    with pytest.raises(TimeoutError, match=r"wait_for\(6, timeout=0\.01\): it is still less"):
        counter.wait_for(6, timeout=0.01)


def test_many_tasks_add_to_a_counter() -> None:
    counter = px.sync.Counter()

    @px.remote
    def add(counter: px.sync.Counter) -> None:
        for _ in range(10):
            counter.add()

    px.get([add.remote(counter) for _ in range(10)])
    assert counter.value() == 100


@pytest.mark.needs("concurrency")
def test_who_waits_for_less_is_not_held_up() -> None:
    @px.remote
    def wait(counter: px.sync.Counter, begun: px.sync.Counter, least: int) -> int:
        begun.add()
        counter.wait_for(least)
        return least

    counter, begun = px.sync.Counter(), px.sync.Counter()
    more, less = wait.remote(counter, begun, 2), wait.remote(counter, begun, 1)
    begun.wait_for(2)
    counter.add()
    assert px.get(less, timeout=20) == 1
    counter.add()
    assert px.get(more, timeout=20) == 2


@pytest.mark.needs("concurrency")
def test_a_barrier_lets_all_go_on_together_again_and_again() -> None:
    @px.remote
    def meet(barrier: px.sync.Barrier) -> list[int]:
        return [barrier.wait() for _ in range(5)]

    barrier = px.sync.Barrier(4)
    places = px.get([meet.remote(barrier) for _ in range(4)])
    for round_ in zip(*places, strict=True):
        assert sorted(round_) == [0, 1, 2, 3]
    assert (barrier.parties, barrier.n_waiting(), barrier.broken()) == (4, 0, False)


def test_a_barrier_of_one() -> None:
    barrier = px.sync.Barrier(1)
    assert [barrier.wait(), barrier.wait()] == [0, 0]


def test_one_who_runs_out_of_time_breaks_the_barrier() -> None:
    barrier = px.sync.Barrier(2)
    with pytest.raises(TimeoutError, match="the barrier is broken now"):
        barrier.wait(timeout=0.01)
    with pytest.raises(threading.BrokenBarrierError, match=r"reset\(\)"):
        barrier.wait()
    assert barrier.broken()
    barrier.reset()
    assert not barrier.broken()
    barrier.abort()
    with pytest.raises(px.sync.BrokenBarrierError):
        barrier.wait(timeout=1)


@pytest.mark.needs("concurrency")
@pytest.mark.parametrize("how", ["cancel", "abort", "reset"])
def test_one_who_leaves_breaks_the_barrier_for_those_who_wait(how: str) -> None:
    @px.remote
    def meet(barrier: px.sync.Barrier) -> int:
        return barrier.wait()

    barrier = px.sync.Barrier(3)
    refs = [meet.remote(barrier) for _ in range(2)]
    while barrier.n_waiting() < 2:
        continue
    if how == "cancel":
        px.cancel(refs[1])
    else:
        getattr(barrier, how)()
    with pytest.raises(px.sync.BrokenBarrierError):
        px.get(refs[0], timeout=20)
    assert barrier.broken() is (how != "reset")


def test_on_an_event_loop() -> None:
    event, counter, barrier = px.sync.Event(), px.sync.Counter(), px.sync.Barrier(1)

    async def use() -> int:
        with pytest.raises(TimeoutError):
            await event.wait_async(timeout=0.01)
        with pytest.raises(TimeoutError):
            await counter.wait_for_async(1, timeout=0.01)
        event.set()
        counter.add()
        await event.wait_async()
        await counter.wait_for_async(1)
        return await barrier.wait_async()

    assert asyncio.run(use()) == 0


def test_what_would_wait_for_ever_inline_is_told_so(session: str) -> None:
    if session != "inline":
        return
    with pytest.raises(px.errors.DeadlockError, match="nobody has set it"):
        px.sync.Event().wait()
    with pytest.raises(px.errors.DeadlockError, match="not all 2 are there"):
        px.sync.Barrier(2).wait()
    with pytest.raises(px.errors.DeadlockError, match="it is still less"):
        px.sync.Counter().wait_for(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: px.sync.Barrier(0), "parties=0"),
        (lambda: px.sync.Counter("one"), "value='one'"),  # type: ignore[arg-type]
        (lambda: px.sync.Counter().add(True), "amount=True"),
        (lambda: px.sync.Event().wait(timeout=-1), "timeout=-1"),
    ],
)
def test_arguments_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(px.errors.UsageError, match=message):
        make()


def test_names() -> None:
    px.sync.Counter(name="tally").add()
    kept = px.sync.Counter(name="tally")
    kept.add()
    assert px.sync.Counter(name="tally").value() == kept.value()
    event = px.sync.Event(name="go")
    event.set()
    assert px.sync.Event(name="go").is_set()
    for thing in (kept, event, px.sync.Barrier(1)):
        assert "at <actor" in repr(thing)
