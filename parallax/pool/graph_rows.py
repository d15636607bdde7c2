"""Durable tasks as rows of the journal, with the values that they need."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from parallax.core.journal import (
    DurableTask,
    DurableTemplate,
    Graph,
    GraphChanged,
    Promise,
    key_of_return,
)
from parallax.errors import ObjectStoreFullError
from parallax.messages import Failure, Stored, Value
from parallax.pool.kept_values import KeptValues

Told = TypeVar("Told", DurableTemplate, DurableTask)
_Row = tuple[str, bytes, str]
"""Of a value: its key; itself, encoded, or the file where it is."""


class GraphRows:
    """The tables of durable tasks. To be used inside of transactions."""

    def __init__(self, values: KeptValues) -> None:
        self._values = values

    def apply(self, database: sqlite3.Connection, change: GraphChanged) -> list[str]:
        """Write what has changed.

        Returns:
            The keys of values that have left the store. They were not written, tasks that have
            made them have not ended, and nothing was dropped.

        Raises:
            OSError: the disk is full, or fails. Nothing was changed.
        """
        rows: dict[str, _Row] = {}
        lost: list[str] = []
        try:
            for key, value in _values_in(change):
                try:
                    rows[key] = self._row(key, value)
                except KeyError:
                    lost.append(key)
        except OSError:
            self._remove_files(file for _, _, file in rows.values())
            raise
        if change.afresh:
            self._forget_all(database)
        templates = ((one.key, msgspec.msgpack.encode(one)) for one in change.templates)
        database.executemany("INSERT OR REPLACE INTO templates VALUES (?, ?)", templates)
        tasks = ((one.key, one.returns, msgspec.msgpack.encode(one)) for one in change.tasks)
        database.executemany("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?)", tasks)
        for row in rows.values():
            self._insert(database, row)
        ended = [end.key for end in change.ends if not any(key in lost for key, _ in end.values)]
        _delete(database, "tasks", ended)
        if not lost:  # else a task that has not ended after all may need them
            _delete(database, "templates", change.idle)
            for key in change.dropped:
                self._drop(database, key)
        return lost

    def read(self, database: sqlite3.Connection, notes: list[str]) -> Graph:
        """All tasks that have not ended, with their values in the store of this cluster.

        Args:
            notes: gets a line on what cannot be read. Who needs it fails.
        """
        templates = _decoded(database, "templates", "template", DurableTemplate, notes)
        tasks = _decoded(database, "tasks", "task", DurableTask, notes)
        values: list[tuple[str, Value]] = []
        for key, data, file in database.execute("SELECT * FROM graph_values").fetchall():
            try:
                value = self._values.restore(file) if file else _decode(data)
                values.append((key, value))
            except (msgspec.DecodeError, ObjectStoreFullError, OSError, ValueError) as error:
                notes.append(
                    f"the value {key} of a durable task was lost: {type(error).__name__}: {error}. "
                    "Tasks that take it fail."
                )
        pending = database.execute("SELECT name, job, value FROM kept WHERE state = 'pending'")
        promises = [Promise(name, job, key.decode()) for name, job, key in pending]
        return Graph(templates, tasks, values, promises)

    def made(self, database: sqlite3.Connection) -> set[str]:
        """The keys of what these tasks will make."""
        rows = database.execute("SELECT key, returns FROM tasks")
        return {key_of_return(key, index) for key, returns in rows for index in range(returns)}

    def files(self, database: sqlite3.Connection) -> set[str]:
        """The files that rows name."""
        rows = database.execute("SELECT file FROM graph_values WHERE file != ''")
        return {row[0] for row in rows}

    def _row(self, key: str, value: Value) -> _Row:
        if isinstance(value, Stored):
            return key, b"", self._values.write(value.name)[0]
        return key, msgspec.msgpack.encode(value), ""

    def _insert(self, database: sqlite3.Connection, row: _Row) -> None:
        self._drop(database, row[0])
        database.execute("INSERT INTO graph_values VALUES (?, ?, ?)", row)

    def _drop(self, database: sqlite3.Connection, key: str) -> None:
        where = "FROM graph_values WHERE key = ?"
        self._remove_files(row[0] for row in database.execute(f"SELECT file {where}", (key,)))
        database.execute(f"DELETE {where}", (key,))

    def _forget_all(self, database: sqlite3.Connection) -> None:
        self._remove_files(self.files(database))
        for table in TABLES:
            database.execute(f"DELETE FROM {table}")

    def _remove_files(self, files: Iterable[str]) -> None:
        for file in files:
            if file:
                self._values.remove(file)


TABLES = {
    "templates": """
        key TEXT PRIMARY KEY,
        template BLOB NOT NULL
    """,
    "tasks": """
        key TEXT PRIMARY KEY,
        returns INTEGER NOT NULL,
        task BLOB NOT NULL
    """,
    "graph_values": """
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        file TEXT NOT NULL
    """,
}


def _values_in(change: GraphChanged) -> Iterable[tuple[str, Value]]:
    yield from change.values
    for end in change.ends:
        yield from end.values


def _decode(data: bytes) -> Value:
    value: bytes | Failure = msgspec.msgpack.decode(data, type=bytes | Failure)
    return value


def _delete(database: sqlite3.Connection, table: str, keys: Iterable[str]) -> None:
    database.executemany(f"DELETE FROM {table} WHERE key = ?", ((key,) for key in keys))


def _decoded(
    database: sqlite3.Connection, table: str, column: str, kind: type[Told], notes: list[str]
) -> list[Told]:
    """What is in a table, the oldest first."""
    found = []
    for key, data in database.execute(f"SELECT key, {column} FROM {table} ORDER BY rowid"):
        try:
            found.append(msgspec.msgpack.decode(data, type=kind))
        except msgspec.DecodeError as error:
            notes.append(f"{key} of the journal's {table} cannot be read: {error}. It stays there.")
    return found
