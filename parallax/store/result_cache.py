"""Results kept on disk under a key: plain files, one an entry, safe with any number of processes.

    FOLDER/tasks-1/               0700, this user's
        12/1234…/                 one folder a version of a function
            56ab…                 one file a call
            tally                 a byte for each lookup: + found, - not found

Files and renames need no lock and no server, and a crash of any writer at any point leaves all that
others need: an entry is written beside its place and renamed into it, whole or not at all. Two
writers of one key write the same values, and the last wins. What a power failure or a bad disk
does to a file its checksum tells. A database would keep its own locks, which network folders break,
and large values in it would be copied twice.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from contextlib import suppress
from pathlib import Path

from parallax.errors import UsageError
from parallax.serial.values import Packed
from parallax.store.cache_entry import BrokenEntryError, pieces_of, read_whole, values_of
from parallax.store.cache_room import Room, space_of
from parallax.store.segment import write_all

_TREE = "tasks-1"
_TALLY = "tally"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_LARGEST = 0.5
"""The part of the limit that one entry may take: a larger one would drive out all others."""

_NOT_THERE = (FileNotFoundError, NotADirectoryError)
_ATTEMPTS = 8
"""To make folders that others remove."""

_numbers = itertools.count()


class TooLargeError(Exception):
    """An entry would take too much of the cache; says so."""


class ResultCache:
    """The results that one user keeps. All methods may be called from any thread and process.

    Args:
        folder: the user's cache folder; made when something is kept.
        limit_bytes: how much may be kept. Beyond it the least recently used entries go.

    Raises:
        UsageError: the folder belongs to another user.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._tree = str(folder / _TREE)
        self._room = Room(self._tree, limit_bytes)
        self._user = os.geteuid()
        with suppress(*_NOT_THERE):
            self._require_own(os.lstat(self._tree))

    def read(self, function: bytes, call: bytes) -> list[Packed] | None:
        """The values of a call, None when there are none.

        What is there counts as used now. What is damaged is removed. Costs some 30 µs, and for
        large values a pass of reading and one for the checksum.
        """
        path = self._path(function, call)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NOFOLLOW)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if status.st_uid != self._user or not stat.S_ISREG(status.st_mode):
                return None  # somebody else's: it is never unpickled
            values = values_of(read_whole(fd), function + call)
        except BrokenEntryError:
            with suppress(OSError):
                os.unlink(path)
            return None
        except OSError:  # of the disk, or for want of memory
            return None
        finally:
            os.close(fd)
        with suppress(OSError):  # removed meanwhile, or a disk that is read only
            os.utime(path)
        return values

    def has(self, function: bytes, call: bytes) -> bool:
        """Whether there is an entry; it may still turn out to be damaged."""
        return os.path.exists(self._path(function, call))

    def keep(self, function: bytes, call: bytes, values: list[Packed]) -> None:
        """Keep the values of a call. Costs a pass for the checksum and one of writing.

        Raises:
            TooLargeError: they take more than half of what may be kept.
            UsageError: the folder belongs to another user.
            OSError: the disk is full, the folder cannot be written, and so on.
        """
        pieces = pieces_of(function + call, values)
        size = sum(len(memoryview(piece).cast("B")) for piece in pieces if len(piece))
        if size > _LARGEST * self.limit_bytes:
            raise TooLargeError(
                f"it takes {size / 2**20:,.1f} MiB, and the cache may take "
                f"{self.limit_bytes / 2**20:,.1f} MiB in all"
            )
        path = self._path(function, call)
        temporary = f"{path}.{os.getpid()}-{next(_numbers)}.tmp"
        fd = self._create(temporary)
        try:
            try:
                write_all(fd, pieces)
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self._room.wrote(space_of(size))

    def count(self, function: bytes, *, found: bool) -> None:
        """Note a lookup, for `lookups`. Costs some 15 µs; what cannot be noted is not."""
        path = os.path.join(self._home(function), _TALLY)
        with suppress(OSError):
            try:
                fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | _NOFOLLOW)
            except FileNotFoundError:
                self._make_home(function)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | _NOFOLLOW
                fd = os.open(path, flags, 0o600)
            try:
                os.write(fd, b"+" if found else b"-")
            finally:
                os.close(fd)

    def lookups(self, function: bytes) -> tuple[int, int]:
        """How often something was found and was not, in all processes, since `clear`."""
        try:
            tally = Path(self._home(function), _TALLY).read_bytes()
        except OSError:
            return 0, 0
        return tally.count(b"+"), tally.count(b"-")

    def usage(self, function: bytes) -> tuple[int, int]:
        """The number of entries of a function, and the bytes that they take on disk."""
        sizes = []
        with suppress(*_NOT_THERE), os.scandir(self._home(function)) as entries:
            for entry in entries:
                if _is_entry(entry.name):
                    with suppress(FileNotFoundError):
                        sizes.append(space_of(entry.stat(follow_symlinks=False).st_size))
        return len(sizes), sum(sizes)

    def clear(self, function: bytes) -> None:
        """Remove the entries of a function, and its tally."""
        home = self._home(function)
        with suppress(*_NOT_THERE):
            for name in os.listdir(home):
                if not name.endswith(".tmp"):  # somebody is writing that
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(home, name))

    # ---- folders ----------------------------------------------------------------------------

    def _home(self, function: bytes) -> str:
        name = function.hex()
        return f"{self._tree}/{name[:2]}/{name}"

    def _path(self, function: bytes, call: bytes) -> str:
        return f"{self._home(function)}/{call.hex()}"

    def _create(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NOFOLLOW
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):
                return os.open(path, flags, 0o600)
            # Nothing was kept yet, or the empty folder has just been swept.
            self._make_folder(os.path.dirname(path))
        return os.open(path, flags, 0o600)

    def _make_home(self, function: bytes) -> None:
        self._make_folder(self._home(function))

    def _make_folder(self, home: str) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self._tree, 0o700)
        status = os.lstat(self._tree)
        self._require_own(status)
        if status.st_mode & 0o077:
            os.chmod(self._tree, 0o700)
        for folder in (os.path.dirname(home), home):
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)

    def _require_own(self, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "the cache is no folder", self._tree)
        if status.st_uid != self._user:
            raise UsageError(
                f"the cache folder {self._tree} belongs to user {status.st_uid} and not to this "
                f"one ({self._user}): nothing in it can be trusted. Set $PARALLAX_CACHE_DIR to a "
                "folder of your own."
            )


def _is_entry(name: str) -> bool:
    return name != _TALLY and not name.endswith(".tmp")
