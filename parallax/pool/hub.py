"""The hub process: a socket around the pure machine.

It reads frames, lets the machine digest them in batches, and sends what it says. It decides
nothing itself but who is let in.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from parallax.core.journal import JournalAttached
from parallax.core.machine import Event, Machine, PeerJoined, PeerLost, Received, Ticked
from parallax.core.outbox import Action, Drop, Journal, Send, Stop
from parallax.errors import AuthenticationError, ParallaxError, ProtocolError
from parallax.messages import FromHub, Hello, Left, Refused, Stopped, ToHub, Welcome
from parallax.net import codec
from parallax.net.connection import Connection, write_connection
from parallax.net.link import Link
from parallax.net.router import Router
from parallax.net.wakeup import Wakeup
from parallax.pool.admission import Complaints, check_hello
from parallax.pool.config import PoolConfig
from parallax.pool.paths import JOURNAL_FILE
from parallax.pool.resources import usable_cpus
from parallax.pool.scribe import Scribe
from parallax.pool.watch import ProcessWatch
from parallax.version import VERSION

log = logging.getLogger("parallax.hub")

MAX_WAIT_S = 1.0
AWAKE_S = 0.00015
"""After each batch the hub stays awake for so long when there is a core to spare: whoever waits
for the result of one small task sends the next one as soon as it has it."""
LINGER_S = 0.2
"""For the last words to reach those who can still hear them."""
RECOVERY_S = 10.0
"""For the journal to be read before the pool can be joined; a disk that hangs must not stop it."""
TRAIL_FRAMES = 12
"""Of the traceback that users get to see of a bug."""


class Hub:
    """The socket, the machine, and the books that map one's peers to the other's.

    Args:
        listening: where peers connect; the hub's from now on.
    """

    def __init__(self, config: PoolConfig, listening: socket.socket) -> None:
        self.config = config
        self.machine = Machine()
        self.stopped = ""
        self._router = Router(listening, codec.MAX_FRAME_BYTES)
        self._links: dict[int, Link] = {}
        """The members by number."""
        self._next = 1
        self._watch = ProcessWatch()
        self._wakeup = Wakeup()
        self._router.watch(self._wakeup.fileno())
        self._complaints = Complaints()
        self._cores = usable_cpus()
        self._scribe = Scribe(config, self._wakeup.set, log.warning)
        self._orders: list[Journal] = []
        """What one batch of events has led to: one transaction."""

    def attach_journal(self) -> None:
        """What outlived an earlier hub is there again before anybody is let in."""
        if not self.config.name:
            return
        used = Path(self.config.journal, JOURNAL_FILE).exists()
        self._digest([JournalAttached(used, time.time(), self.config.cluster)])
        if used:
            if not self._scribe.wait(RECOVERY_S):
                log.warning("the journal is not read after %g s; it comes later", RECOVERY_S)
            self._digest(self._scribe.take())

    def announce(self) -> None:
        """Write the connection files: from now on the pool can be found."""
        connection = Connection(
            cluster=self.config.cluster,
            endpoint=self.config.endpoint,
            token=self.config.token,
            pid=os.getpid(),
            host=platform.node(),
            version=VERSION,
            name=self.config.name,
            started_at=time.time(),
            directory=self.config.folder,
        )
        if self.config.connection:
            write_connection(Path(self.config.connection), connection)
        # Last: those who start a pool wait for this one, and then read either.
        write_connection(Path(self.config.folder) / "connection.json", connection)

    def stop(self, reason: str) -> None:
        """Have `run` return. May be called from a signal handler."""
        self.stopped = self.stopped or reason
        self._wakeup.set()

    def run(self) -> None:
        """Serve until stopped."""
        if self.config.owner_pid:
            self._watch_owner(self.config.owner_pid)
        is_brisk = False
        try:
            while not self.stopped:
                events = self._collect(self._timeout_s(), AWAKE_S if is_brisk else 0.0)
                if self.stopped:
                    break
                self._digest(events)
                is_brisk = type(events[0]) is Received and self._has_spare_core()
        except Exception:
            # A bug. The cluster's state may be wrong from here on, so it ends; the users hear why.
            log.exception("the hub failed")
            trail = traceback.format_exc(limit=-TRAIL_FRAMES).strip()
            self.stop(
                "its hub failed. This is a bug in parallax; please report it with this trail:\n"
                f"{trail}\n"
            )
        for number in list(self._links):
            self._send(number, [Stopped(self.stopped)])
        log.info("the hub stops: %s", self.stopped)

    def close(self) -> None:
        """Close the socket, having sent what is left."""
        self._scribe.close()
        self._router.close(LINGER_S)
        self._watch.close()

    def _digest(self, events: Sequence[Event]) -> None:
        for action in self.machine.handle(events, time.monotonic()):
            self._do(action)
        if self._orders:
            self._scribe.order(self._orders)
            self._orders = []

    # ---- in ---------------------------------------------------------------------------------

    def _has_spare_core(self) -> bool:
        """Whether those that compute now, engines or a driver, leave a core to the hub."""
        fleet = self.machine.fleet
        return max(1, len(fleet.engines) - fleet.idle) < self._cores

    def _timeout_s(self) -> float:
        deadline = self.machine.next_deadline()
        wait_s = MAX_WAIT_S if deadline is None else deadline - time.monotonic()
        return min(max(wait_s, 0.0), self._watch.interval_s, MAX_WAIT_S)

    def _collect(self, timeout_s: float, awake_s: float) -> list[Event]:
        events: list[Event] = []
        links, ready = self._router.wait(timeout_s, awake_s)
        # Before anything is read: one that leaves gives its descriptor back, and one that comes
        # may be given it.
        ended = list(self._watch.ended(ready))
        for fd in ready:
            if fd in self._watch:
                self._router.unwatch(fd)
            elif fd == self._wakeup.fileno():
                self._wakeup.clear()
                events += self._scribe.take()
        for link in links:
            self._read(link, events)
        for number in ended:
            if number == _OWNER:
                self.stop("its owner is gone")
            else:
                self._lose(number, events)
        return events or [Ticked()]

    def _read(self, link: Link, events: list[Event]) -> None:
        try:
            frames = link.read()
        except ProtocolError as error:
            self._refuse(link, error, events)
            if not link.is_open:  # it is not even ZeroMQ
                self._router.drop(link)
            return
        if link.ended:
            self._end(link, events)
            return
        for frame in frames:
            if link.number == _NOBODY:
                return
            try:
                messages = codec.decode_to_hub(frame)
                if not link.number:
                    self._welcome(link, messages, events)
                    del messages[0]
                for message in messages:
                    if type(message) is Hello:
                        raise ProtocolError("it has said hello already")
                    events.append(Received(link.number, message))
                    if type(message) is Left:
                        self._forget(link.number)
                        break
            except (AuthenticationError, ProtocolError) as error:
                self._refuse(link, error, events)

    def _welcome(self, link: Link, messages: Sequence[ToHub], events: list[Event]) -> None:
        hello = messages[0] if messages else None
        if not isinstance(hello, Hello):
            raise ProtocolError("the first message of a peer must be its hello")
        check_hello(hello, self.config)
        # Whose end is the end of the pool was decided when it was started.
        hello.owner = hello.owner and hello.pid == self.config.owner_pid
        number = self._next
        self._next += 1
        link.number = number
        self._links[number] = link
        if hello.role != "engine" and hello.host == platform.node():
            fd = self._watch.add(number, hello.pid)
            if fd >= 0:
                self._router.watch(fd)
        events.append(PeerJoined(number, hello))
        config = self.config
        self._send(
            number,
            [
                Welcome(
                    number,
                    config.cluster,
                    0,
                    config.store,
                    config.spill,
                    config.store_limit_bytes,
                    config.resources,
                )
            ],
        )

    def _watch_owner(self, pid: int) -> None:
        fd = self._watch.add(_OWNER, pid)
        if fd >= 0:
            self._router.watch(fd)

    def _refuse(self, link: Link, error: ParallaxError, events: list[Event]) -> None:
        """Drop a peer that broke the rules, once: what else it sends is not looked at."""
        self._complain(link, error)
        kind = "authentication" if isinstance(error, AuthenticationError) else "protocol"
        self._router.send(link, codec.encode([Refused(kind, str(error))]))
        self._lose(link.number, events)
        link.number = _NOBODY

    def _complain(self, link: Link, error: ParallaxError) -> None:
        if link.number != _NOBODY and self._complaints.is_worth_a_line():
            log.warning("peer %d is dropped: %s", link.number, error)

    def _end(self, link: Link, events: list[Event]) -> None:
        """The peer has closed its end, or will be heard no more."""
        if self._links.get(link.number) is link:
            self._lose(link.number, events)
        self._router.drop(link)

    def _lose(self, number: int, events: list[Event]) -> None:
        if number in self._links:
            self._forget(number)
            events.append(PeerLost(number))

    # ---- out --------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        if type(action) is Send:
            self._send(action.peer, action.messages)
        elif type(action) is Drop:
            self._send(action.peer, [Stopped(action.reason)])
            self._forget(action.peer)
        elif type(action) is Journal:
            self._orders.append(action)
        elif type(action) is Stop:
            self.stop(action.reason)

    def _send(self, number: int, messages: list[FromHub]) -> None:
        link = self._links.get(number)
        if link is not None:
            for frame in codec.frames_of(messages):
                self._router.send(link, frame)

    def _forget(self, number: int) -> None:
        """It is a member no more. Its link stays until it closes: the machine knows what to make
        of news that come late."""
        self._links.pop(number, None)
        fd = self._watch.fd(number)
        if fd >= 0:
            self._router.unwatch(fd)
            self._watch.discard(number)


_OWNER = 0
_NOBODY = -1
