"""One file of the cache: the values of one call, with a checksum over all of it.

    magic (8 bytes) · xxh3 of all that follows (16) · key (32) · padding (8) · layout

The layout is that of a segment: its stream is a table with the number of buffers of each value, its
buffers are the values' streams and buffers, each on a 64-byte boundary.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence

import xxhash

from parallax.serial.values import Packed
from parallax.store.layout import Bytes, lay_out, parts_of, used_bytes

KEY_BYTES = 32
_MAGIC = b"PLXCACH1"
_HEAD = struct.Struct("<8s16s32s8x")
_SUMMED_FROM = 24
# Smaller files are read into a bytes object; pages of larger ones are had all at once.
_MAPPED_FROM_BYTES = 1 << 20


class BrokenEntryError(Exception):
    """A file is not what was once written; says in what way."""


def pieces_of(key: bytes, values: Sequence[Packed]) -> list[Bytes]:
    """What to write, one behind the other. Costs a pass over the values; copies nothing."""
    table = struct.pack(f"<{len(values)}I", *[len(value.buffers) for value in values])
    parts: list[Bytes] = []
    for value in values:
        parts += (value.data, *value.buffers)
    layout = lay_out(table, parts)
    total = xxhash.xxh3_128(key + bytes(8))
    for piece in layout.pieces:
        total.update(piece)
    return [_HEAD.pack(_MAGIC, total.digest(), key), *layout.pieces]


def values_of(file: Bytes, key: bytes) -> list[Packed]:
    """The values in a file. Their buffers are views of it; costs a pass over it.

    Raises:
        BrokenEntryError: it was damaged, cut short, or is another entry's.
    """
    view = memoryview(file).toreadonly()
    if view.nbytes < _HEAD.size:
        raise BrokenEntryError(f"{view.nbytes} bytes are too few")
    magic, total, written_key = _HEAD.unpack_from(view)
    if magic != _MAGIC or written_key != key:
        raise BrokenEntryError("it is another kind of file, or another call's")
    if xxhash.xxh3_128(view[_SUMMED_FROM:]).digest() != total:
        raise BrokenEntryError("its checksum is wrong")
    body = view[_HEAD.size :]
    if used_bytes(body) != body.nbytes:
        raise BrokenEntryError("its length is wrong")
    table, parts = parts_of(body)
    rest = iter(parts)
    return [
        Packed(bytes(next(rest)), [next(rest) for _ in range(count)])
        for count in struct.unpack(f"<{table.nbytes // 4}I", table)
    ]


def read_whole(fd: int) -> Bytes:
    """The whole file in memory of this process's own.

    It is not mapped: a reader must not see it change, and not be killed by `SIGBUS` when somebody
    cuts it short or its disk fails.
    """
    size = os.fstat(fd).st_size
    if size < _MAPPED_FROM_BYTES:
        return os.pread(fd, size, 0)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)
    memory = memoryview(mmap.mmap(-1, size, flags=flags))
    done = 0
    while done < size:
        count = os.preadv(fd, [memory[done:]], done)
        if not count:  # cut short since
            break
        done += count
    return memory[:done]
