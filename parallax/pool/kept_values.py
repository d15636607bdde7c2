"""Large values that are kept: one file each, laid out as in the store, so that it can be mapped."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import Any, Protocol

from parallax.core.objects import HUB
from parallax.ids import new_token
from parallax.messages import Stored
from parallax.serial.values import Packed, unpack
from parallax.store.layout import lay_out, parts_of
from parallax.store.segment import view_file, write_all


class ValueStore(Protocol):
    """What is needed of the pool's store."""

    def read_parts(self, name: str) -> tuple[memoryview, list[memoryview]]:
        """See `SharedStore`."""

    def write(self, name: str, packed: Packed) -> int:
        """See `SharedStore`."""


class KeptValues:
    """The files of one journal. What a transaction does not need any more goes after its end.

    Args:
        folder: made when something is first written.
        store: the pool's, where values come from and go to.
        lasting: whether to wait until it is on disk.
    """

    def __init__(self, folder: Path, store: ValueStore, *, lasting: bool) -> None:
        self._folder = folder
        self._store = store
        self._restored = itertools.count(1)
        self._lasting = lasting
        self._removed: list[str] = []
        self._written: list[str] = []

    def path(self, file: str) -> Path:
        """Where a file is."""
        return self._folder / file

    def write(self, name: str) -> tuple[str, int]:
        """Copy a value of the store to a new file, and wait until it is on disk.

        Returns:
            The file, and its size in bytes.

        Raises:
            KeyError: the store has no such value any more.
            OSError: the disk is full, or fails; nothing is left behind.
        """
        try:
            data, buffers = self._store.read_parts(name)
        except FileNotFoundError as error:  # the whole store is gone
            raise KeyError(name) from error
        layout = lay_out(data, buffers)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = new_token()
        path = self.path(file)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, layout.pieces)
            if self._lasting:
                os.fsync(fd)
                _sync_folder(self._folder)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(fd)
        self._written.append(file)
        return file, layout.size_bytes

    def restore(self, file: str) -> Stored:
        """Copy a file to the store, as a value that the hub has made.

        Raises:
            OSError: it is not there, or there is no room for it.
            ValueError: it is damaged.
        """
        data, buffers = _map(self.path(file))
        name = f"{HUB:x}-{next(self._restored):x}"
        size = self._store.write(name, Packed(bytes(data), buffers))
        return Stored(name, size, HUB)

    def remove(self, file: str) -> None:
        """Its name is gone: delete it when the transaction has ended well."""
        self._removed.append(file)

    def settle(self) -> None:
        """The transaction has ended well."""
        self._unlink(self._removed)
        self._written.clear()

    def forget_changes(self) -> None:
        """The transaction has failed: what it wrote is of no use."""
        self._unlink(self._written)
        self._removed.clear()

    def tidy(self, known: set[str], damaged: Path | None) -> None:
        """Delete files of writes that were never acknowledged.

        Args:
            known: files that rows name.
            damaged: where to move the others instead, as they may belong to rows that were lost.
        """
        if not self._folder.exists():
            return
        for file in sorted({path.name for path in self._folder.iterdir()} - known):
            if damaged is None:
                self.path(file).unlink()
            else:
                self.path(file).rename(damaged / file)

    def _unlink(self, files: list[str]) -> None:
        for file in files:
            with contextlib.suppress(OSError):  # what stays is found when the journal is opened
                self.path(file).unlink()
        files.clear()


def read_kept(path: str) -> Any:
    """The value in such a file. Its arrays are read-only views of it, also when it is deleted.

    Raises:
        FileNotFoundError: it was forgotten, or replaced.
    """
    return unpack(*_map(path))


def _map(path: Path | str) -> tuple[memoryview, list[memoryview]]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        segment = view_file(fd)
    finally:
        os.close(fd)
    return parts_of(segment)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
