"""Messages to bytes and back. Total: any bytes decode to messages or raise `ProtocolError`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from parallax.errors import ProtocolError
from parallax.messages import (
    FromHub,
    Message,
    ObjectsReady,
    TasksAssigned,
    TasksFinished,
    TasksSubmitted,
    ToHub,
)

MAX_FRAME_BYTES = 1 << 30
"""A larger frame is refused by the link before it is read: no peer of ours sends one."""

SPLIT_BYTES = 64 << 20
"""A batch that is larger travels in several frames, as far as it can be divided."""

_encoder = msgspec.msgpack.Encoder()
_to_hub = msgspec.msgpack.Decoder(list[ToHub])
_from_hub = msgspec.msgpack.Decoder(list[FromHub])


def encode(messages: Sequence[Message]) -> bytes:
    """Encode a batch as one frame. Text that is no valid Unicode loses what cannot be said."""
    try:
        return _encoder.encode(messages)
    except (UnicodeEncodeError, OverflowError):
        return _encoder.encode(_sayable(messages))


def _sayable(value: Any) -> Any:
    """The same with lone surrogates replaced, and integers cut to 64 bits.

    Names of files are full of the former, and so are messages of errors about them.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return max(-(1 << 63), min(value, (1 << 63) - 1)) if not isinstance(value, bool) else value
    if isinstance(value, list | tuple):
        return [_sayable(item) for item in value]
    if isinstance(value, dict):
        return {_sayable(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        fields = {name: _sayable(getattr(value, name)) for name in value.__struct_fields__}
        return type(value)(**fields)
    return value


_ROWS: dict[type, str] = {
    ObjectsReady: "items",
    TasksAssigned: "tasks",
    TasksFinished: "done",
    TasksSubmitted: "tasks",
}
"""Messages with many rows that may be large, and where they are."""


def frames_of(messages: Sequence[Message]) -> list[bytes]:
    """Encode a batch as frames that are not too large for the peer's socket.

    Raises:
        ProtocolError: a single row of it is too large.
    """
    frame = encode(messages)
    if len(frame) <= SPLIT_BYTES:
        return [frame]
    halves = _halves(messages)
    if halves is not None:
        return frames_of(halves[0]) + frames_of(halves[1])
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"a {type(messages[0]).__name__} of {len(frame):,} bytes is too large to be sent; "
            f"the limit is {MAX_FRAME_BYTES:,}"
        )
    return [frame]


def _halves(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]] | None:
    middle = len(messages) // 2
    if middle:
        return messages[:middle], messages[middle:]
    message = messages[0]
    name = _ROWS.get(type(message))
    rows = getattr(message, name) if name is not None else []
    middle = len(rows) // 2
    if name is None or not middle:
        return None
    return (
        [msgspec.structs.replace(message, **{name: rows[:middle]})],
        [msgspec.structs.replace(message, **{name: rows[middle:]})],
    )


def decode_to_hub(frame: bytes | memoryview) -> list[ToHub]:
    """Decode what a client, an engine or a node sent.

    Raises:
        ProtocolError: the bytes are no batch of messages that a hub may receive.
    """
    try:
        return _to_hub.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a message to the hub ({len(frame)} bytes): {error}") from error


def decode_from_hub(frame: bytes | memoryview) -> list[FromHub]:
    """Decode what the hub sent.

    Raises:
        ProtocolError: the bytes are no batch of messages that a hub may send.
    """
    try:
        return _from_hub.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a message of the hub ({len(frame)} bytes): {error}") from error
