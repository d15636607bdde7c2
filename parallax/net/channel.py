"""One process's connection to the hub, shared by its threads.

Theory of operation. A link may be used by one thread at a time, and handing a message from a
reader thread to the thread that waits for it costs two context switches. So nobody owns this
link: whoever waits for something reads it himself (the *leader*), and dispatches what comes
for everybody. A background thread reads only while there is no leader, and sends what others
have posted and not flushed.

1. `post` appends under `lock`, which is held for an instant and never across a system call.
2. Sending, receiving and dispatching happen under `_io`. `lock` may be taken inside, never the
   other way round. Nobody waits under either: what the hub does not take yet stays in the link,
   and whoever polls waits for room, too.
3. When a thread that is not the leader has read, the leader's wait may be over: it is woken.
4. All of it is shielded from KeyboardInterrupt. One that comes while the main thread leads ends
   its poll; it is raised when the thread has laid down the lead.
5. What the outside is to be told runs in a thread of its own (`callbacks`): the background thread
   never runs code that may wait.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from typing import Protocol

from parallax.errors import ProtocolError
from parallax.messages import FromHub, ToHub
from parallax.net import codec
from parallax.net.callbacks import Callbacks
from parallax.net.link import Link
from parallax.net.shield import Shield, is_main_thread
from parallax.net.wakeup import NoWakeup, Wakeup

LINGER_S = 1.0
FLUSH_COUNT = 200
"""Rows posted after which the poster itself sends them."""
LATE_S = 0.001
"""So long after the last sending the poster sends at once. The background thread would be later:
it has to wait for the GIL, again and again, while the poster goes on to compute."""
STEP_S = 0.002
"""What is posted waits no longer: the background thread takes steps of this size."""
EASY_STEP_S = 0.01
"""Of what need not be known so soon. Each step takes the GIL from whoever computes."""
IDLE_STEP_S = 0.2
"""The background thread's step when nothing is posted: it collects dropped references."""
ACTIVE_S = 0.05
"""So long after somebody has waited, or has left something to be sent, it takes small steps."""
NAP_S = 0.1
"""The longest sleep of a thread that waits. A signal that comes between Python's last look for
one and the system call wakes nobody: the KeyboardInterrupt then waits for the end of the nap."""

log = logging.getLogger("parallax.channel")


class Condition(Protocol):
    """What a thread waits for. `done` turns true while messages are dispatched."""

    done: bool


class Channel:
    """A link to the hub.

    Args:
        endpoint: the hub's address, ``ipc://...``.
        dispatch: called with each batch of messages, under the channel's lock, in any thread. It
            must be quick and must not wait.
        before_send: called, in any thread, before the posted messages are taken, so that the
            owner can post what has gathered elsewhere (dropped references).
        on_end: called when nothing can come any more, in any thread, under the channel's lock;
            says why.

    Raises:
        OSError: nobody listens at the endpoint.
    """

    def __init__(
        self,
        endpoint: str,
        dispatch: Callable[[list[FromHub]], None],
        before_send: Callable[[], None],
        on_end: Callable[[str], None],
    ) -> None:
        self.lock = threading.Lock()
        self.outbox: list[ToHub] = []
        self.rows = 0
        """Rows in the outbox; whoever appends to `outbox` under `lock` counts them."""
        self.closed = False
        self.idle_step_s: Callable[[], float] = lambda: IDLE_STEP_S
        """How often `before_send` wants to be called though there is no traffic."""
        self._dispatch = dispatch
        self._before_send = before_send
        self._on_end = on_end
        self._io = threading.RLock()
        self._leading = threading.Lock()
        self._leader = 0
        self._followers = 0
        self._active_until = 0.0
        self._sent_at = 0.0
        self._step_s = STEP_S
        self._looks_at = 0.0
        """When the background thread will look around again by itself."""
        self._link = Link.connect(endpoint, codec.MAX_FRAME_BYTES)
        self._link_ended = False
        self._leader_writes = False
        """Whether the leader's poll waits for room, too."""
        self._background_wakeup = Wakeup()
        self._leader_wakeup = Wakeup()
        self._shield = Shield(self.wake)
        self._leader_poll = select.poll()
        self._leader_poll.register(self._leader_wakeup.fileno(), select.POLLIN)
        self._leader_poll.register(self._link.fileno(), select.POLLIN)
        self._call_later_by(Callbacks())
        self._thread = threading.Thread(target=self._run, name="parallax-io", daemon=True)

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

    def posted(self, within_s: float = STEP_S) -> None:
        """To be called after appending to `outbox` under `lock`: flush when it is time.

        Args:
            within_s: so soon it shall leave: `STEP_S`, or `EASY_STEP_S`.
        """
        now = time.perf_counter()
        if self.rows >= FLUSH_COUNT or now - self._sent_at > LATE_S:
            self.flush()
            if self._looks_at > now + IDLE_STEP_S and self.idle_step_s() <= IDLE_STEP_S:
                self._looks_at = now  # it sleeps for long, and has something to collect now
                self._background_wakeup.set()
        elif self._looks_at > now + within_s:
            self._step_s = within_s
            self._active_until = now + ACTIVE_S
            self._looks_at = now  # to be woken once is enough
            self._background_wakeup.set()

    def flush(self) -> None:
        """Send what was posted."""
        with self._shield, self._io:
            self._send()

    def linger(self) -> None:
        """Send what was posted, and wait until the hub has taken it, but not for long."""
        with self._shield, self._io:
            self._send()
            self._link.linger(LINGER_S)

    def _send(self) -> None:
        """Send all that is posted. Under `_io`."""
        if self.closed:
            return
        self._before_send()
        link = self._link
        had_unsent = link.has_unsent
        while self.outbox:
            with self.lock:
                batch, self.outbox, self.rows = self.outbox, [], 0
            for frame in codec.frames_of(batch):
                link.send(frame)
            self._sent_at = time.perf_counter()
        if link.has_unsent and not had_unsent:
            # Whoever polls does not wait for room yet.
            self._leader_wakeup.set()
            self._background_wakeup.set()

    def _receive(self) -> None:
        """Read and dispatch what has come, and send what that has posted. Under `_io`."""
        if self.closed or self._link_ended:
            return
        link = self._link
        link.flush()
        frames: list[memoryview] = []
        try:
            frames = link.read()
            for frame in frames:
                self._dispatch(codec.decode_from_hub(frame))
        except ProtocolError as error:
            self._end(f"what came from its hub cannot be read ({error})")
        if link.ended:
            self._end("its hub has ended")
        elif self.outbox:
            self._send()
        if (
            (frames or self._link_ended or link.has_unsent)
            and self._leader
            and self._leader != threading.get_ident()
        ):
            self._leader_wakeup.set()

    def _end(self, reason: str) -> None:
        """Nothing will come any more."""
        if not self._link_ended:
            self._link_ended = True
            self._background_wakeup.set()  # it must poll the link no more
            self._on_end(reason)

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
        wakeup = self._leader_wakeup.fileno()
        self._leader = threading.get_ident()
        try:
            with self._io:
                self._send()
            while not (condition.done or self.closed or self._link_ended):
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    break
                if shield is not None and shield.noted:
                    return False
                for fd, _ in self._poll_for_leader(min(remaining_s, nap_s)):
                    if fd == wakeup:
                        self._leader_wakeup.clear()
                    else:
                        with self._io:
                            self._receive()
            return True
        finally:
            # Who waits once will soon wait again. With small steps the background need not be woken
            # each time to take the reading over.
            now = time.perf_counter()
            self._active_until = now + ACTIVE_S
            self._leader = 0
            self._leading.release()
            if self._followers or self._looks_at > now + EASY_STEP_S or self._link.has_unsent:
                self._background_wakeup.set()

    def _poll_for_leader(self, timeout_s: float) -> list[tuple[int, int]]:
        if self._link.has_unsent != self._leader_writes:
            self._leader_writes = not self._leader_writes
            self._leader_poll.modify(self._link.fileno(), self._interest())
        return self._leader_poll.poll(timeout_s * 1000)

    def _interest(self) -> int:
        return select.POLLIN | select.POLLOUT if self._link.has_unsent else select.POLLIN

    def _follow(
        self, condition: Condition, event: Callable[[], threading.Event], deadline: float
    ) -> bool:
        signal = event()
        self._followers += 1
        try:
            self.flush()
            while not (condition.done or self.closed or self._link_ended):
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    break
                signal.wait(min(remaining_s, NAP_S))
            return condition.done
        finally:
            self._followers -= 1

    # ---- the background ---------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self.closed:
                has_input = self._doze()
                with self._io:
                    if has_input:
                        self._receive()
                    self._send()
        except Exception as error:
            # Without this thread nothing would be sent any more, and nobody would know.
            log.exception("the connection to the hub failed")
            self._end(f"the connection to its hub failed ({error!r})")

    def _doze(self) -> bool:
        """Wait for something to do; whether the link is to be attended."""
        now = time.perf_counter()
        step_s = self._step_s if now < self._active_until else self.idle_step_s()
        # Before the look at the lead. 1. This thread sees that somebody leads. 2. He lays down the
        # lead and finds that this one will look soon. 3. It dozes for long, and nobody reads.
        self._looks_at = now + step_s
        poll = select.poll()
        poll.register(self._background_wakeup.fileno(), select.POLLIN)
        if not (self._leading.locked() or self._link_ended):
            poll.register(self._link.fileno(), self._interest())
        if self.outbox:  # who has posted it may have seen that this thread would look soon
            step_s = min(step_s, STEP_S)
        ready = [fd for fd, _ in poll.poll(step_s * 1000)]
        self._looks_at = 0.0
        if self._background_wakeup.fileno() in ready:
            self._background_wakeup.clear()
        return self._link.fileno() in ready

    # ---- the end ----------------------------------------------------------------------------

    def close(self, linger_s: float = LINGER_S) -> None:
        """Send what is left and close. Threads that wait return.

        Args:
            linger_s: what the hub has not taken by then is given up. Blocks for so long at most.
        """
        with self._shield:
            with self._io:
                self._send()
                self.closed = True
            self._leader_wakeup.set()
            self._background_wakeup.set()
            if self._thread.is_alive() and self._thread is not threading.current_thread():
                self._thread.join(timeout=5.0)
            with self._io:
                self._link.close(linger_s)
            self._leader_wakeup = self._background_wakeup = NoWakeup()
            self.drain()

    def forget(self) -> None:
        """After a fork, in the child: the link and its threads are the parent's."""
        self.closed = True
        self._link.close()  # this process's descriptor of it; the parent's stays
        self.lock = threading.Lock()
        self._io = threading.RLock()
        self._leading = threading.Lock()
        self._leader = 0
        self._shield.forget()
        # Waking and clearing would reach the parent's threads.
        self._leader_wakeup = self._background_wakeup = NoWakeup()
        self._call_later_by(Callbacks())
