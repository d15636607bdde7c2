"""One engine's status page: which object it computes at this instant.

Eight bytes in a mapped file, and for an actor that runs several calls at once eight more for each
concurrency group: the turn of the latest call that began there. Written by the engine before each
task for the price of a store, and read by the node agent, most often after the death of the engine,
whatever killed it. So a crash is charged to the task that caused it and to no other.
"""

from __future__ import annotations

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
            self.view = mmap.mmap(fd, _PAGE.size)
        finally:
            os.close(fd)
        self.pack = _PAGE.pack_into

    def set(self, object_id: int) -> None:
        """This object is being computed from now on; 0 for none."""
        self.pack(self.view, 0, object_id)

    def take_turns(self, groups: int) -> None:
        """From now on there are turns in so many concurrency groups."""
        self.view.resize((1 + groups) * _PAGE.size)

    def set_turn(self, group: int, turn: int) -> None:
        """This turn has begun. Turns of one group are told in their order."""
        self.pack(self.view, (1 + group) * _PAGE.size, turn)


def last_words(path: Path) -> tuple[int, list[int]]:
    """The node's side: the object and the turns that a dead engine began; removes the page."""
    try:
        data = path.read_bytes()
        path.unlink()
    except FileNotFoundError:
        return 0, []
    running, *turns = (_known(number) for (number,) in _PAGE.iter_unpack(data)) if data else (0,)
    return running, turns


def current_object(path: Path) -> int:
    """What an engine computes now, or did last; 0 for nothing yet, or when there is no page."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    return _known(_PAGE.unpack_from(data)[0]) if data else 0


def _known(number: int) -> int:
    # An engine that wrote over its memory may have written here too.
    return number if number <= MAX_ID else 0
