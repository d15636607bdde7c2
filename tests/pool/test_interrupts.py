"""Interrupts of the driver and of tasks: each hits what it is meant for, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import parallax as px
from parallax.errors import TaskCancelledError
from parallax.sessions.current import current
from tests.pool import tasks
from tests.pool.clusters import Driver, engines, wait_until

same = px.remote(tasks.same)
sleep = px.remote(tasks.sleep)
spin = px.remote(tasks.spin)


def _interrupt_soon() -> None:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_an_interrupted_get_raises_at_once_and_cancels_what_it_waited_for(
    cluster: str, leads: bool
) -> None:
    # Given tasks that run and one that waits, and maybe a thread that reads for the main thread
    awaited = [sleep.remote(600) for _ in range(2)] + [same.remote(1)]
    other = same.options(num_cpus=0).remote(2)
    if not leads:
        thread = threading.Thread(target=lambda: px.wait([awaited[0]]))
        thread.start()
        wait_until(lambda: current().client.channel._leader == thread.ident)
    # When the main thread is interrupted
    _interrupt_soon()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        px.get(awaited)
    # Then it raises at once, those tasks are cancelled, and no other
    assert time.monotonic() - began < 0.1 + 0.2
    for ref in awaited:
        with pytest.raises(TaskCancelledError):
            px.get(ref, timeout=5)
    assert px.get(other) == 2
    assert px.get([same.remote(i) for i in range(50)]) == list(range(50))


def test_an_interrupted_wait_cancels_nothing(cluster: str) -> None:
    refs = [sleep.remote(0.4)]
    _interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        px.wait(refs)
    assert px.get(refs) == [0.4]


def test_a_handler_that_does_not_raise_ends_no_wait(cluster: str) -> None:
    calls = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        ref = sleep.remote(0.4)
        _interrupt_soon()
        assert px.get(ref) == 0.4
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [signal.SIGINT]


def test_hundreds_of_interrupts_at_any_moment_lose_nothing() -> None:
    """SIGINT again and again while the main thread submits and gets; each may strike anywhere."""
    script = """
        import random, threading
        @px.remote
        def double(x):
            return 2 * x
        px.init(num_cpus=2)
        px.get(double.remote(1))
        armed = False
        hits = cancelled = rounds = 0
        def handler(number, frame):
            global armed, hits
            if armed:
                armed = False
                hits += 1
                raise KeyboardInterrupt
        signal.signal(signal.SIGINT, handler)
        over = threading.Event()
        def hammer():
            dice = random.Random(5)
            for _ in range(500):
                time.sleep(dice.random() * 0.006)
                os.kill(os.getpid(), signal.SIGINT)
            over.set()
        threading.Thread(target=hammer).start()
        while not over.is_set():
            refs, values = [], None
            try:
                armed = True
                for i in range(40):
                    refs.append(double.remote(i))
                values = px.get(refs)
                armed = False
            except KeyboardInterrupt:
                try:
                    values = px.get(refs, timeout=10)
                except px.errors.TaskCancelledError:
                    cancelled += 1
            if values is not None:
                assert values == [2 * i for i in range(len(values))], values
            rounds += 1
        assert px.get([double.remote(i) for i in range(500)]) == list(range(0, 1000, 2))
        del refs
        client = px.sessions.current.current().client
        px.nodes()
        say(hits=hits, rounds=rounds, held=len(client.local), waits=len(client.holdings._waiters),
            engines=[e["engine"] for n in px.nodes() for e in n["engines"]])
    """
    with Driver(script) as driver:
        facts = driver.hear()
        assert driver.end() == (0, "")
    assert facts["hits"] > 100
    assert facts["held"] == facts["waits"] == 0
    assert sorted(facts["engines"]) == [1, 2]


def test_cancels_around_the_ends_of_tasks_hit_nobody_else(cluster: str) -> None:
    dice = random.Random(3)
    outcomes: Counter[str] = Counter()
    for _ in range(150):
        victims = [spin.remote(dice.random() * 0.002) for _ in range(4)]
        others = [same.remote(i) for i in range(20)]
        items = same.map(range(30))
        tasks.spin(dice.random() * 0.004)
        for ref in [*victims, *items[::7]]:
            px.cancel(ref)
        assert px.get(others, timeout=10) == list(range(20))
        for i, ref in enumerate(items):
            try:
                assert px.get(ref, timeout=10) == i
            except TaskCancelledError:
                assert i % 7 == 0
        for ref in victims:
            try:
                px.get(ref, timeout=10)
                outcomes["done"] += 1
            except TaskCancelledError:
                outcomes["cancelled"] += 1
    assert outcomes["cancelled"] > 20
    # No engine was lost to it
    assert {e["engine"] for e in engines()} <= {1, 2}


def test_tasks_that_wait_inside_can_be_cancelled_at_any_moment(cluster: str) -> None:
    @px.remote
    def wait_inside() -> int:
        return px.get(same.remote(px.get(same.remote(1))))

    dice = random.Random(9)
    for _ in range(40):
        ref = wait_inside.remote()
        tasks.spin(dice.random() * 0.01)
        px.cancel(ref)
        with contextlib.suppress(TaskCancelledError):
            assert px.get(ref, timeout=10) == 1
        assert px.get([same.remote(i) for i in range(10)], timeout=10) == list(range(10))
    wait_until(lambda: px.available_resources()["CPU"] == 2)


@px.remote
def sleep_through_a_signal(sign: str) -> None:
    """Sleep as if the first signal had come just before the system call: nothing wakes it."""
    from parallax.pool.task_interrupts import TaskInterrupts

    strike = TaskInterrupts.strike

    def lose(interrupts: TaskInterrupts) -> None:
        TaskInterrupts.strike = strike  # type: ignore[method-assign]

    TaskInterrupts.strike = lose  # type: ignore[method-assign]
    Path(sign).touch()
    time.sleep(600)


def test_an_interrupt_that_was_slept_through_is_repeated(cluster: str, tmp_path: Path) -> None:
    ref = sleep_through_a_signal.remote(str(tmp_path / "sign"))
    wait_until((tmp_path / "sign").exists)
    px.cancel(ref)
    with pytest.raises(TaskCancelledError):
        px.get(ref, timeout=10)
