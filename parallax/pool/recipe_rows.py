"""Recipes of actors as rows of the journal. Their large values are files, as those of results."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from parallax.core.journal import Recipe
from parallax.errors import ObjectStoreFullError
from parallax.messages import Stored
from parallax.pool.kept_values import KeptValues


class RecipeRows:
    """The table of actors. To be used inside of transactions."""

    def __init__(self, values: KeptValues) -> None:
        self._values = values

    def write(self, database: sqlite3.Connection, recipe: Recipe) -> None:
        """Keep a recipe in place of an older one of this name.

        Raises:
            KeyError: a value has left the store.
            OSError: the disk is full, or fails.
        """

        def to_file(value: Stored) -> Stored:
            file, size = self._values.write(value.name)
            return Stored(file, size, 0)

        row = _each_stored(recipe, to_file)
        self.remove(database, recipe.namespace, recipe.name)
        database.execute(
            "INSERT INTO actors VALUES (?, ?, ?)",
            (recipe.namespace, recipe.name, msgspec.msgpack.encode(row)),
        )

    def remove(self, database: sqlite3.Connection, namespace: str, name: str) -> None:
        """Forget a recipe, if there is one."""
        key = (namespace, name)
        where = "namespace = ? AND name = ?"
        row = database.execute(f"SELECT recipe FROM actors WHERE {where}", key).fetchone()
        if row is not None:
            for file in _files(row[0]):
                self._values.remove(file)
            database.execute(f"DELETE FROM actors WHERE {where}", key)

    def read(self, database: sqlite3.Connection, notes: list[str]) -> list[Recipe]:
        """All recipes, the oldest first, with their values in the store of this cluster.

        Args:
            notes: gets a line on each that cannot be read. It stays as it is.
        """
        recipes = []
        rows = database.execute("SELECT name, recipe FROM actors ORDER BY rowid").fetchall()
        for name, data in rows:
            try:
                recipe = msgspec.msgpack.decode(data, type=Recipe)
                recipes.append(_each_stored(recipe, lambda value: self._values.restore(value.name)))
            except (msgspec.DecodeError, ObjectStoreFullError, OSError, ValueError) as error:
                notes.append(
                    f"the detached actor {name!r} is not started anew: {type(error).__name__}: "
                    f"{error}. Make it again, under the same name."
                )
        return recipes

    def files(self, database: sqlite3.Connection) -> set[str]:
        """The files that recipes name."""
        rows = database.execute("SELECT recipe FROM actors")
        return {file for row in rows for file in _files(row[0])}


def _files(data: bytes) -> list[str]:
    try:
        recipe = msgspec.msgpack.decode(data, type=Recipe)
    except msgspec.DecodeError:  # `read` has said so
        return []
    found: list[str] = []

    def note(value: Stored) -> Stored:
        found.append(value.name)
        return value

    _each_stored(recipe, note)
    return found


def _each_stored(recipe: Recipe, change: Callable[[Stored], Stored]) -> Recipe:
    """The recipe with each of its large values changed. One that it has twice is changed twice."""

    def of(value: bytes | Stored) -> bytes | Stored:
        return change(value) if isinstance(value, Stored) else value

    return replace(
        recipe,
        args=of(recipe.args),
        deps=[of(value) for value in recipe.deps],
        captured=[of(value) for value in recipe.captured],
    )
