"""The connection file: all that a client needs to find a pool and be let in. Mode 0600."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec

from parallax.errors import UsageError


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where a pool is, and its key."""

    cluster: str
    endpoint: str
    token: str
    pid: int
    host: str
    version: str
    name: str = ""
    started_at: float = 0.0
    directory: str = ""


def write_connection(path: Path, connection: Connection) -> None:
    """Write the file so that no other user can read it and no reader sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(connection)))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read_connection(path: Path) -> Connection:
    """Read the file.

    Raises:
        FileNotFoundError: there is none.
        UsageError: it is not a connection file.
    """
    data = path.read_bytes()
    try:
        return msgspec.json.decode(data, type=Connection)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is not a connection file of parallax: {error}") from error
