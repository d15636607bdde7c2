"""One file of the store, as its only writer holds it and as its readers map it."""

from __future__ import annotations

import errno
import io
import mmap
import os
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress

from parallax.store import flock
from parallax.store.layout import Bytes

# From here on a reused segment is written through a mapping (as fast as memcpy), below by
# `pwrite` (twice as slow, but a fresh mapping of so few pages costs more than that).
MAPPED_FROM_BYTES = 1 << 20

_PIECES_PER_CALL = 512  # POSIX promises 16, Linux and macOS take 1,024

# On Linux a mapping alone keeps the open file description, and so the lock; Python 3.13 can then
# spare the descriptor that `mmap` would keep beside it. On macOS the lock would be lost.
_SPARES_FD = sys.version_info >= (3, 13) and sys.platform == "linux"


class Segment:
    """A file that this process alone may write: it holds the exclusive lock.

    Not thread-safe. Dropping the last reference lets go of the lock.

    Attributes:
        path: where the file is now.
        size_bytes: its capacity; every byte of a used segment has its memory or disk block.
    """

    __slots__ = ("_fd", "_is_new", "_map", "path", "size_bytes")

    def __init__(self, fd: int, path: str, size_bytes: int, *, is_new: bool = False) -> None:
        self._fd = fd
        self._is_new = is_new
        self._map: mmap.mmap | None = None
        self.path = path
        self.size_bytes = size_bytes

    @classmethod
    def create(cls, path: str, size_bytes: int) -> Segment:
        """A new locked file whose length announces `size_bytes`; it has no memory yet."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        segment = cls(fd, path, size_bytes, is_new=True)
        flock.seize(fd)
        os.ftruncate(fd, size_bytes)
        return segment

    @classmethod
    def open(cls, path: str) -> Segment | None:
        """The file locked, or None when it is gone or in use (written, spilled or viewed)."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        segment = cls(fd, path, 0)
        # Asked after the lock is held: before, its holder may still move or delete the file.
        if not (flock.try_seize(fd) and segment.is_at(path)):
            return None
        segment.size_bytes = os.fstat(fd).st_size
        return segment

    def seize_again(self) -> bool:
        """Lock a segment that was unlocked; False when it is gone or in use."""
        if not flock.try_seize(self._fd):
            return False
        if not self.is_at(self.path):
            self.unlock()
            return False
        actual_size = os.fstat(self._fd).st_size
        if actual_size != self.size_bytes:
            # A process was killed while it destroyed the file. The mapping's pages are gone:
            # a touch would be fatal.
            self._unmap()
            self.size_bytes = actual_size
        return True

    def unlock(self) -> None:
        """Let readers in."""
        flock.release(self._fd)

    def is_at(self, path: str) -> bool:
        """Whether `path` still names this very file."""
        return names_file(path, self._fd)

    @property
    def is_deleted(self) -> bool:
        return os.fstat(self._fd).st_nlink == 0

    @property
    def is_mapped(self) -> bool:
        return self._map is not None

    def prepare(self) -> None:
        """Make the segment fit to be written. A full file system is an OSError, see `is_full`.

        A new file gets its memory, so that no later access can fail (a mapping of a file without
        memory would end in SIGBUS). A large used one is mapped, all pages at once, which is three
        times faster than one by one; the mapping stays for the next time.
        """
        if self._is_new:
            self._is_new = False
            if hasattr(os, "posix_fallocate"):  # macOS lacks it; there `write` reports ENOSPC
                os.posix_fallocate(self._fd, 0, self.size_bytes)
        elif self._map is None and self.size_bytes >= MAPPED_FROM_BYTES:
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._map = mmap.mmap(self._fd, self.size_bytes, flags=flags)

    def view(self) -> memoryview:
        """The whole file, read-only. Drop the view before the segment is written or destroyed."""
        return view_file(self._fd)

    def write(self, pieces: Sequence[Bytes]) -> None:
        """Write `pieces` one behind the other from the start.

        A full file system is an OSError, see `is_full`.
        """
        if self._map is None:
            write_all(self._fd, pieces)
        else:
            offset = 0
            for piece in pieces:
                offset = _copy_into(self._map, offset, memoryview(piece))

    def destroy(self) -> None:
        """Delete the file and give its memory back at once.

        Truncating matters: another process may still map the segment for writing, to use it
        again, and would keep the memory of a file that is merely unlinked. Nobody reads here:
        this process holds the exclusive lock.
        """
        os.ftruncate(self._fd, 0)
        os.unlink(self.path)
        self.close()

    def close(self) -> None:
        """Close the file; the lock goes unless a fork shares it. Safe to call twice."""
        self._unmap()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _unmap(self) -> None:
        if self._map is not None:
            # The traceback of an interrupted copy may still refer to the map; then it goes later.
            with suppress(BufferError):
                self._map.close()
            self._map = None


def is_full(error: OSError) -> bool:
    """Whether the error means that the file system, or the user's part of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def names_file(path: str, fd: int) -> bool:
    """Whether `path` names the very file that `fd` has open."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _copy_into(target: mmap.mmap, offset: int, piece: memoryview) -> int:
    """Copy one piece, in one go: memcpy bypasses the caches, and is faster, from some size on.

    A plain copy holds the GIL, for 80 ms a GiB; NumPy's does not.
    """
    end = offset + piece.nbytes
    frombuffer = getattr(sys.modules.get("numpy"), "frombuffer", None)
    if frombuffer is None or piece.nbytes < MAPPED_FROM_BYTES:
        target[offset:end] = piece
    else:
        frombuffer(target, "u1", piece.nbytes, offset)[:] = frombuffer(piece, "u1")
    return end


def write_all(fd: int, pieces: Sequence[Bytes]) -> None:
    """Write all pieces at the file's start, whatever the kernel takes at a time."""
    views = [view for piece in pieces if (view := memoryview(piece)).nbytes]
    offset = 0
    first = 0
    while first < len(views):
        written = os.pwritev(fd, views[first : first + _PIECES_PER_CALL], offset)
        if written == 0:
            raise OSError(errno.EIO, "the file system takes no more bytes")
        offset += written
        while first < len(views) and written >= views[first].nbytes:
            written -= views[first].nbytes
            first += 1
        if written:
            views[first] = views[first][written:]


# ---- reading ------------------------------------------------------------------------------

_live_maps: set[weakref.ref[mmap.mmap]] = set()
_MOST_MAPS = 16_384  # Linux allows a process 65,530 mappings by default, libraries included
_ALWAYS_MAPPED_FROM_BYTES = 4 << 20


def view_file(fd: int) -> memoryview:
    """The whole file as read-only memory that stays as it is while any view of it lives.

    The file is mapped: a few µs whatever its size. A process that keeps very many small views
    would run out of descriptors, and its own `open` calls would fail; it gets copies instead.
    """
    size = os.fstat(fd).st_size
    if size < _ALWAYS_MAPPED_FROM_BYTES and len(_live_maps) >= _map_budget():
        return _copy_file(fd)
    try:
        view = _map_file(fd)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return _copy_file(fd)
    _live_maps.add(weakref.ref(view, _live_maps.discard))
    return memoryview(view)


def _map_file(fd: int) -> mmap.mmap:
    if sys.version_info >= (3, 13) and _SPARES_FD:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ, trackfd=False)
    return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)


def _copy_file(fd: int) -> memoryview:
    with io.FileIO(fd, closefd=False) as file:
        return memoryview(file.readall())


def _map_budget() -> int:
    if _SPARES_FD:
        return _MOST_MAPS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_MAPS if soft == resource.RLIM_INFINITY else min(_MOST_MAPS, soft // 4)
