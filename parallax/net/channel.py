"""One process's connection to the hub, shared by its threads.

Theory of operation. A socket may be used by one thread at a time, and handing a message from a
reader thread to the thread that waits for it costs two context switches. So nobody owns this
socket: whoever waits for something reads it himself (the *leader*), and dispatches what comes
for everybody. A background thread reads only while there is no leader, and sends what others
have posted and not flushed.

1. `post` appends under `lock`, which is held for an instant and never across a system call.
2. Sending, receiving and dispatching happen under `_io`. `lock` may be taken inside, never the
   other way round.
3. A ZeroMQ socket's descriptor is edge-triggered: after any send or receive, whoever holds `_io`
   must read until nothing is left, else the next edge never comes. Hence `_exchange`.
4. When a thread that is not the leader has read, the leader's wait may be over: it is woken.
5. All of it is shielded from KeyboardInterrupt. One that comes while the main thread leads ends
   its poll; it is raised when the thread has laid down the lead.
6. What the outside is to be told runs in a thread of its own (`callbacks`): the background thread
   never runs code that may wait.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from typing import Protocol

import zmq

from parallax.messages import FromHub, ToHub
from parallax.net import codec
from parallax.net.callbacks import Callbacks
from parallax.net.readiness import has_input
from parallax.net.shield import Shield, is_main_thread
from parallax.net.wakeup import NoWakeup, Wakeup

LINGER_S = 1.0
FLUSH_COUNT = 200
"""Rows posted after which the poster itself sends them."""
LATE_S = 0.001
"""So long after the last sending the poster sends at once. The background thread would be later:
it has to wait for the GIL, again and again, while the poster goes on to compute."""
TICK_S = 0.002
"""The background thread's step while there was traffic lately: what is posted waits no longer."""
IDLE_TICK_S = 0.2
"""And otherwise: it collects dropped references."""
ACTIVE_S = 0.05
"""Traffic is "lately" for so long."""
NAP_S = 0.1
"""The longest sleep of a thread that waits. A signal that comes between Python's last look for
one and the system call wakes nobody: the KeyboardInterrupt then waits for the end of the nap."""

log = logging.getLogger("parallax.channel")


class Condition(Protocol):
    """What a thread waits for. `done` turns true while messages are dispatched."""

    done: bool


class Channel:
    """A DEALER socket to the hub.

    Args:
        endpoint: the hub's address, ``ipc://...``.
        dispatch: called with each batch of messages, under the channel's lock, in any thread. It
            must be quick and must not wait.
        before_send: called, in any thread, before the posted messages are taken, so that the
            owner can post what has gathered elsewhere (dropped references).
        on_failure: called once, in the background thread, when it cannot go on; says why.
    """

    def __init__(
        self,
        endpoint: str,
        identity: bytes,
        dispatch: Callable[[list[FromHub]], None],
        before_send: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self.lock = threading.Lock()
        self.outbox: list[ToHub] = []
        self.rows = 0
        """Rows in the outbox; whoever appends to `outbox` under `lock` counts them."""
        self.closed = False
        self.idle_tick_s: Callable[[], float] = lambda: IDLE_TICK_S
        """How often `before_send` wants to be called though there is no traffic."""
        self._hopeless = False
        self._dispatch = dispatch
        self._before_send = before_send
        self._on_failure = on_failure
        self._io = threading.RLock()
        self._leading = threading.Lock()
        self._leader = 0
        self._followers = 0
        self._active_until = 0.0
        self._sent_at = 0.0
        self._dozing = False
        self._context = zmq.Context()
        self._socket = self._connect(endpoint, identity)
        self._background_wakeup = Wakeup()
        self._leader_wakeup = Wakeup()
        self._shield = Shield(self.wake)
        self._leader_poll = select.poll()
        self._leader_poll.register(self._socket.FD, select.POLLIN)
        self._leader_poll.register(self._leader_wakeup.fileno(), select.POLLIN)
        self._watched: dict[int, Callable[[], None]] = {}
        self._call_later_by(Callbacks())
        self._thread = threading.Thread(target=self._run, name="parallax-io", daemon=True)

    def _connect(self, endpoint: str, identity: bytes) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.identity = identity
        socket.sndhwm = socket.rcvhwm = 0
        # Often: a pool that is starting is joined the moment it listens.
        socket.reconnect_ivl = 2
        socket.reconnect_ivl_max = 8
        socket.maxmsgsize = codec.MAX_FRAME_BYTES
        socket.connect(endpoint)
        return socket

    def _call_later_by(self, callbacks: Callbacks) -> None:
        self.later = callbacks.add
        """Run something soon, in a thread where it may take its time."""
        self.drain = callbacks.close
        """Wait for what was to be run later, but not for long. Nothing more will be."""

    def start(self) -> None:
        """Start the background thread."""
        self._thread.start()

    # ---- sending ----------------------------------------------------------------------------

    def post(self, message: ToHub) -> None:
        """Append a message. It leaves with the next flush, at the latest in about a millisecond."""
        with self.lock:
            self.outbox.append(message)
            self.rows += 1
        self.posted()

    def posted(self) -> None:
        """To be called after appending to `outbox` under `lock`: flush when it is time."""
        if self._dozing:
            self._active_until = time.perf_counter() + ACTIVE_S
            self._dozing = False
            self._background_wakeup.set()
            self.flush()
        elif self.rows >= FLUSH_COUNT or time.perf_counter() - self._sent_at > LATE_S:
            self.flush()

    def flush(self) -> None:
        """Send what was posted."""
        with self._shield, self._io:
            self._exchange()

    def _exchange(self) -> None:
        """Send all, read and dispatch all, and again while dispatching has posted more."""
        if self.closed:
            return
        socket = self._socket
        self._before_send()
        read = False
        while True:
            if self.outbox:
                with self.lock:
                    batch, self.outbox, self.rows = self.outbox, [], 0
                for frame in codec.frames_of(batch):
                    socket.send(frame)
                self._sent_at = time.perf_counter()
                self._active_until = self._sent_at + ACTIVE_S
            while has_input(socket):
                self._dispatch(codec.decode_from_hub(socket.recv()))
                read = True
            if not self.outbox:
                break
        if read and self._leader and self._leader != threading.get_ident():
            self._leader_wakeup.set()

    def wake(self) -> None:
        """Have the thread that reads look whether its wait is over."""
        self._leader_wakeup.set()

    # ---- waiting ----------------------------------------------------------------------------

    def wait(
        self,
        condition: Condition,
        event: Callable[[], threading.Event],
        deadline: float,
        nap_s: float = NAP_S,
    ) -> bool:
        """Send, then wait until `condition.done`.

        Args:
            event: makes the event that dispatch sets when the condition is done; asked for only
                when another thread is reading already.
            deadline: on `time.monotonic`'s clock; infinity waits for ever.
            nap_s: how late a KeyboardInterrupt may be at worst; most are not late at all.

        Returns:
            `condition.done` at the end.
        """
        while True:
            with self._shield:
                if not self._leading.acquire(blocking=False):
                    break
                if self._lead(condition, deadline, nap_s):
                    return condition.done
            # A signal ended it, and the handler did not raise.
        return self._follow(condition, event, deadline)

    def _lead(self, condition: Condition, deadline: float, nap_s: float) -> bool:
        """Read for all until the wait is over; False when an interrupt waits to be raised."""
        shield = self._shield if is_main_thread() else None
        self._leader = threading.get_ident()
        try:
            while True:
                with self._io:
                    self._exchange()
                if condition.done or self.closed:
                    return True
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    return True
                if shield is not None and shield.noted:
                    return False
                for fd, _ in self._leader_poll.poll(min(remaining_s, nap_s) * 1000):
                    if fd == self._leader_wakeup.fileno():
                        self._leader_wakeup.clear()
        finally:
            self._leader = 0
            self._leading.release()
            if self._followers or self._dozing:
                self._background_wakeup.set()

    def _follow(
        self, condition: Condition, event: Callable[[], threading.Event], deadline: float
    ) -> bool:
        signal = event()
        self._followers += 1
        try:
            self.flush()
            while not condition.done and not self.closed:
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    break
                signal.wait(min(remaining_s, NAP_S))
            return condition.done
        finally:
            self._followers -= 1

    # ---- the background ---------------------------------------------------------------------

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` in the background thread when `fd` becomes readable, once."""
        self._watched[fd] = callback
        self._background_wakeup.set()

    def _run(self) -> None:
        try:
            while not self.closed:
                ready = self._doze()
                with self._io:
                    if self._hopeless:
                        # Else the socket would try to reach a hub that is gone, for ever.
                        self.closed = True
                        self._socket.close(linger=0)
                    self._exchange()
                for fd in ready:
                    if callback := self._watched.pop(fd, None):
                        callback()
        except Exception as error:
            # Without this thread nothing would be sent any more, and nobody would know.
            log.exception("the connection to the hub failed")
            self._on_failure(f"the connection to its hub failed ({error!r})")

    def _doze(self) -> list[int]:
        poll = select.poll()
        poll.register(self._background_wakeup.fileno(), select.POLLIN)
        for fd in self._watched:
            poll.register(fd, select.POLLIN)
        if not self._leading.locked():
            poll.register(self._socket.FD, select.POLLIN)
        active = time.perf_counter() < self._active_until
        self._dozing = not active
        timeout_s = TICK_S if active else self.idle_tick_s()
        if self._dozing and self.outbox:
            timeout_s = 0.0
        ready = [fd for fd, _ in poll.poll(timeout_s * 1000)]
        self._dozing = False
        if self._background_wakeup.fileno() in ready:
            self._background_wakeup.clear()
        return ready

    # ---- the end ----------------------------------------------------------------------------

    def close(self, linger_s: float = LINGER_S) -> None:
        """Send what is left and close. Threads that wait return.

        Args:
            linger_s: what the hub has not taken by then is given up. Blocks for so long at most.
        """
        with self._shield:
            with self._io:
                self._exchange()
                self.closed = True
            self._leader_wakeup.set()
            self._background_wakeup.set()
            if self._thread.is_alive() and self._thread is not threading.current_thread():
                self._thread.join(timeout=5.0)
            with self._io:
                self._socket.close(linger=int(linger_s * 1000))
                self._context.term()
            self._leader_wakeup = self._background_wakeup = NoWakeup()
            self.drain()

    def give_up(self) -> None:
        """The hub is gone: try no more to reach it. May be called under locks."""
        self._hopeless = True
        self.wake()
        self._background_wakeup.set()

    def forget(self) -> None:
        """After a fork, in the child: the socket and its threads are the parent's."""
        self.closed = True
        self.lock = threading.Lock()
        self._io = threading.RLock()
        self._leading = threading.Lock()
        self._leader = 0
        self._call_later_by(Callbacks())
