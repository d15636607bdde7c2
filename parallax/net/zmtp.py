"""ZeroMQ's wire protocol, ZMTP 3.1, as far as one-frame messages between local peers need it.

No socket in here: bytes in, frames out (rfc.zeromq.org/spec/37). Each side sends a *greeting* of
64 bytes and a READY command that says what kind of socket it is; then come frames, each a byte of
flags, its size in one byte or eight, and its payload:

    0x00 size:1 payload        a message
    0x02 size:8 payload        a long one
    0x04 size:1 command        READY, PING, PONG, ERROR
    0x01, 0x03                 a part of a message, which none of our peers sends

Greeting and READY may be sent at once. Messages only once the peer's READY has come.
"""

from __future__ import annotations

from parallax.errors import ProtocolError

GREETING_BYTES = 64
_SIGNATURE = b"\xff\0\0\0\0\0\0\0\0\x7f"
GREETING = (_SIGNATURE + b"\3\1" + b"NULL".ljust(20, b"\0")).ljust(GREETING_BYTES, b"\0")

OLD = (b"\0", b"\1", b"\2")
"""Versions before the third, whose frames look otherwise."""

_MORE, _LONG, _COMMAND = 1, 2, 4
_LONGEST_COMMAND = 1024
_LONGEST_CONTEXT = 16
"""Of a PING, which its PONG repeats."""
BUFFER_BYTES = 128 << 10


def header(size_bytes: int) -> bytes:
    """What precedes the payload of a message."""
    if size_bytes < 256:
        return bytes((0, size_bytes))
    return b"\2" + size_bytes.to_bytes(8, "big")


def opening(kind: str) -> bytes:
    """What a socket of this kind (``DEALER``, ``ROUTER``) says first: greeting and READY."""
    body = b"\5READY" + _property(b"Socket-Type", kind.encode()) + _property(b"Identity", b"")
    return GREETING + bytes((_COMMAND, len(body))) + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value


def pong(ping: bytes) -> bytes:
    """The answer to a PING command, as it goes over the wire."""
    begin = len(b"\4PING") + 2  # a time to live, which is of no use here
    body = b"\4PONG" + ping[begin : begin + _LONGEST_CONTEXT]
    return bytes((_COMMAND, len(body))) + body


class Inbox:
    """Cuts the bytes of one peer into frames.

    The caller reads into `space()` and says how much came; so a byte is copied once, from the
    kernel to where it is decoded.

    Args:
        limit_bytes: a frame that says to be larger is refused before it is read.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.pings: list[bytes] = []
        """Commands to be answered by `pong`; whoever answers clears it."""
        self.is_open = False
        """Whether the peer has introduced itself."""
        self._greeted = False
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._at = 0
        """What lies in the buffer from here to `_end` is not cut yet."""
        self._end = 0
        self._large: memoryview | None = None
        """A frame that is larger than the buffer, while it comes in."""
        self._filled = 0

    def space(self) -> memoryview:
        """Where the next bytes are to be written. Frames that were returned are void from now."""
        if self._large is not None:
            return self._large[self._filled :]
        rest = self._end - self._at
        if rest and self._at:
            self._buffer[:rest] = bytes(self._buffer[self._at : self._end])
        self._at, self._end = 0, rest
        return self._buffer[rest:]

    def received(self, count: int) -> list[memoryview]:
        """`count` bytes were written to `space()`.

        Returns:
            The messages that are complete. They are views, good until the next `space()`.

        Raises:
            ProtocolError: this is no peer of ours. Nothing more can be read of it.
        """
        if self._large is not None:
            self._filled += count
            if self._filled < len(self._large):
                return []
            frame, self._large = self._large, None
            return [frame]
        self._end += count
        if not self._greeted and not self._greet():
            return []
        return self._cut()

    def _greet(self) -> bool:
        """Whether the greeting has come. It is refused at the first byte that is wrong."""
        begin = bytes(self._buffer[: min(self._end, GREETING_BYTES)])
        if begin[:1] != b"\xff" or begin[9:10] not in (b"", b"\x7f") or begin[10:11] in OLD:
            raise ProtocolError("it does not speak ZeroMQ's protocol, version 3")
        if len(begin) < GREETING_BYTES:
            return False
        mechanism = begin[12:32].rstrip(b"\0")
        if mechanism != b"NULL":
            raise ProtocolError(f"it wants the security mechanism {mechanism!r}, this socket NULL")
        self._greeted = True
        self._at = GREETING_BYTES
        return True

    def _cut(self) -> list[memoryview]:
        frames: list[memoryview] = []
        buffer, at, end = self._buffer, self._at, self._end
        while end - at >= 2:
            flags = buffer[at]
            if flags == 0:
                begin, size = at + 2, buffer[at + 1]
            elif flags == _LONG:
                if end - at < 9:
                    break
                begin, size = at + 9, int.from_bytes(buffer[at + 1 : at + 9], "big")
                if size > self.limit_bytes:
                    raise ProtocolError(
                        f"a frame of {size:,} bytes; the limit is {self.limit_bytes:,}"
                    )
            else:
                after = self._command(at, end)
                if after == at:
                    break
                at = after
                continue
            if not self.is_open:
                raise ProtocolError("a message before it said what kind of socket it is")
            if begin + size > end:
                if begin - at + size > BUFFER_BYTES:
                    self._large = _room_for(size)
                    self._filled = end - begin
                    self._large[: self._filled] = buffer[begin:end]
                    at = end
                break
            at = begin + size
            frames.append(buffer[begin:at])
        self._at = at
        return frames

    def _command(self, at: int, end: int) -> int:
        """Obey the command at `at`; returns where it ends, `at` while it is incomplete."""
        flags = self._buffer[at]
        if flags == _MORE or flags == _MORE | _LONG:
            raise ProtocolError("a message of several frames; one frame a message is spoken here")
        if flags == _COMMAND:
            begin, size = at + 2, self._buffer[at + 1]
        elif flags == _COMMAND | _LONG:
            if end - at < 9:
                return at
            begin, size = at + 9, int.from_bytes(self._buffer[at + 1 : at + 9], "big")
        else:
            raise ProtocolError(f"a frame with the flags {flags:#04x}")
        if size > _LONGEST_COMMAND:
            raise ProtocolError(f"a command of {size:,} bytes")
        if begin + size > end:
            return at
        body = bytes(self._buffer[begin : begin + size])
        name = body[1 : 1 + body[0]] if body else b""
        if name == b"READY":
            self.is_open = True
        elif name == b"ERROR":
            raise ProtocolError(f"it says {body[7:].decode(errors='replace')!r}")
        elif not self.is_open:
            raise ProtocolError(f"a command {name!r} before it said what kind of socket it is")
        elif name == b"PING":
            self.pings.append(body)
        elif name != b"PONG":
            raise ProtocolError(f"a command {name!r}, which is not spoken here")
        return begin + size


def _room_for(size_bytes: int) -> memoryview:
    try:
        return memoryview(bytearray(size_bytes))
    except MemoryError:
        raise ProtocolError(f"a frame of {size_bytes:,} bytes; there is no memory for it") from None
