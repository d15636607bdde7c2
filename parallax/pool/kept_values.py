"""Large values that are kept: one file each, laid out as in the store, so that it can be mapped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from parallax.ids import new_token
from parallax.serial.values import unpack
from parallax.store.layout import lay_out, parts_of
from parallax.store.segment import view_file, write_all

ReadParts: TypeAlias = Callable[[str], tuple[memoryview, list[memoryview]]]


class KeptValues:
    """The files of one journal. What a transaction does not need any more goes after its end.

    Args:
        folder: made when something is first written.
        read_parts: reads a value from the pool's store.
        lasting: whether to wait until it is on disk.
    """

    def __init__(self, folder: Path, read_parts: ReadParts, *, lasting: bool) -> None:
        self._folder = folder
        self._read_parts = read_parts
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
            data, buffers = self._read_parts(name)
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
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        segment = view_file(fd)
    finally:
        os.close(fd)
    return unpack(*parts_of(segment))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
