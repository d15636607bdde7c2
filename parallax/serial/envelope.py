"""One byte string that holds a pickle stream and its out-of-band buffers.

A small value travels as one frame. Its buffers lie behind the stream, aligned, instead of inside
it, so that small arrays come back exactly as large ones do: as read-only views, without a copy.

    u32 tag · u32 number of buffers · u64 stream length · u64 length of each buffer
    stream · padding · buffer · padding · buffer …

The tag's first byte is not 0x80, with which every pickle stream of protocol 2 and later begins:
one look tells an envelope from a bare stream.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

# Bytes objects keep their payload 16-byte aligned; a larger alignment cannot be promised.
_ALIGNMENT = 16
_PADDING = bytes(_ALIGNMENT)
_TAG = 0x31585001
_HEAD = struct.Struct("<IIQ")
_PICKLE_MARK = b"\x80"


def seal(stream: bytes, buffers: Sequence[memoryview]) -> bytes:
    """Join a pickle stream and its buffers (flat, contiguous). Copies everything once."""
    sizes = [buffer.nbytes for buffer in buffers]
    head = _HEAD.pack(_TAG, len(sizes), len(stream)) + struct.pack(f"<{len(sizes)}Q", *sizes)
    parts: list[bytes | memoryview] = [head, stream]
    end = len(head) + len(stream)
    for buffer, size in zip(buffers, sizes, strict=True):
        gap = -end % _ALIGNMENT
        parts.append(_PADDING[:gap])
        parts.append(buffer)
        end += gap + size
    return b"".join(parts)


def is_sealed(data: bytes | memoryview) -> bool:
    """Whether `data` is an envelope rather than a bare pickle stream."""
    return data[:1] != _PICKLE_MARK


def open_sealed(data: bytes | memoryview) -> tuple[memoryview, list[memoryview]]:
    """The stream and the buffers of an envelope, as read-only views of `data`.

    Raises:
        ValueError: `data` is not a whole envelope.
    """
    # A view into a larger message starts anywhere: a copy brings the alignment back.
    view = memoryview(data if isinstance(data, bytes) else bytes(data))
    if view.nbytes < _HEAD.size:
        raise ValueError(f"a value of {view.nbytes} bytes is cut short")
    tag, count, stream_bytes = _HEAD.unpack_from(view)
    start = _HEAD.size + 8 * count
    if tag != _TAG or start > view.nbytes:
        raise ValueError(f"not a packed value: it begins with {bytes(view[:4])!r}")
    sizes = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    end = start + stream_bytes
    stream = view[start:end]
    buffers = []
    for size in sizes:
        end += -end % _ALIGNMENT
        buffers.append(view[end : end + size])
        end += size
    if end != view.nbytes:
        raise ValueError(f"a packed value of {end} bytes came with {view.nbytes}")
    return stream, buffers
