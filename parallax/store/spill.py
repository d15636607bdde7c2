"""The disk side of a store: objects that memory has no room for.

A spilled object is read by mapping its file. It is not copied back into shared memory: the
kernel's page cache already brings back the parts that are used, shares them between processes
and drops them under pressure, which is all that a copy could do.

Files here are written once and never changed, so their readers need no lock: a view survives
the deletion of its file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from parallax.store.free import Entry, scan
from parallax.store.layout import Bytes
from parallax.store.segment import view_file, write_all

# Not a character of object names. Such files are being written, or their writer died.
_UNFINISHED = "~"
# A disk filled to the brim takes the notebook's own save with it.
_RESERVE_BYTES = 256 << 20
_RESERVE_FRACTION = 0.02


class SpillFolder:
    """Files by object name. Thread-safe; one writer at a time, by the store's spill lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def write(self, pieces: Sequence[Bytes], size_bytes: int) -> str:
        """Write a value to a file that has no name yet; `commit` gives it one.

        Raises:
            OSError: when the disk is full, see `is_full`, or fails; nothing is left behind.
        """
        path = f"{self.folder}/{_UNFINISHED}{os.getpid()}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if size_bytes > self.room_bytes():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.folder)
            write_all(fd, pieces)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        return path

    def commit(self, unfinished: str, name: str) -> None:
        """Give a written file its object's name. Needs the store's lock."""
        os.rename(unfinished, self.path(name))

    def discard(self, unfinished: str) -> None:
        """Delete a file that was written in vain."""
        os.unlink(unfinished)

    def read(self, name: str) -> memoryview | None:
        """The file mapped read-only, or None when there is none."""
        try:
            fd = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return view_file(fd)
        finally:
            os.close(fd)

    def remove(self, name: str) -> bool:
        """Delete an object's file; False when there is none. Needs the store's lock."""
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            return False
        return True

    def scan(self) -> list[Entry]:
        """The files of all spilled objects."""
        return [entry for entry in scan(self.folder) if entry.name[0] != _UNFINISHED]

    def room_bytes(self) -> int:
        """How much may be written before the disk is as full as it may get."""
        disk = os.statvfs(self.folder)
        reserve = min(_RESERVE_BYTES, int(disk.f_blocks * disk.f_frsize * _RESERVE_FRACTION))
        return max(0, disk.f_bavail * disk.f_frsize - reserve)

    def remove_unfinished(self) -> None:
        """Delete what writers left that were killed. Needs the spill lock: nobody writes now."""
        for name in os.listdir(self.folder):
            if name[0] == _UNFINISHED:
                with suppress(FileNotFoundError):
                    os.unlink(f"{self.folder}/{name}")
