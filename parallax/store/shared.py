"""Objects in shared memory and on disk: a mapping that all processes of a host share.

## Theory of operation
There is no server. A store is a directory, and its processes coordinate through the file system
alone, so that any of them may be killed at any moment and nothing is lost.

    objects/<name>     an object: one segment, see `layout`
    free/<segment>     a segment without an object: warm, being written, or still viewed
    <spill>/<name>     an object that memory has no room for
    lock, books        the store's lock and its counters
    spill-lock         held by the one who makes room

Rules:

1. Files get and lose names only under the store's lock, which is held for microseconds: never
   while bytes are copied, and never while waiting for a segment's lock.
2. Who reads a segment holds its shared flock, from before the first byte is looked at until the
   last view is gone: the mapping keeps the lock (see `flock`).
3. Who writes, spills or deletes a segment holds its exclusive flock, and got it without waiting.
4. After locking, make sure that the file is still the one that was meant.

So a view never changes: writing needs an exclusive lock, which nobody gets while a reader lives.

Interleavings that these rules decide (R reads ``a``, W writes ``b``, F frees, S spills):

- *Reuse before the lock.* 1. R opens ``objects/a``. 2. F moves it to ``free/``. 3. W takes it,
  writes it, publishes it as ``objects/b``. 4. R gets the shared lock. By rule 4 R compares
  ``objects/a`` with its file: gone or another one. R looks again and finds no ``a``.
- *Reuse after the lock.* 1. R opens and locks. 2. F moves the file to ``free/``. 3. W cannot lock
  it and takes another. R may use its view for as long as it likes.
- *Same name again.* 1. R opens ``objects/a``. 2. It is freed, reused and published as
  ``objects/a``. 3. R locks: the same file under the same name, which now is the new ``a``.
- *Read during a spill.* 1. S locks ``objects/a`` exclusively. 2. R opens it and waits for the
  shared lock. 3. S gives the disk file its name, then moves the segment away, in one step under
  the store's lock, and unlocks. 4. R's file is not ``objects/a`` any more; R looks again: disk.
- *Read between the two places.* 1. R finds no ``objects/a``. 2. ``a`` on disk is overwritten by a
  new ``a`` in memory. 3. R finds no ``a`` on disk either. Before it reports that there is no such
  object R looks once more under the store's lock, where nothing moves.
- *Free during a spill.* 1. S copies ``objects/a`` to an unfinished disk file. 2. F moves
  ``objects/a`` to ``free/`` (it cannot lock it, and need not). 3. S, under the store's lock, sees
  that ``objects/a`` is gone and deletes its copy. Likewise when ``a`` was overwritten.
- *Killed writer.* Its lock goes, its half-written file is in ``free/``: to be deleted by whoever
  needs room.
- *Fork.* A child shares its parent's open file descriptions, and so the locks of all views: they
  stay valid in both. The child forgets the parent's warm segments and opens locks of its own.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from parallax.errors import UsageError
from parallax.serial.values import Packed, pack, unpack
from parallax.store import flock
from parallax.store.layout import lay_out, parts_of
from parallax.store.segment import names_file, view_file
from parallax.store.space import Space, StoreUsage, is_name


class SharedStore(MutableMapping[str, Any]):
    """Values by name, shared by all processes that open the same directory.

    What is read is a read-only view of shared memory: no copy, a few microseconds whatever the
    size. A view stays as it is for as long as it is kept, even when its object is freed.

    Thread-safe; usable on both sides of a fork. Names are 1 to 200 of ``A-Z a-z 0-9 . _ -``;
    on macOS names that differ in case only are one.

    Args:
        root: the store's directory, best in memory (`/dev/shm`); see `parallax.store.place`.
        limit_bytes: how much memory the store may take; the same in every process.
        spill_dir: where objects go that memory has no room for; the same in every process.

    Raises:
        UsageError: the system has no flock.

    Example:
        >>> import tempfile, numpy as np
        >>> folder = Path(tempfile.mkdtemp())
        >>> with SharedStore(folder / "s", limit_bytes=1 << 30, spill_dir=folder / "d") as store:
        ...     store["a"] = np.arange(3)
        ...     store["a"]
        array([0, 1, 2])
    """

    def __init__(self, root: Path, *, limit_bytes: int, spill_dir: Path) -> None:
        flock.require_flock()
        self._root = root
        self._limit_bytes = limit_bytes
        self._space = Space(root, limit_bytes=limit_bytes, spill_dir=spill_dir)
        self._closed = False
        _stores.add(self)

    # ---- the mapping ----

    def __setitem__(self, name: str, value: Any) -> None:
        self.write(name, pack(value))

    def __getitem__(self, name: str) -> Any:
        return self.read(name)

    def __delitem__(self, name: str) -> None:
        if not self.free(name):
            raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.contains(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._space.names())

    def __len__(self) -> int:
        return len(self._space.names())

    # By identity: to compare by value would read every object.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"SharedStore({str(self._root)!r}, limit_bytes={self._limit_bytes})"

    def __enter__(self) -> SharedStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- one object ----

    def write(self, name: str, packed: Packed) -> int:
        """Store a packed value, in place of an older one of that name.

        Copies the value once: at about the speed of memcpy into a warm segment, at a quarter of
        it into fresh memory. Blocks while room is made, by this or another process.

        Returns:
            The bytes it takes.

        Raises:
            ObjectStoreFullError: neither memory nor disk has room; the store is unchanged.
            UsageError: `name` is not a name, or the store is closed.
        """
        self._check_open()
        if not is_name(name):
            raise UsageError(
                f"{name!r} cannot name an object: use 1 to 200 of the characters "
                "A-Z a-z 0-9 . _ - and not only dots"
            )
        layout = lay_out(packed.data, packed.buffers)
        self._space.store(name, layout)
        return layout.size_bytes

    def read(self, name: str) -> Any:
        """The value. Its arrays are read-only views of shared memory.

        Raises:
            KeyError: there is no such object.
        """
        return unpack(*self.read_parts(name))

    def read_parts(self, name: str) -> tuple[memoryview, list[memoryview]]:
        """The value as it was packed: the pickle stream and the buffers.

        They are views of shared memory and as lasting as any other view; to send an object to
        another host, send these.

        Raises:
            KeyError: there is no such object.
        """
        self._check_open()
        if not is_name(name):
            raise KeyError(name)
        while True:
            segment = self._view(name)
            if segment is None:
                segment = self._space.spill.read(name)
            if segment is not None:
                return parts_of(segment)
            if not self._space.has(name):
                raise KeyError(name)

    def free(self, name: str) -> bool:
        """Forget an object; False when there is none. Views of it stay as they are.

        Its memory is kept warm for the next write, or given back. Takes about 5 µs, and 50 µs
        a MiB that is given back.
        """
        self._check_open()
        return is_name(name) and self._space.remove(name)

    def contains(self, name: str) -> bool:
        """Whether there is such an object, in memory or on disk."""
        self._check_open()
        return is_name(name) and self._space.has(name)

    # ---- the whole ----

    def usage(self) -> StoreUsage:
        """What the store holds now, counted from its files: 2 µs each."""
        self._check_open()
        return self._space.usage()

    def trim(self, idle_s: float) -> int:
        """Give back free segments that nobody wanted for `idle_s` seconds.

        Any process may call it, for all of them: those kept warm, those that were viewed when
        they were freed and are not any more, those whose writer was killed.

        Returns:
            The bytes given back.
        """
        self._check_open()
        return self._space.trim(idle_since=time.time() - idle_s)

    def close(self) -> None:
        """Close this process's files. Objects stay, and so do views. Safe to call twice."""
        if not self._closed:
            self._closed = True
            _stores.discard(self)
            self._space.close()

    def _view(self, name: str) -> memoryview | None:
        path = self._space.path(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            flock.share(fd)
            if not names_file(path, fd):
                return None
            os.utime(fd)  # used just now: others are spilled first
            return view_file(fd)
        finally:
            os.close(fd)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self!r} is closed; open the directory again")

    def _after_fork(self) -> None:
        self._space.after_fork()


_stores: weakref.WeakSet[SharedStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in _stores:
        store._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
