"""The journal's folder: whose it is, its version, and what is done about damage."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parallax.errors import JournalError
from parallax.pool import graph_rows
from parallax.pool.paths import JOURNAL_FILE as FILE
from parallax.store import flock

VERSION = 2
"""Of the tables below. A journal of another one is left alone."""
_OLDER = 1
"""It lacked the tables of durable tasks."""
_TABLES = {
    "kept": """
        name TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        kept_at REAL NOT NULL,
        job TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        value BLOB NOT NULL,
        file TEXT NOT NULL
    """,
    "actors": """
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        recipe BLOB NOT NULL,
        PRIMARY KEY (namespace, name)
    """,
    **graph_rows.TABLES,
}
_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


def lock_folder(folder: Path) -> int:
    """Make this process the only one that uses the folder; the lock ends with the process.

    Returns:
        The descriptor that holds the lock.

    Raises:
        JournalError: another hub has it.
    """
    flock.require_flock()
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not flock.try_seize(fd):
        owner = os.pread(fd, 20, 0).decode(errors="replace").strip()
        os.close(fd)
        raise JournalError(
            f"the journal in {folder} is in use by another pool of this name (pid {owner or '?'}), "
            "so this one keeps nothing. Stop that pool, or use another name."
        )
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def open_database(
    folder: Path, notes: list[str], *, lasting: bool
) -> tuple[sqlite3.Connection, Path | None]:
    """Open the journal's database, or make it. Damage is put aside, and what it has left is used.

    Args:
        notes: gets a line on what was damaged.

    Returns:
        The database, and the folder with what was put aside, if anything was.

    Raises:
        JournalError: it is of another version.
    """
    path = folder / FILE
    try:
        return _connect(path, lasting=lasting), None
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        what = str(error)
    damaged = _new_folder(folder)
    for suffix in ("", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            (folder / (FILE + suffix)).rename(damaged / (FILE + suffix))
    database = _connect(path, lasting=lasting)
    counts = {}
    for table in _TABLES:
        for row in _readable(damaged / FILE, table):
            marks = ", ".join("?" * len(row))
            database.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
        counts[table] = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    notes.append(
        f"the journal {path} was damaged ({what}): {counts['kept']} results, {counts['actors']} "
        f"actors and {counts['tasks']} durable tasks could be read and are there; the rest was put "
        f"into {damaged}."
    )
    return database, damaged


def empty_database() -> sqlite3.Connection:
    """In place of a journal that there is not yet: one without names, for this once."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    _make_tables(database)
    return database


def has_journal(folder: Path) -> bool:
    """Whether something was kept there."""
    return (folder / FILE).exists()


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is not what SQLite wrote any more."""
    code = getattr(error, "sqlite_errorcode", None)  # it is not there when Python itself complains
    return code is not None and code & 0xFF in _DAMAGE


def _connect(path: Path, *, lasting: bool) -> sqlite3.Connection:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    # Transactions are begun and ended by hand. No write-ahead log: it needs shared memory beside
    # the file, which a home folder on a network does not have.
    database = sqlite3.connect(path, isolation_level=None)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _OLDER, VERSION):
            raise JournalError(
                f"the journal {path} is of version {version}, and this parallax reads version "
                f"{VERSION}. It was left as it is: use the parallax that wrote it, or move the "
                "folder away to begin a new one."
            )
        if any(row != ("ok",) for row in database.execute("PRAGMA quick_check(1)")):
            error = sqlite3.DatabaseError("pages of it are damaged")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        database.execute("PRAGMA journal_mode = TRUNCATE")
        database.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'OFF'}")
        if version != VERSION:
            database.execute("BEGIN")
            _make_tables(database)
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _make_tables(database: sqlite3.Connection) -> None:
    for table, columns in _TABLES.items():
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")


def _readable(path: Path, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows that can still be read, from both ends towards the damage; some of them twice."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for order in ("ASC", "DESC"):
            try:
                yield from database.execute(f"SELECT * FROM {table} ORDER BY rowid {order}")
            except sqlite3.DatabaseError:  # here the damage begins
                continue


def _new_folder(folder: Path) -> Path:
    number = 1
    while (path := folder / f"damaged-{number}").exists():
        number += 1
    path.mkdir(mode=0o700)
    return path
