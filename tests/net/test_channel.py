"""Threads that share one connection: whoever waits reads for all, and nobody waits in vain."""

from __future__ import annotations

import gc
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from parallax.messages import Answered, Asked, FromHub, Ping, Printed
from parallax.net import codec
from parallax.net.channel import Channel
from parallax.net.link import listen
from parallax.net.router import Router
from parallax.pool.waiter import Waiter
from tests.net import sockets
from tests.net.sockets import TIMEOUT_S, serve, until

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


# ---- races --------------------------------------------------------------------------------------


@pytest.mark.parametrize("somebody_waits", [True, False], ids=["led", "not led"])
@pytest.mark.parametrize("opened", [True, False], ids=["open", "not open"])
def test_what_the_hub_does_not_take_yet_arrives_in_order_whoever_polls(
    somebody_waits: bool, opened: bool
) -> None:
    """The thread that posts goes on; another one must notice that there is room."""
    numbers: list[int] = []

    def take(_: object, frame: bytes) -> None:
        numbers.extend(m.task for m in codec.decode_to_hub(frame) if isinstance(m, Printed))

    with sockets.endpoint() as address:
        router = Router(listen(address), codec.MAX_FRAME_BYTES)
        line = Line(address)
        asked = line.post()
        if opened:
            serve(router, lambda: line.channel._link.is_open, take)
        waiting = threading.Thread(
            target=line.channel.wait, args=(asked, asked.event, float("inf"))
        )
        if somebody_waits:
            waiting.start()
            until(lambda: line.channel._leader != 0)
        began = time.monotonic()
        for number in range(100):
            line.channel.post(Printed(number, 1, "stdout", "x" * 100_000))
        line.channel.flush()
        assert time.monotonic() - began < TIMEOUT_S / 2
        serve(router, lambda: len(numbers) == 100, take)
        assert numbers == list(range(100))
        asked.finish()
        line.channel.close()
        if somebody_waits:
            waiting.join(TIMEOUT_S)
        router.close(0.0)


class SlowLook:
    """The lead's lock. One look of the background thread takes until the leader is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acquire, self.release = self._lock.acquire, self._lock.release
        self.armed = False
        self.looked, self.go_on = threading.Event(), threading.Event()

    def locked(self) -> bool:
        locked = self._lock.locked()
        if self.armed and locked:
            self.armed = False
            self.looked.set()
            self.go_on.wait(TIMEOUT_S)
        return locked


def test_a_lead_that_ends_as_the_background_looks_at_it_is_taken_over(echo: EchoHub) -> None:
    line, other = Line(echo.endpoint), Line(echo.endpoint)
    line.channel.idle_step_s = lambda: 60.0
    lead = SlowLook()
    line.channel._leading = lead  # type: ignore[assignment]
    wait = Waiter(1)
    leader = threading.Thread(target=line.channel.wait, args=(wait, wait.event, FOREVER))
    answered = line.post("late")
    leader.start()
    until(lambda: line.channel._leader != 0 and bool(echo.came))
    until(lambda: line.channel._looks_at > time.perf_counter() + 30.0)
    lead.armed = True
    line.channel._background_wakeup.set()
    assert lead.looked.wait(TIMEOUT_S)
    wait.finish()
    line.channel.wake()
    leader.join(TIMEOUT_S)
    lead.go_on.set()
    other.ask("now")  # has the hub answer the first one, too
    deadline = time.monotonic() + 10
    while not answered.done and time.monotonic() < deadline:
        time.sleep(0)
    assert answered.done
    line.channel.close()
    other.channel.close()


def test_no_answer_is_lost_whenever_an_interrupt_comes(line: Line) -> None:
    main = threading.get_ident()
    armed, stop = False, threading.Event()
    posted: list[Waiter] = []
    raised = 0

    def handler(number: int, frame: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    def hammer() -> None:
        for i in range(300):
            until = time.perf_counter() + (i % 37) * 20e-6
            while time.perf_counter() < until:
                pass
            signal.pthread_kill(main, signal.SIGINT)
        stop.set()

    before = signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        while not stop.is_set():
            posted.append(line.post())
            try:
                armed = True
                assert line.channel.wait(posted[-1], posted[-1].event, time.monotonic() + 20)
                armed = False
            except KeyboardInterrupt:
                raised += 1
    finally:
        thread.join()
        assert signal.signal(signal.SIGINT, before) is handler
    assert raised
    until(lambda: all(waiter.done for waiter in posted))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_forked_while_the_main_thread_waits_can_be_interrupted(line: Line) -> None:
    """The handler of that moment is the shield's, and the block that it shields is not there."""
    statuses: list[int] = []
    wait = Waiter(1)

    def fork() -> None:
        until(lambda: line.channel._leader != 0)
        child = os.fork()
        if child == 0:
            line.channel.forget()
            line.channel.post(Ping())
            line.channel.close()
            os._exit(signal.getsignal(signal.SIGINT) is not signal.default_int_handler)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        wait.finish()
        line.channel.wake()

    thread = threading.Thread(target=fork)
    thread.start()
    assert line.channel.wait(wait, wait.event, time.monotonic() + TIMEOUT_S)
    thread.join()
    assert statuses == [0]
    assert line.ask(timeout_s=TIMEOUT_S)
