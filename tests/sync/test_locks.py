"""Locks: waiting in line, and holders that die."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.pool.clusters import Driver

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("pool")]


@px.remote(max_retries=0)
def hold(lock: px.sync.Semaphore, gate: Gate, name: str = "task") -> int:
    with lock:
        gate.pass_through(name)
    return os.getpid()


def waiting(lock: px.sync.Semaphore) -> int:
    """How many wait for a place."""
    return int(px.get(lock._desk.call(lambda desk: len(desk._line))))


def test_one_at_a_time_in_order_of_arrival(tmp_path: Path) -> None:
    @px.remote
    def note(lock: px.sync.Lock, file: str, number: int) -> None:
        with lock, Path(file).open("a") as log:
            log.write(f"+{number}")
            log.flush()
            log.write(f"-{number} ")

    lock = px.sync.Lock()
    refs = []
    with lock:
        for number in range(6):
            refs.append(note.remote(lock, str(tmp_path / "log"), number))
            wait_until(lambda number=number: waiting(lock) == number + 1)  # type: ignore[misc]
    px.get(refs)
    assert (tmp_path / "log").read_text() == "".join(f"+{n}-{n} " for n in range(6))


def test_a_semaphore_lets_so_many_in(gate: Gate) -> None:
    semaphore = px.sync.Semaphore(2)
    refs = [hold.remote(semaphore, gate) for _ in range(4)]
    gate.wait_for(2)
    wait_until(lambda: semaphore.free() == 0)
    assert gate.count() == 2
    gate.open()
    px.get(refs)
    wait_until(lambda: semaphore.free() == 2)


def test_a_holder_whose_engine_is_killed_gives_it_back(gate: Gate) -> None:
    lock = px.sync.Lock()
    ref = hold.remote(lock, gate)
    gate.wait_for(1)
    (pid,) = [int(path.name.split("-")[1]) for path in Path(gate.folder).glob("task-*")]
    os.kill(pid, signal.SIGKILL)
    assert lock.acquire(timeout=20)
    with pytest.raises(px.errors.EngineDiedError):
        px.get(ref)


def test_a_holder_that_is_cancelled_gives_it_back(gate: Gate) -> None:
    lock = px.sync.Lock()
    ref = hold.remote(lock, gate)
    gate.wait_for(1)
    px.cancel(ref)
    assert lock.acquire(timeout=20)


def test_an_actor_that_is_killed_gives_back_what_an_earlier_call_took() -> None:
    @px.remote
    class Holder:
        def acquire(self, lock: px.sync.Lock) -> bool:
            self.lock = lock
            return lock.acquire()

    lock, holder = px.sync.Lock(), Holder.remote()
    assert px.get(holder.acquire.remote(lock))
    assert lock.acquire(block=False) is False
    px.kill(holder)
    assert lock.acquire(timeout=20)


def test_one_who_waits_and_dies_leaves_the_line(gate: Gate) -> None:
    lock = px.sync.Lock()
    with lock:
        ref = hold.remote(lock, gate)
        wait_until(lambda: waiting(lock) == 1)
        px.cancel(ref)
        wait_until(lambda: waiting(lock) == 0)
    assert lock.acquire()


def test_the_attempt_that_died_does_not_keep_the_next_one_waiting(gate: Gate) -> None:
    @px.remote(max_retries=1)
    def die_once(lock: px.sync.Lock, gate: Gate) -> int:
        lock.acquire()
        gate.note()
        if gate.count() == 1:
            os._exit(1)
        return gate.count()

    assert px.get(die_once.remote(px.sync.Lock(), gate), timeout=20) == 2


def test_a_driver_that_is_killed_gives_it_back() -> None:
    name = f"locks-{os.getpid()}"
    px.shutdown()
    px.init(name=name, num_cpus=1)
    try:
        lock = px.sync.Lock(name="lock", lifetime="detached")
        script = f"""
            px.init({name!r})
            lock = px.sync.Lock(name="lock")
            lock.acquire()
            say(held=1)
            time.sleep(60)
        """
        with Driver(script) as driver:
            assert driver.hear() == {"held": 1}
            assert lock.acquire(block=False) is False
        assert lock.acquire(timeout=20)
    finally:
        (pool,) = [pool for pool in px.pools() if pool.name == name]
        pool.stop()
        px.shutdown()
        px.init(num_cpus=2)


INTERRUPTS = """
    import random, threading
    px.init(num_cpus=1)
    lock = px.sync.Lock()
    lock.acquire(); lock.release()
    armed = False
    hits = rounds = 0
    def handler(number, frame):
        global armed, hits
        if armed:
            armed = False
            hits += 1
            raise KeyboardInterrupt
    signal.signal(signal.SIGINT, handler)
    over = threading.Event()
    def hammer():
        dice = random.Random(11)
        for number in range(300):
            time.sleep(dice.random() * 0.003)
            os.kill(os.getpid(), signal.SIGINT)
        over.set()
    threading.Thread(target=hammer).start()
    def state(desk):
        return desk._free, len(desk._loans), len(desk._line)
    while not over.is_set():
        held = False
        try:
            armed = True
            held = lock.acquire(timeout=20)
            armed = False
        except KeyboardInterrupt:
            pass
        rounds += 1
        if held:
            lock.release()
        elif lock._holds:
            raise SystemExit("an interrupted acquire holds the lock")
    deadline = time.monotonic() + 20
    while (now := px.get(lock._desk.call(state))) != (1, 0, 0) and time.monotonic() < deadline:
        pass
    say(hits=hits, rounds=rounds, state=now)
"""


def test_interrupts_at_any_moment_leave_no_ghost() -> None:
    with Driver(INTERRUPTS) as driver:
        facts: Any = driver.hear()
        assert driver.end() == (0, "")
    assert facts["hits"] > 50
    assert facts["state"] == [1, 0, 0]
