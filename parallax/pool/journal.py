"""The journal: what a pool keeps beyond its hub. SQLite for the rows, files for large values.

    <folder>/lock             held by the hub whose journal it is
    <folder>/journal.sqlite   one row a name
    <folder>/values/<token>   values that are too large for a row; written once, then named by one
    <folder>/damaged-<n>/     what could not be read any more, put aside

What `apply` has returned is on disk: files are synced before the transaction that names them is
committed, and that with `synchronous=FULL`. So it survives the hub's `kill -9` at any moment, and
a power cut as far as the disk does what it is told. A file that no row names is of a write that was
never acknowledged, and goes when the journal is next opened.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from parallax.core.journal import (
    Enlist,
    Forget,
    GraphChanged,
    Journalled,
    Keep,
    Muster,
    Promise,
    Recall,
    Resume,
    Strike,
)
from parallax.core.outbox import Journal as Order
from parallax.errors import JournalError
from parallax.messages import Failure, Stored
from parallax.pool.graph_rows import GraphRows
from parallax.pool.journal_file import (
    empty_database,
    has_journal,
    is_damage,
    lock_folder,
    open_database,
)
from parallax.pool.journal_names import unknown_name
from parallax.pool.kept_values import KeptValues, ValueStore
from parallax.pool.recipe_rows import RecipeRows


class Journal:
    """What is kept, by name. To be used by one thread; opened by the first use.

    Args:
        folder: made when something is first kept.
        store: the pool's, where large values are.
        lasting: whether it shall survive more than this hub; if not, nothing waits for the disk.
    """

    def __init__(self, folder: Path, store: ValueStore, *, lasting: bool) -> None:
        self.folder = folder
        self.notes: list[str] = []
        """What its owner should read of the journal's state, since last looked."""
        self._lasting = lasting
        self._values = KeptValues(folder / "values", store, lasting=lasting)
        self._recipes = RecipeRows(self._values)
        self._graph = GraphRows(self._values)
        self._lock = -1
        self._database: sqlite3.Connection | None = None

    def apply(self, orders: Sequence[Order]) -> list[Journalled]:
        """Do all this in one transaction, in order; what was written is on disk on return.

        What fails fails alone, unless it is the transaction itself.
        """
        try:
            database = self._open(orders)
            database.execute("BEGIN")
            done = [self._do(database, order) for order in orders]
            database.execute("COMMIT")
        except (JournalError, sqlite3.Error, OSError) as error:
            self._close_database()  # the next use opens it anew, and finds out what is wrong
            self._values.forget_changes()
            return [Journalled(order.ticket, failure=self._failure(error)) for order in orders]
        except BaseException:  # a bug: what it was about must not be half done
            self._close_database()
            self._values.forget_changes()
            raise
        self._values.settle()
        return done

    def close(self) -> None:
        """Close the files: the next hub may have them."""
        self._close_database()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _close_database(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self, orders: Sequence[Order]) -> sqlite3.Connection:
        if self._database is None:
            if not has_journal(self.folder) and not any(map(_writes, orders)):
                return empty_database()  # nobody's question makes a folder
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = self._lock < 0
            if is_new:
                self._lock = lock_folder(self.folder)
            database, damaged = open_database(self.folder, self.notes, lasting=self._lasting)
            if is_new:
                self._give_up_promises(database)
            known = {row[0] for row in database.execute("SELECT file FROM kept WHERE file != ''")}
            known |= self._recipes.files(database) | self._graph.files(database)
            self._values.tidy(known, damaged)
            self._database = database
        return self._database

    def _give_up_promises(self, database: sqlite3.Connection) -> None:
        """What an earlier hub has promised, unless a durable task goes on to make it."""
        made = self._graph.made(database)
        promised = database.execute("SELECT name, value FROM kept WHERE state = 'pending'")
        lost = [(name,) for name, key in promised.fetchall() if key.decode() not in made]
        database.executemany("UPDATE kept SET state = 'lost' WHERE name = ?", lost)

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, JournalError):
            return Failure("journal", str(error))
        damage = ""
        if isinstance(error, sqlite3.Error) and is_damage(error):
            damage = " What can be read of it will be there on the next try."
        return Failure(
            "journal",
            f"the journal in {self.folder} failed: {type(error).__name__}: {error}.{damage} "
            "Nothing of it was changed; see that the disk has room and is writable, and try again.",
        )

    # ---- one order ------------------------------------------------------------------------------

    def _do(self, database: sqlite3.Connection, order: Order) -> Journalled:
        entry = order.entry
        if isinstance(entry, Keep):
            return self._keep(database, order.ticket, entry)
        if isinstance(entry, Enlist):
            return self._enlist(database, order.ticket, entry)
        if isinstance(entry, GraphChanged):
            return self._change_graph(database, order.ticket, entry)
        if isinstance(entry, Promise):
            key = entry.key.encode()
            self._write(database, entry.name, "pending", entry.job, value=key)
        elif isinstance(entry, Forget):
            if not self._remove(database, entry.name):
                return Journalled(order.ticket, failure=_unknown(database, entry.name))
        elif isinstance(entry, Strike):
            self._recipes.remove(database, entry.namespace, entry.name)
        elif isinstance(entry, Muster):
            return Journalled(order.ticket, self._recipes.read(database, self.notes))
        elif isinstance(entry, Resume):
            return Journalled(order.ticket, self._graph.read(database, self.notes))
        elif isinstance(entry, Recall):
            if entry.name:
                return self._recall(database, order.ticket, entry.name)
            return Journalled(order.ticket, _list(database))
        return Journalled(order.ticket)

    def _keep(self, database: sqlite3.Connection, ticket: int, entry: Keep) -> Journalled:
        value, file = entry.value, ""
        if isinstance(value, Stored):
            try:
                file, size = self._values.write(value.name)
            except KeyError:
                return Journalled(ticket, lost=True)
            except OSError as error:
                return Journalled(ticket, failure=self._failure(error))
            self._write(database, entry.name, "kept", entry.job, size=size, file=file)
        elif isinstance(value, Failure):
            data = msgspec.msgpack.encode(value)
            self._write(database, entry.name, "failed", entry.job, size=0, value=data)
        else:
            size = len(value)
            self._write(database, entry.name, "kept", entry.job, size=size, value=value)
        return Journalled(ticket)

    def _change_graph(
        self, database: sqlite3.Connection, ticket: int, entry: GraphChanged
    ) -> Journalled:
        try:
            lost = self._graph.apply(database, entry)
        except OSError as error:
            return Journalled(ticket, failure=self._failure(error))
        return Journalled(ticket, lost)

    def _enlist(self, database: sqlite3.Connection, ticket: int, entry: Enlist) -> Journalled:
        try:
            self._recipes.write(database, entry.recipe)
        except KeyError:
            return Journalled(ticket, lost=True)
        except OSError as error:
            return Journalled(ticket, failure=self._failure(error))
        return Journalled(ticket)

    def _write(
        self,
        database: sqlite3.Connection,
        name: str,
        state: str,
        job: str,
        *,
        size: int = 0,
        value: bytes = b"",
        file: str = "",
    ) -> None:
        self._remove(database, name)
        database.execute(
            "INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, state, time.time(), job, size, value, file),
        )

    def _remove(self, database: sqlite3.Connection, name: str) -> bool:
        row = database.execute("SELECT file FROM kept WHERE name = ?", (name,)).fetchone()
        if row is None:
            return False
        database.execute("DELETE FROM kept WHERE name = ?", (name,))
        if row[0]:
            self._values.remove(row[0])
        return True

    def _recall(self, database: sqlite3.Connection, ticket: int, name: str) -> Journalled:
        row = database.execute(
            "SELECT state, size_bytes, value, file FROM kept WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return Journalled(ticket, failure=_unknown(database, name))
        state, size, value, file = row
        if state == "failed":
            return Journalled(ticket, failure=msgspec.msgpack.decode(value, type=Failure))
        if state in ("lost", "pending"):  # pending: its value could not be written
            return Journalled(ticket, failure=_never_came(name))
        if not file:
            return Journalled(ticket, {"value": value})
        path = self._values.path(file)
        found = path.stat().st_size if path.exists() else -1
        if found != size:
            return Journalled(ticket, failure=_damaged(name, path, size, found))
        return Journalled(ticket, {"file": str(path)})


def _writes(order: Order) -> bool:
    return isinstance(order.entry, Keep | Promise | Enlist | GraphChanged)


def _list(database: sqlite3.Connection) -> list[dict[str, Any]]:
    columns = "name, state, size_bytes, kept_at, job"
    rows = database.execute(f"SELECT {columns} FROM kept ORDER BY kept_at, rowid")
    return [dict(zip(columns.split(", "), row, strict=True)) for row in rows]


def _unknown(database: sqlite3.Connection, name: str) -> Failure:
    names = [row[0] for row in database.execute("SELECT name FROM kept ORDER BY name")]
    return Failure("usage", unknown_name(name, names))


def _never_came(name: str) -> Failure:
    return Failure(
        "object_lost",
        f"{name!r} was to be kept when its task ended, but the pool ended before that, or it "
        "could not be written. Submit the task again, and keep its result under the same name.",
    )


def _damaged(name: str, path: Path, size: int, found: int) -> Failure:
    what = "is gone" if found < 0 else f"has {found:,} bytes instead of {size:,}"
    return Failure(
        "object_lost",
        f"the value kept as {name!r} was lost: its file {os.fspath(path)} {what}. Make it anew, or "
        f"remove the name with parallax.forget({name!r}).",
    )
