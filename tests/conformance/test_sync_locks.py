"""Locks and semaphores."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

import parallax as px

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]


def test_a_lock_is_held_by_one() -> None:
    lock = px.sync.Lock()
    assert lock.acquire()
    assert lock.locked()
    assert pickle.loads(pickle.dumps(lock)).acquire(block=False) is False
    lock.release()
    assert not lock.locked()
    with lock:
        assert lock.locked()
    assert lock.acquire(block=False)


def test_a_semaphore_has_so_many_places() -> None:
    semaphore = px.sync.Semaphore(2)
    assert semaphore.free() == 2
    with semaphore, semaphore:
        assert semaphore.free() == 0
        assert semaphore.acquire(block=False) is False
    assert semaphore.free() == 2


def test_timeouts() -> None:
    lock = px.sync.Lock()
    lock.acquire()
    with pytest.raises(TimeoutError, match=r"Lock\.acquire\(timeout=0\.01\): others have it"):
        lock.acquire(timeout=0.01)
    lock.release()
    assert lock.acquire(timeout=0.01)


def test_who_waits_for_himself_is_told_so() -> None:
    lock = px.sync.Lock()
    with lock, pytest.raises(px.errors.DeadlockError):
        lock.acquire()
    semaphore = px.sync.Semaphore(1)
    assert semaphore.acquire()


def test_to_release_what_one_does_not_hold() -> None:
    lock = px.sync.Lock()
    with pytest.raises(RuntimeError, match="not held here"):
        lock.release()
    with lock, pytest.raises(RuntimeError, match="not held here"):
        pickle.loads(pickle.dumps(lock)).release()


def test_a_task_holds_it_while_it_runs() -> None:
    lock = px.sync.Lock()

    @px.remote
    def try_it(lock: px.sync.Lock) -> bool:
        return lock.acquire(block=False)

    with lock:
        assert px.get(try_it.remote(lock)) is False
    assert px.get(try_it.remote(lock)) is True
    assert lock.acquire(timeout=20)


def test_a_task_that_ends_without_a_release_gives_it_back() -> None:
    lock = px.sync.Lock()  # a global of the task: it stays where the task has run

    @px.remote
    def forget(number: int) -> bool:
        return lock.acquire()

    assert px.get([forget.remote(number) for number in range(4)]) == [True] * 4
    assert lock.acquire()


def test_a_task_that_raises_gives_it_back() -> None:
    lock = px.sync.Lock()

    @px.remote
    def fail() -> None:
        lock.acquire()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        px.get(fail.remote())
    assert lock.acquire()


def test_an_actor_holds_it_from_call_to_call() -> None:
    @px.remote
    class Holder:
        def __init__(self, lock: px.sync.Lock) -> None:
            self.lock = lock

        def acquire(self) -> bool:
            return self.lock.acquire()

        def release(self) -> None:
            self.lock.release()

    lock = px.sync.Lock()
    holder = Holder.remote(lock)
    px.get(holder.acquire.remote())
    assert lock.acquire(block=False) is False
    px.get(holder.release.remote())
    assert lock.acquire()


def test_a_handle_that_is_dropped_gives_it_back() -> None:
    lock = px.sync.Lock()
    copy = pickle.loads(pickle.dumps(lock))
    copy.acquire()
    del copy
    assert lock.acquire(timeout=20)


def test_to_wait_for_a_job_that_holds_it_changes_nothing() -> None:
    lock = px.sync.Lock()
    with px.job("holds") as job:
        lock.acquire()
    job.wait(timeout=0.01)
    assert lock.locked()
    lock.release()
    assert lock.acquire(timeout=20)


def test_on_an_event_loop() -> None:
    lock = px.sync.Lock()

    async def use() -> tuple[bool, bool]:
        async with lock:
            held = lock.locked()
            with pytest.raises(TimeoutError):
                await lock.acquire_async(timeout=0.01)
        return held, await lock.acquire_async()

    assert asyncio.run(use()) == (True, True)


def test_names_and_reprs() -> None:
    lock = px.sync.Lock(name="the lock")
    with lock:
        assert px.sync.Lock(name="the lock").acquire(block=False) is False
        assert "1 held here" in repr(lock)
    assert px.sync.Lock(name="the lock") == lock


@pytest.mark.parametrize("value", [0, -1, 1.5, "two"])
def test_a_value_that_makes_no_sense(value: Any) -> None:
    with pytest.raises(px.errors.UsageError, match="value="):
        px.sync.Semaphore(value)
