"""Threads that share one connection: whoever waits reads for all, and nobody waits in vain."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from parallax.messages import Answered, Asked, FromHub, Ping
from parallax.net import codec
from parallax.net.channel import Channel
from parallax.pool.waiter import Waiter

FOREVER = float("inf")


class EchoHub:
    """Answers questions: ``now`` at once, ``late`` when the next question comes.

    Keeps the time at which each frame came.
    """

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="echo")
        self.endpoint = f"ipc://{self.folder.name}/s"
        self.came: list[float] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(self.endpoint)
        self._stop = self._context.socket(zmq.PAIR)
        self._stop.bind("inproc://stop")
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.noise: bytes | None = None

    def _serve(self) -> None:
        stop = self._context.socket(zmq.PAIR)
        stop.connect("inproc://stop")
        late: list[tuple[bytes, int]] = []
        while True:
            ready, _, _ = zmq.select([self._socket, stop], [], [])
            if stop in ready:
                break
            identity, frame = self._socket.recv_multipart()
            self.came.append(time.perf_counter())
            if self.noise is not None:
                self._socket.send_multipart([identity, self.noise])
            for message in codec.decode_to_hub(frame):
                if not isinstance(message, Asked):
                    continue
                answers, late = late, []
                if message.what == "late":
                    late.append((identity, message.request))
                else:
                    answers.append((identity, message.request))
                for to, request in answers:
                    self._socket.send_multipart([to, codec.encode([Answered(request)])])
        stop.close()

    def close(self) -> None:
        self._stop.send(b"")
        self._thread.join()
        self._context.destroy(linger=0)
        self.folder.cleanup()


class Line:
    """A channel whose questions can be waited for."""

    def __init__(self, endpoint: str) -> None:
        self.failures: list[str] = []
        self._waiters: dict[int, Waiter] = {}
        self._requests = iter(range(1, 1 << 30))
        self.channel = Channel(endpoint, self._dispatch, lambda: None, self.failures.append)
        self.channel.start()

    def _dispatch(self, messages: list[FromHub]) -> None:
        for message in messages:
            assert isinstance(message, Answered)
            self._waiters.pop(message.request).count()

    def post(self, what: str = "now") -> Waiter:
        """Ask without waiting."""
        waiter = Waiter(1)
        with self.channel.lock:
            request = next(self._requests)
            self._waiters[request] = waiter
        self.channel.post(Asked(request, what))
        return waiter

    def ask(self, what: str = "now", timeout_s: float = FOREVER) -> bool:
        """Ask and wait."""
        waiter = self.post(what)
        return self.channel.wait(waiter, waiter.event, time.monotonic() + timeout_s)


@pytest.fixture
def echo() -> Iterator[EchoHub]:
    hub = EchoHub()
    yield hub
    hub.close()


@pytest.fixture
def line(echo: EchoHub) -> Iterator[Line]:
    line = Line(echo.endpoint)
    yield line
    line.channel.close()


def test_a_question_is_answered(line: Line) -> None:
    assert line.ask()


def test_a_wait_without_an_answer_ends_in_time(line: Line) -> None:
    began = time.monotonic()
    assert not line.ask("late", timeout_s=0.05)
    assert 0.05 <= time.monotonic() - began < 0.5


def test_what_is_posted_leaves_within_milliseconds_though_nobody_waits(
    line: Line, echo: EchoHub
) -> None:
    line.ask()
    delays = []
    for pause in (0.0, 0.06) * 10:  # while the background thread ticks, and while it dozes
        line.channel.wait(Waiter(1), threading.Event, time.monotonic() + pause)
        count, posted = len(echo.came), time.perf_counter()
        line.channel.post(Ping())
        while len(echo.came) == count:
            time.sleep(0)
        delays.append(echo.came[-1] - posted)
    assert statistics.median(delays) < 0.005


def test_many_threads_ask_at_once(line: Line) -> None:
    answered: list[bool] = []

    def ask_often() -> None:
        answered.extend([line.ask(timeout_s=20) for _ in range(150)])

    threads = [threading.Thread(target=ask_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answered == [True] * 8 * 150


def test_followers_are_served_whoever_leads(line: Line) -> None:
    """Waits that end in any order, so that the lead passes from thread to thread."""
    order: list[int] = []

    def follow(number: int) -> None:
        assert line.ask("late", timeout_s=20)
        order.append(number)

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    # Each late answer leaves with the next question; the last one needs one more.
    deadline = time.monotonic() + 20
    while any(t.is_alive() for t in threads) and time.monotonic() < deadline:
        line.post("now")
        line.channel.wait(Waiter(1), threading.Event, time.monotonic() + 0.01)
    assert sorted(order) == list(range(6))


def test_a_wait_that_has_ended_leaves_the_reading_to_the_background(line: Line) -> None:
    waiter = line.post("late")
    assert not line.ask("late", timeout_s=0.01)
    line.post("now")
    line.post("now")
    deadline = time.monotonic() + 5
    while not waiter.done and time.monotonic() < deadline:
        time.sleep(0)
    assert waiter.done


def test_a_callback_that_blocks_delays_nothing(line: Line) -> None:
    gate = threading.Event()
    line.channel.later(gate.wait)  # type: ignore[arg-type]
    waiter = line.post()
    deadline = time.monotonic() + 5
    while not waiter.done and time.monotonic() < deadline:
        time.sleep(0)
    assert waiter.done
    gate.set()


def test_callbacks_run_in_order_though_one_fails(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []
    for number in range(100):
        line.channel.later(lambda number=number: calls.append(number))  # type: ignore[misc]
        if number == 50:
            line.channel.later(lambda: calls[1000])
    line.channel.drain()
    assert calls == list(range(100))
    assert "a callback failed" in caplog.text


def test_close_ends_all_waits(echo: EchoHub) -> None:
    line = Line(echo.endpoint)
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(line.ask("late"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(echo.came) < 1:
        time.sleep(0)
    line.channel.close()
    line.channel.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_garbage_from_the_hub_is_a_failure_and_no_silence(echo: EchoHub) -> None:
    line = Line(echo.endpoint)
    echo.noise = b"\xff garbage"
    try:
        line.channel.post(Ping())  # read by the background thread
        deadline = time.monotonic() + 5
        while not line.failures and time.monotonic() < deadline:
            time.sleep(0)
        assert "cannot be read" in line.failures[0]
        assert not line.ask()  # at once: nothing will come any more
    finally:
        echo.noise = None
        line.channel.close()


def test_closed_channels_leave_no_descriptor_and_no_thread(echo: EchoHub) -> None:
    def cycle() -> None:
        line = Line(echo.endpoint)
        assert line.ask(timeout_s=5)
        line.channel.later(lambda: None)
        line.channel.close()

    cycle()
    gc.collect()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(20):
        cycle()
    gc.collect()
    # The hub's side closes its own when it notices.
    deadline = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > descriptors and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert threading.active_count() == threads
