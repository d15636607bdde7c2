"""Messages to bytes and back. Total: any bytes decode to messages or raise `ProtocolError`."""

from __future__ import annotations

import msgspec

from parallax.errors import ProtocolError
from parallax.messages import FromHub, ToHub

MAX_FRAME_BYTES = 1 << 30
"""A larger frame is refused by the socket before it is read: no peer of ours sends one."""

_encoder = msgspec.msgpack.Encoder()
_to_hub = msgspec.msgpack.Decoder(list[ToHub])
_from_hub = msgspec.msgpack.Decoder(list[FromHub])

encode = _encoder.encode
"""Encode a list of messages as one frame."""


def decode_to_hub(frame: bytes) -> list[ToHub]:
    """Decode what a client, an engine or a node sent.

    Raises:
        ProtocolError: the bytes are no batch of messages that a hub may receive.
    """
    try:
        return _to_hub.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a message to the hub ({len(frame)} bytes): {error}") from error


def decode_from_hub(frame: bytes) -> list[FromHub]:
    """Decode what the hub sent.

    Raises:
        ProtocolError: the bytes are no batch of messages that a hub may send.
    """
    try:
        return _from_hub.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a message of the hub ({len(frame)} bytes): {error}") from error
