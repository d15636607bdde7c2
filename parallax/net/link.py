"""One peer at the other end of a local socket: frames out, frames in, and nobody waits here."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import deque

from parallax.errors import ProtocolError
from parallax.net import zmtp

SCHEME = "ipc://"
SEND_BUFFER_BYTES = 4 << 20
"""Asked of the kernel, which grants what it likes."""
JOIN_BYTES = 64 << 10
"""Up to here a header and its payload are joined: one copy is cheaper than a longer call."""
BACKLOG = 4096
_WASTE_BYTES = 64 << 10
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""A task may have restored SIGPIPE, which would end the process when the peer is gone."""
_NO_MEMORY = (errno.ENOBUFS, errno.ENOMEM)
"""The kernel's, for this moment: the peer is well."""


def listen(endpoint: str) -> socket.socket:
    """A socket that peers can connect to from now on, though nobody accepts them yet."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(endpoint.removeprefix(SCHEME))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


class Link:
    """A ZeroMQ socket with one peer, without ZeroMQ's threads.

    A socket of libzmq hands each message to a thread of its own, which costs three switches
    between threads for every hop. Here the thread that sends makes the system call itself, and the
    one that waits is woken by the kernel. Either end may be a socket of libzmq as well.

    Not thread-safe: whoever uses it from several threads holds a lock.

    Args:
        connected: a connected stream socket; it is the link's from now on.
        kind: what this end is, ``DEALER`` or ``ROUTER``.
        limit_bytes: of a frame.
    """

    def __init__(self, connected: socket.socket, kind: str, limit_bytes: int) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.number = 0
        """Whatever its owner knows this peer by."""
        self.ended = False
        """Whether the peer has closed, and all that it has sent was read."""
        self._socket = connected
        self._inbox = zmtp.Inbox(limit_bytes)
        self._unsent: deque[memoryview] = deque()
        self._deaf = False
        """The peer does not read any more. It may have sent something before."""
        self._is_garbled = False
        """What comes cannot be cut into messages any more, and is thrown away."""
        self._write(zmtp.opening(kind), first=True)

    @classmethod
    def connect(cls, endpoint: str, limit_bytes: int) -> Link:
        """Connect to a ROUTER.

        Raises:
            OSError: nobody listens there.
        """
        connecting = socket.socket(socket.AF_UNIX)
        try:
            connecting.connect(endpoint.removeprefix(SCHEME))
        except BaseException:
            connecting.close()
            raise
        return cls(connecting, "DEALER", limit_bytes)

    def fileno(self) -> int:
        """The descriptor to poll; level-triggered. -1 once it is closed."""
        return self._socket.fileno()

    # ---- out --------------------------------------------------------------------------------

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the peer to read. Poll for writing, and call `flush`."""
        return bool(self._unsent) and self._inbox.is_open

    def send(self, frame: bytes) -> None:
        """Send a message, or keep what the kernel does not take yet."""
        head = zmtp.header(len(frame))
        if len(frame) <= JOIN_BYTES:
            self._write(head + frame)
        else:
            self._write(head)
            self._write(frame)

    def _write(self, data: bytes, *, first: bool = False) -> None:
        if self._deaf:
            return
        if self._unsent or not (first or self._inbox.is_open):
            self._unsent.append(memoryview(data))
            return
        sent = self._try(data)
        if sent < len(data) and not self._deaf:
            self._unsent.append(memoryview(data)[sent:])

    def _try(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data, _NO_SIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in _NO_MEMORY:
                return 0
            # What it has said before can still be read; that is where its end is noticed.
            self._deaf = True
            self._unsent.clear()
            return 0

    def flush(self) -> None:
        """Send what the kernel takes now. Nothing before the peer has introduced itself."""
        while self.has_unsent:
            data = self._unsent[0]
            sent = self._try(data)
            if self._deaf:
                return
            if sent < len(data):
                self._unsent[0] = data[sent:]
                return
            self._unsent.popleft()

    # ---- in ---------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the peer has introduced itself: it can be talked to."""
        return self._inbox.is_open

    def read(self) -> list[memoryview]:
        """The messages that have come, without waiting: those of one system call.

        They are views, good until the next `read`.

        Raises:
            ProtocolError: this is no peer of ours. It can still be sent something; what it sends
                from now on is thrown away, until it closes.
        """
        space = bytearray(_WASTE_BYTES) if self._is_garbled else self._inbox.space()
        try:
            count = self._socket.recv_into(space)
        except BlockingIOError:
            return []
        except ConnectionError:  # it closed with something unread
            count = 0
        if count == 0:
            self.ended = True
            return []
        if self._is_garbled:
            return []
        was_open = self._inbox.is_open
        try:
            frames = self._inbox.received(count)
        except ProtocolError:
            self._is_garbled = True
            raise
        if self._inbox.is_open and not was_open:
            self.flush()
        if self._inbox.pings:
            for ping in self._inbox.pings:
                self._answer(ping)
            self._inbox.pings.clear()
        return frames

    def _answer(self, ping: bytes) -> None:
        """Whatever comes is a sign of life. A pong that had to wait behind other bytes is of no
        use, and those of a peer that asks on and on and reads nothing would fill the memory."""
        if not (self._unsent or self._deaf):
            pong = zmtp.pong(ping)
            sent = self._try(pong)
            if 0 < sent < len(pong):
                self._unsent.append(memoryview(pong)[sent:])

    # ---- the end ----------------------------------------------------------------------------

    def linger(self, linger_s: float) -> None:
        """Wait until the peer has taken what was sent, but for `linger_s` at most."""
        deadline = time.monotonic() + linger_s
        while self.has_unsent and (wait_s := deadline - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self._socket, select.POLLOUT)
            poll.poll(wait_s * 1000)
            self.flush()

    def close(self, linger_s: float = 0.0) -> None:
        """Close. What the peer has not taken within `linger_s` is given up."""
        self.linger(linger_s)
        self._unsent.clear()
        self._deaf = True
        self._socket.close()
