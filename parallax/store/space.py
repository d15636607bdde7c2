"""The room that objects take: which segment a value gets, and what gives way to it.

The theory of operation is in `parallax.store.shared`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from parallax.errors import ObjectStoreFullError
from parallax.store import flock
from parallax.store.books import Books
from parallax.store.free import MOST_WASTE, Entry, FreeSegments, scan
from parallax.store.janitor import SPILL_LINK
from parallax.store.layout import Layout, used_bytes
from parallax.store.segment import Segment, is_full
from parallax.store.spill import SpillFolder

_NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,200}")
_MOST_WARM_BYTES = 1 << 30
# Making room looks through the whole store; making it for many small objects at once keeps the
# cost of each small.
_ROOM_AT_ONCE = 1 / 16


def is_name(name: str) -> bool:
    """Whether `name` can name an object: it is a file name everywhere."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What a store holds now.

    Attributes:
        memory_objects: objects in shared memory.
        memory_bytes: their segments.
        spilled_objects: objects on disk.
        spilled_bytes: their files.
        warm_segments: segments without an object: kept to be used again, being written, or
            freed while a reader still views them.
        warm_bytes: their memory.
        limit_bytes: what `memory_bytes` and `warm_bytes` together may reach.
    """

    memory_objects: int
    memory_bytes: int
    spilled_objects: int
    spilled_bytes: int
    warm_segments: int
    warm_bytes: int
    limit_bytes: int


class Space:
    """All files of a store. Thread-safe; see `SharedStore` for the arguments."""

    def __init__(self, root: Path, *, limit_bytes: int, spill_dir: Path) -> None:
        for folder in (root, root / "objects", root / "free"):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self._objects = str(root / "objects")
        self._limit_bytes = limit_bytes
        self._books = Books(root / "books")
        self._lock = flock.FileLock(root / "lock")
        self._spill_lock = flock.FileLock(root / "spill-lock")
        self._free = FreeSegments(
            root / "free", self._books, min(_MOST_WARM_BYTES, limit_bytes // 4)
        )
        self.spill = SpillFolder(spill_dir)
        with suppress(FileExistsError):
            os.symlink(os.path.abspath(spill_dir), root / SPILL_LINK)  # for the janitor

    def path(self, name: str) -> str:
        """Where an object is while it is in memory."""
        return f"{self._objects}/{name}"

    def has(self, name: str) -> bool:
        """Whether the object is in memory or on disk."""
        return os.path.exists(self.path(name)) or self._lock.run(self._has, name)

    def names(self) -> list[str]:
        """The names of all objects."""
        return self._lock.run(self._names)

    def store(self, name: str, layout: Layout) -> None:
        """Give a value a place and a name. Raises `ObjectStoreFullError`, the store unchanged."""
        segment = self._fill(layout) if layout.size_bytes <= self._limit_bytes else None
        if segment is None:
            self._destroy(self._spill_lock.run(self._store_on_disk, name, layout))
        else:
            self._destroy(self._lock.run(self._publish, segment, name))

    def remove(self, name: str) -> bool:
        """Take the object's name away; False when there is none."""
        found, surplus = self._lock.run(self._remove, name)
        self._destroy(surplus)
        return found

    def usage(self) -> StoreUsage:
        """Count all files."""
        return self._lock.run(self._count)

    def trim(self, idle_since: float) -> int:
        """Destroy free segments that are older; returns their bytes."""
        return self._destroy(self._lock.run(self._take_idle, idle_since))

    def close(self) -> None:
        """Close all files."""
        try:
            self._lock.run(self._free.close)
        except FileNotFoundError:  # the folder was removed: its cluster has ended before us
            self._free.close()
        self._lock.close()
        self._spill_lock.close()
        self._books.close()

    def after_fork(self) -> None:
        """Let go, in a child, of what only its parent may use."""
        self._free.close()
        self._lock.after_fork()
        self._spill_lock.after_fork()

    # ---- a place in memory ----

    def _fill(self, layout: Layout) -> Segment | None:
        """A segment with the value in it; None when memory has no room for it."""
        size = layout.size_bytes
        segment = self._lock.run(self._take, size)
        shortage_bytes = 0
        for _ in range(2):
            if segment is None:
                segment = self._spill_lock.run(self._make_room, size, shortage_bytes)
            if segment is None:
                return None
            try:
                segment.prepare()
                segment.write(layout.pieces)
            except OSError as error:
                self._destroy([segment])
                if not is_full(error):
                    raise
                # The file system is full before the store is: others use it too.
                segment, shortage_bytes = None, size
            except BaseException:
                self._destroy([segment])
                raise
            else:
                return segment
        return None

    def _take(self, size_bytes: int) -> Segment | None:
        segment = self._free.take_fit(size_bytes)
        if segment is None and self._books.used_bytes + size_bytes <= self._limit_bytes:
            segment = self._free.create(size_bytes)
        return segment

    def _publish(self, segment: Segment, name: str) -> list[Segment]:
        _, surplus = self._remove(name)
        os.rename(segment.path, self.path(name))
        segment.unlock()
        if segment.is_mapped:
            self._free.keep_mapped(segment)
        else:
            segment.close()
        return surplus

    def _remove(self, name: str) -> tuple[bool, list[Segment]]:
        found, surplus = False, []
        with suppress(FileNotFoundError):
            surplus = self._free.add(self.path(name))
            found = True
        if self._books.spilled and self.spill.remove(name):
            self._books.add(spilled=-1)
            found = True
        return found, surplus

    def _destroy(self, segments: Iterable[Segment]) -> int:
        """Delete locked segments, outside the store's lock: it takes a while."""
        total = 0
        for segment in segments:
            total += segment.size_bytes
            segment.destroy()
        if total:
            self._lock.run(lambda: self._books.add(used_bytes=-total))
        return total

    # ---- making room, under the spill lock ----

    def _make_room(self, size_bytes: int, shortage_bytes: int) -> Segment | None:
        """Destroy free segments, then spill what was not used for the longest time.

        Args:
            size_bytes: what needs a place.
            shortage_bytes: give back at least so much, whatever the limit says.
        """
        self.spill.remove_unfinished()
        objects = self._lock.run(self._recount)
        excess = max(self._books.used_bytes + size_bytes - self._limit_bytes, shortage_bytes)
        goal = max(excess, int(self._limit_bytes * _ROOM_AT_ONCE)) if excess > 0 else 0
        done = self._destroy(self._lock.run(self._free.take_oldest, goal))
        for entry in objects:
            if done >= goal:
                break
            try:
                segment = self._spill_object(entry.name)
            except OSError as error:
                if not is_full(error):
                    raise
                break  # the disk is full; the object stays in memory
            if segment is None:
                continue  # viewed, or freed meanwhile
            if size_bytes <= segment.size_bytes <= size_bytes * MOST_WASTE:
                return segment
            done += self._destroy([segment])
        return self._lock.run(self._take, size_bytes)

    def _spill_object(self, name: str) -> Segment | None:
        """Move an object to disk; its segment, locked, is the caller's. None: leave it alone."""
        segment = Segment.open(self.path(name))
        if segment is None:
            return None
        unfinished = self._copy_to_disk(segment)
        return segment if self._lock.run(self._commit_spill, segment, name, unfinished) else None

    def _copy_to_disk(self, segment: Segment) -> str:
        view = segment.view()
        used = used_bytes(view)
        return self.spill.write([view[:used]], used)

    def _commit_spill(self, segment: Segment, name: str, unfinished: str) -> bool:
        if not segment.is_at(self.path(name)):
            self.spill.discard(unfinished)
            return False
        self._books.add(spilled=1)
        self.spill.commit(unfinished, name)
        self._free.add_taken(segment, self.path(name))
        return True

    def _store_on_disk(self, name: str, layout: Layout) -> list[Segment]:
        self.spill.remove_unfinished()
        try:
            unfinished = self.spill.write(layout.pieces, layout.size_bytes)
        except OSError as error:
            if not is_full(error):
                raise
            raise self._full(name, layout.size_bytes) from error
        return self._lock.run(self._commit_to_disk, name, unfinished)

    def _commit_to_disk(self, name: str, unfinished: str) -> list[Segment]:
        _, surplus = self._remove(name)
        self._books.add(spilled=1)
        self.spill.commit(unfinished, name)
        return surplus

    def _full(self, name: str, size_bytes: int) -> ObjectStoreFullError:
        return ObjectStoreFullError(
            f"no room for object {name} of {size_bytes:,} bytes: the store holds "
            f"{self._books.used_bytes:,} bytes of its limit of {self._limit_bytes:,} in memory "
            f"({self._objects}), and the disk it spills to ({self.spill.folder}) has room for "
            f"{self.spill.room_bytes():,}. Nothing that was stored is lost. Drop references and "
            "arrays that are not needed any more, raise object_store_memory, or free disk space."
        )

    # ---- counting, under the store's lock ----

    def _has(self, name: str) -> bool:
        return os.path.exists(self.path(name)) or os.path.exists(self.spill.path(name))

    def _names(self) -> list[str]:
        spilled = [entry.name for entry in self.spill.scan()]
        # A process killed in the very middle of a spill leaves its object in both places.
        return list(dict.fromkeys(os.listdir(self._objects) + spilled))

    def _recount(self) -> list[Entry]:
        """Correct the books by what is there. Returns the objects, the least recent use first."""
        objects = sorted(scan(self._objects), key=lambda entry: entry.changed_at)
        warm = _total(self._free.scan())
        self._books.set(_total(objects) + warm, warm, len(self.spill.scan()))
        return objects

    def _count(self) -> StoreUsage:
        objects, free, spilled = scan(self._objects), self._free.scan(), self.spill.scan()
        return StoreUsage(
            memory_objects=len(objects),
            memory_bytes=_total(objects),
            spilled_objects=len(spilled),
            spilled_bytes=_total(spilled),
            warm_segments=len(free),
            warm_bytes=_total(free),
            limit_bytes=self._limit_bytes,
        )

    def _take_idle(self, idle_since: float) -> list[Segment]:
        self._free.drop_deleted()
        return self._free.take_oldest(sys.maxsize, idle_since=idle_since)


def _total(entries: Iterable[Entry]) -> int:
    return sum(entry.size_bytes for entry in entries)
