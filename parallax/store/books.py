"""The books of a store: how many bytes are in use, shared by all its processes.

The books only save a scan of the directory at every write. The directory is the truth: a process
killed between an entry and its deed leaves the count too high, never too low (entries come
before what they announce and go after it), and whoever finds the store full counts anew.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

_FORMAT = struct.Struct("<QQQ")


class Books:
    """Three counters in a file that every process maps. Use it under the store's lock only.

    Attributes:
        used_bytes: all segments in memory: objects, being written, warm.
        warm_bytes: those segments that hold no object and wait to be used again.
        spilled: how many objects are on disk.
    """

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < mmap.PAGESIZE:
                # Written, not truncated to size: a hole could raise SIGBUS on a full file system.
                os.pwrite(fd, bytes(mmap.PAGESIZE), 0)
            self._map = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)

    @property
    def used_bytes(self) -> int:
        return self.read()[0]

    @property
    def warm_bytes(self) -> int:
        return self.read()[1]

    @property
    def spilled(self) -> int:
        return self.read()[2]

    def read(self) -> tuple[int, int, int]:
        """(used_bytes, warm_bytes, spilled)."""
        return _FORMAT.unpack_from(self._map)

    def add(self, *, used_bytes: int = 0, warm_bytes: int = 0, spilled: int = 0) -> None:
        """Add to the counters, or subtract; none falls below zero."""
        used, warm, count = self.read()
        self.set(max(0, used + used_bytes), max(0, warm + warm_bytes), max(0, count + spilled))

    def set(self, used_bytes: int, warm_bytes: int, spilled: int) -> None:
        """Replace all counters, after counting anew."""
        _FORMAT.pack_into(self._map, 0, used_bytes, warm_bytes, spilled)

    def close(self) -> None:
        self._map.close()
