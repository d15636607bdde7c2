"""The folder of free segments: files that hold no object and are there to be used again.

Fresh memory has to be found and cleared by the kernel, page by page; a segment that was used
before has its pages already, and one that this process still maps is written at the speed of
memcpy. So freed segments are kept for a while, up to a limit, and whoever writes next takes one
that fits. A free segment may still be viewed by readers: it can be taken once its exclusive lock
can be had.

File names: ``<size>-<inode>`` for a segment that was an object, ``0-<unique>`` for one that is
being written for the first time (or was, when its writer died: good for deletion only).
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from parallax.store.books import Books
from parallax.store.segment import MAPPED_FROM_BYTES, Segment, is_full

# A value may leave a fifth of its segment unused, no more.
MOST_WASTE = 1.25
_MOST_TRIES = 8
_MOST_MAPPED = 16
_MOST_SMALL = 64


_Hint = tuple[int, str]  # size in bytes, file name


class FreeSegments:
    """One process's view of the folder. Every method runs under the store's lock.

    What this process knows of the folder is a list of hints that may be out of date: another
    process may have taken a segment. The folder decides.
    """

    def __init__(self, folder: Path, books: Books, warm_limit_bytes: int) -> None:
        self._folder = str(folder)
        self._books = books
        self._warm_limit_bytes = warm_limit_bytes
        self._hints: list[_Hint] = []  # sorted by size
        self._mapped: OrderedDict[str, Segment] = OrderedDict()  # by path, oldest first
        self._numbers = itertools.count()

    def create(self, size_bytes: int) -> Segment | None:
        """A new segment, booked, still without memory; None when not even a file can be made."""
        self._books.add(used_bytes=size_bytes)
        path = f"{self._folder}/0-{os.getpid()}.{next(self._numbers)}"
        try:
            return Segment.create(path, size_bytes)
        except OSError as error:
            self._books.add(used_bytes=-size_bytes)
            if not is_full(error):
                raise
            return None

    def take_fit(self, size_bytes: int) -> Segment | None:
        """A segment for a value of this size, or None."""
        segment = self._take_hinted(size_bytes)
        # Looking through the folder takes as long as fresh memory for something small.
        if segment is None and size_bytes >= MAPPED_FROM_BYTES:
            self._look_again()
            segment = self._take_hinted(size_bytes)
        return segment

    def add(self, path: str) -> list[Segment]:
        """Move a file into the folder.

        Returns:
            The segments that are now too many; the caller destroys them.
        """
        stat = os.stat(path)
        hint = stat.st_size, f"{stat.st_size}-{stat.st_ino}"
        os.rename(path, f"{self._folder}/{hint[1]}")
        self._books.add(warm_bytes=stat.st_size)
        bisect.insort(self._hints, hint)
        excess = self._books.warm_bytes - self._warm_limit_bytes
        if stat.st_size >= MAPPED_FROM_BYTES:
            return self.take_oldest(excess) if excess > 0 else []
        if excess > 0 or self._count_small() > _MOST_SMALL:
            segment = self._take(hint)
            return [] if segment is None else [segment]
        return []

    def add_taken(self, segment: Segment, path: str) -> None:
        """Move a file into the folder that `segment` holds locked and keeps."""
        name = f"{segment.size_bytes}-{os.stat(path).st_ino}"
        segment.path = f"{self._folder}/{name}"
        os.rename(path, segment.path)

    def keep_mapped(self, segment: Segment) -> None:
        """Remember the mapping of a segment that now is an object, for when it comes back."""
        self._mapped[segment.path] = segment
        if len(self._mapped) > _MOST_MAPPED:
            self._mapped.popitem(last=False)[1].close()

    def take_oldest(self, total_bytes: int, *, idle_since: float | None = None) -> list[Segment]:
        """Free segments, the longest unused first, until they make up `total_bytes`.

        Args:
            total_bytes: enough is enough.
            idle_since: leave what came into the folder after this time, in seconds since the
                epoch.
        """
        taken = []
        for entry in sorted(self.scan(), key=lambda entry: entry.changed_at):
            if total_bytes <= 0 or (idle_since is not None and entry.changed_at > idle_since):
                break
            segment = self._take((entry.size_bytes, entry.name))
            if segment is not None:
                taken.append(segment)
                total_bytes -= segment.size_bytes
        return taken

    def scan(self) -> list[Entry]:
        """All files of the folder, those in use too."""
        return scan(self._folder)

    def drop_deleted(self) -> None:
        """Unmap segments that another process has deleted."""
        for path, segment in list(self._mapped.items()):
            if segment.is_deleted:
                self._mapped.pop(path).close()

    def close(self) -> None:
        """Forget all hints and mappings; the files stay."""
        self._hints.clear()
        while self._mapped:
            self._mapped.popitem()[1].close()

    def _take_hinted(self, size_bytes: int) -> Segment | None:
        for _ in range(_MOST_TRIES):
            at = bisect.bisect_left(self._hints, (size_bytes, ""))
            if at == len(self._hints) or self._hints[at][0] > size_bytes * MOST_WASTE:
                return None
            segment = self._take(self._hints[at])
            if segment is None:
                continue
            if segment.size_bytes >= size_bytes:
                return segment
            segment.destroy()  # its last owner was killed while it did the same
        return None

    def _take(self, hint: _Hint) -> Segment | None:
        """Lock the segment; None when it is gone or in use. The hint has served either way."""
        at = bisect.bisect_left(self._hints, hint)
        if at < len(self._hints) and self._hints[at] == hint:
            del self._hints[at]
        path = f"{self._folder}/{hint[1]}"
        segment = self._mapped.pop(path, None)
        if segment is None:
            segment = Segment.open(path)
        elif not segment.seize_again():
            self._mapped[path] = segment
            return None
        if segment is None:
            return None
        named_size = int(hint[1].partition("-")[0])
        self._books.add(warm_bytes=-named_size)
        return segment

    def _look_again(self) -> None:
        names = os.listdir(self._folder)
        self._hints = sorted((int(name.partition("-")[0]), name) for name in names)

    def _count_small(self) -> int:
        return bisect.bisect_left(self._hints, (MAPPED_FROM_BYTES, ""))


class Entry(NamedTuple):
    """A file of the store."""

    name: str
    size_bytes: int
    changed_at: float  # seconds since the epoch; a rename and a read count as changes


def scan(folder: str) -> list[Entry]:
    """The files of a folder; one that vanishes meanwhile is left out."""
    entries = []
    with os.scandir(folder) as found:
        for file in found:
            with suppress(FileNotFoundError):
                stat = file.stat()
                entries.append(Entry(file.name, stat.st_size, stat.st_ctime))
    return entries
