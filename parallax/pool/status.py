"""One engine's status page: which object it computes at this instant.

Eight bytes in a mapped file, written by the engine before each task for the price of a store,
and read by the node agent, most often after the death of the engine, whatever killed it. So a crash
is charged to the task that caused it and to no other.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path

MAX_ID = 1 << 62
_PAGE = struct.Struct("<Q")


def status_path(folder: Path, engine: int) -> Path:
    """Where the page of this engine is."""
    return folder / f"engine-{engine}.now"


class StatusPage:
    """The engine's side."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(fd, _PAGE.size)
            self._map = mmap.mmap(fd, _PAGE.size)
        finally:
            os.close(fd)
        self.pack = _PAGE.pack_into
        self.view = self._map

    def set(self, object_id: int) -> None:
        """This object is being computed from now on; 0 for none."""
        self.pack(self.view, 0, object_id)


def last_object(path: Path) -> int:
    """The node's side: what a dead engine computed; removes the page."""
    number = current_object(path)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return number


def current_object(path: Path) -> int:
    """What an engine computes now, or did last; 0 for nothing yet, or when there is no page."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    number = int(_PAGE.unpack(data)[0]) if len(data) == _PAGE.size else 0
    # An engine that wrote over its memory may have written here too.
    return number if number <= MAX_ID else 0
