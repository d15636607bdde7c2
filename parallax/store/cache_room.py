"""Room for kept results: a limit, beyond which the least recently used ones go."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

_BLOCK_BYTES = 4096
_LOOK_AGAIN = 0.05
"""The part of the limit that a process writes before it looks again at what there is. So the limit
may be overdrawn by as much for each process that writes."""
_SWEPT_TO = 0.9
"""The part of the limit that is left after entries had to go, so that not each one sweeps."""
_ABANDONED_S = 3600.0
"""A file that was begun so long ago has lost its writer."""


def space_of(size_bytes: int) -> int:
    """What a file of this size takes on disk."""
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES


class Room:
    """Keeps a tree of entries within its limit. Thread-safe; processes need not agree.

    Args:
        tree: the folder of folders of folders of entries.
    """

    def __init__(self, tree: str, limit_bytes: int) -> None:
        self._tree = tree
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._unseen_bytes: int | None = None
        """Written since this process has looked; None before the first time."""

    def wrote(self, size_bytes: int) -> None:
        """An entry was written. Now and then entries go: costs some 3 µs for each that there is."""
        with self._lock:
            if self._unseen_bytes is not None:
                self._unseen_bytes += size_bytes
                if self._unseen_bytes < _LOOK_AGAIN * self._limit:
                    return
            self._unseen_bytes = 0
        self._sweep()

    def _sweep(self) -> None:
        entries = sorted(self._entries())
        total = sum(space for _, _, space in entries)
        if total <= self._limit:
            return
        for _, path, space in entries:
            if total <= _SWEPT_TO * self._limit:
                return
            with suppress(OSError):  # another process has just removed it
                os.unlink(path)
            with suppress(OSError):  # not empty
                os.rmdir(os.path.dirname(path))
            total -= space

    def _entries(self) -> Iterator[tuple[int, str, int]]:
        """When each was last used, in ns, its path, and the bytes that it takes."""
        begun_before = time.time() - _ABANDONED_S
        for home in _folders(self._tree):
            for folder in _folders(home):
                with suppress(OSError), os.scandir(folder) as files:
                    for file in files:
                        with suppress(OSError):
                            status = file.stat(follow_symlinks=False)
                            if file.name.endswith(".tmp") and status.st_mtime < begun_before:
                                os.unlink(file.path)
                            else:
                                space = space_of(status.st_size)
                                yield status.st_mtime_ns, file.path, space


def _folders(path: str) -> list[str]:
    with suppress(OSError), os.scandir(path) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
