"""What the inside of a segment looks like: a head, the pickle stream, the buffers.

    magic (8 bytes) · u64 used bytes · u64 number of parts · (u64 offset, u64 length) of each part
    padding · stream · padding · buffer · padding · buffer …

Every part begins on a 64-byte boundary, a cache line and the widest vector register, so that
views of buffers are as well aligned as memory that NumPy allocates itself. The file may be
longer than what is used, when it was reused for a smaller value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_MAGIC = b"PLXSEG01"
_ALIGNMENT = 64
_PADDING = bytes(_ALIGNMENT)
_HEAD = struct.Struct("<8sQQ")
_PART_BYTES = 16

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Layout:
    """A value laid out: what to write, one behind the other, and how much that is."""

    pieces: list[Bytes]
    size_bytes: int


def lay_out(data: Bytes, buffers: Sequence[Bytes]) -> Layout:
    """Place a pickle stream and its buffers (flat, contiguous). Copies nothing."""
    parts: list[Bytes] = [data, *buffers]
    end = _HEAD.size + _PART_BYTES * len(parts)
    pieces: list[Bytes] = [b""]  # the head, once all offsets are known
    table: list[int] = []
    for part in parts:
        size = len(part) if isinstance(part, bytes) else part.nbytes
        gap = -end % _ALIGNMENT
        table += (end + gap, size)
        pieces += (_PADDING[:gap], part)
        end += gap + size
    pieces[0] = _HEAD.pack(_MAGIC, end, len(parts)) + struct.pack(f"<{len(table)}Q", *table)
    return Layout(pieces, end)


def used_bytes(segment: memoryview) -> int:
    """How much of a segment its value takes, head included."""
    magic, used, _ = _HEAD.unpack_from(segment)
    if magic != _MAGIC or used > segment.nbytes:
        raise ValueError(
            f"not a segment of this store: {segment.nbytes} bytes that begin with {magic!r} "
            f"and claim to hold {used}; was the file changed by another program?"
        )
    return int(used)


def parts_of(segment: memoryview) -> tuple[memoryview, list[memoryview]]:
    """The pickle stream and the buffers, as views of the segment.

    Raises:
        ValueError: `segment` is not a whole segment.
    """
    used_bytes(segment)
    _, _, count = _HEAD.unpack_from(segment)
    table = struct.unpack_from(f"<{2 * count}Q", segment, _HEAD.size)
    data, *buffers = [
        segment[offset : offset + size]
        for offset, size in zip(table[::2], table[1::2], strict=True)
    ]
    return data, buffers
