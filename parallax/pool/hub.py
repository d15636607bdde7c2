"""The hub process: a socket around the pure machine.

It reads frames, lets the machine digest them in batches, and sends what it says. It decides
nothing itself but who is let in.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import select
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import zmq

from parallax.core.machine import Event, Machine, PeerJoined, PeerLost, Received, Ticked
from parallax.core.outbox import Action, Drop, Send, Stop
from parallax.errors import AuthenticationError, ParallaxError, ProtocolError
from parallax.messages import FromHub, Hello, Left, Refused, Stopped, ToHub, Welcome
from parallax.net import codec
from parallax.net.connection import Connection, write_connection
from parallax.net.readiness import has_input
from parallax.net.wakeup import Wakeup
from parallax.pool.admission import Complaints, check_hello
from parallax.pool.config import PoolConfig
from parallax.pool.watch import ProcessWatch
from parallax.version import VERSION

log = logging.getLogger("parallax.hub")

BATCH_FRAMES = 100
"""Frames digested together at most: enough to batch, few enough to answer soon."""
MAX_WAIT_S = 1.0
LINGER_MS = 200
"""For the last words to reach those who can still hear them."""
FORMER_PEERS = 1000
"""So many are remembered."""
TRAIL_FRAMES = 12
"""Of the traceback that users get to see of a bug."""


class Hub:
    """The socket, the machine, and the books that map one's peers to the other's."""

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        self.machine = Machine()
        self.stopped = ""
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.linger = LINGER_MS
        self._socket.maxmsgsize = codec.MAX_FRAME_BYTES
        self._socket.bind(config.endpoint)
        self._numbers: dict[bytes, int] = {}
        self._identities: dict[int, bytes] = {}
        self._next = 1
        self._watch = ProcessWatch()
        self._wakeup = Wakeup()
        self._poll = select.poll()
        self._poll.register(self._socket.FD, select.POLLIN)
        self._poll.register(self._wakeup.fileno(), select.POLLIN)
        self._complaints = Complaints()
        self._former: dict[bytes, int] = {}
        """Peers that have left or were dropped. What is still on its way from them goes to the
        machine, which knows what to make of late news."""

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
        try:
            while not self.stopped:
                events = self._collect(self._timeout_s())
                if self.stopped:
                    break
                for action in self.machine.handle(events, time.monotonic()):
                    self._do(action)
        except Exception:
            # A bug. The cluster's state may be wrong from here on, so it ends; the users hear why.
            log.exception("the hub failed")
            trail = traceback.format_exc(limit=-TRAIL_FRAMES).strip()
            self.stop(
                "its hub failed. This is a bug in parallax; please report it with this trail:\n"
                f"{trail}\n"
            )
        for number in list(self._identities):
            self._send(number, [Stopped(self.stopped)])
        log.info("the hub stops: %s", self.stopped)

    def close(self) -> None:
        """Close the socket, having sent what is left."""
        self._socket.close()
        self._context.term()
        self._watch.close()

    # ---- in ---------------------------------------------------------------------------------

    def _timeout_s(self) -> float:
        deadline = self.machine.next_deadline()
        wait_s = MAX_WAIT_S if deadline is None else deadline - time.monotonic()
        return min(max(wait_s, 0.0), self._watch.interval_s, MAX_WAIT_S)

    def _collect(self, timeout_s: float) -> list[Event]:
        events: list[Event] = []
        ready: list[int] = []
        # The socket's descriptor is edge-triggered: what is there already must be read first.
        if not has_input(self._socket):
            ready = [fd for fd, _ in self._poll.poll(math.ceil(timeout_s * 1000))]
        self._read(events)
        for fd in ready:
            if fd in self._watch:
                self._poll.unregister(fd)
        for number in self._watch.ended(ready):
            if number == _OWNER:
                self.stop("its owner is gone")
            else:
                self._forget(number)
                events.append(PeerLost(number))
        return events or [Ticked()]

    def _read(self, events: list[Event]) -> None:
        socket = self._socket
        for _ in range(BATCH_FRAMES):
            if not has_input(socket):
                return
            frames = socket.recv_multipart()
            identity = frames[0]
            try:
                if len(frames) != 2:
                    raise ProtocolError(f"{len(frames) - 1} frames instead of one")
                messages = codec.decode_to_hub(frames[1])
                number = self._numbers.get(identity) or self._former.get(identity)
                if number is None:
                    number = self._welcome(identity, messages, events)
                    del messages[0]
                for message in messages:
                    if type(message) is Hello:
                        raise ProtocolError("it has said hello already")
                    events.append(Received(number, message))
                    if type(message) is Left:
                        self._forget(number)
                        break
            except (AuthenticationError, ProtocolError) as error:
                self._refuse(identity, error, events)

    def _welcome(self, identity: bytes, messages: Sequence[ToHub], events: list[Event]) -> int:
        hello = messages[0] if messages else None
        if not isinstance(hello, Hello):
            raise ProtocolError("the first message of a peer must be its hello")
        check_hello(hello, self.config)
        # Whose end is the end of the pool was decided when it was started.
        hello.owner = hello.owner and hello.pid == self.config.owner_pid
        number = self._next
        self._next += 1
        self._numbers[identity] = number
        self._identities[number] = identity
        if hello.role != "engine" and hello.host == platform.node():
            fd = self._watch.add(number, hello.pid)
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)
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
        return number

    def _watch_owner(self, pid: int) -> None:
        fd = self._watch.add(_OWNER, pid)
        if fd >= 0:
            self._poll.register(fd, select.POLLIN)

    def _refuse(self, identity: bytes, error: ParallaxError, events: list[Event]) -> None:
        """Drop a peer that broke the rules, once: what else it has sent is not looked at."""
        if identity in self._former:
            return
        if self._complaints.is_worth_a_line():
            log.warning("peer %s is dropped: %s", identity.hex(), error)
        kind = "authentication" if isinstance(error, AuthenticationError) else "protocol"
        self._socket.send_multipart([identity, codec.encode([Refused(kind, str(error))])])
        number = self._numbers.get(identity)
        if number is None:
            self._part_with(identity, _NOBODY)
        else:
            self._forget(number)
            events.append(PeerLost(number))

    # ---- out --------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        if type(action) is Send:
            self._send(action.peer, action.messages)
        elif type(action) is Drop:
            self._send(action.peer, [Stopped(action.reason)])
            self._forget(action.peer)
        elif type(action) is Stop:
            self.stop(action.reason)

    def _send(self, number: int, messages: list[FromHub]) -> None:
        identity = self._identities.get(number)
        if identity is not None:
            for frame in codec.frames_of(messages):
                self._socket.send(identity, zmq.SNDMORE)
                self._socket.send(frame)

    def _forget(self, number: int) -> None:
        identity = self._identities.pop(number, None)
        if identity is not None:
            self._numbers.pop(identity, None)
            self._part_with(identity, number)
        fd = self._watch.fd(number)
        if fd >= 0:
            with contextlib.suppress(KeyError):  # it has ended, and is polled no more
                self._poll.unregister(fd)
            self._watch.discard(number)

    def _part_with(self, identity: bytes, number: int) -> None:
        self._former[identity] = number
        if len(self._former) > FORMER_PEERS:
            del self._former[next(iter(self._former))]


_OWNER = 0
_NOBODY = -1
