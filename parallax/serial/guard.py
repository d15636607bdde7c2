"""Has anything that a shipped function reads been bound anew since it was shipped?

Notebook users rebind ``N = 20`` or redefine a helper and submit again, without redefining the
function that uses them. The guard of a shipped function keeps what the function read: each
global, closure cell and small container, with the very object that was there. Asking it costs
about 0.1 µs plus 0.05 µs a name, so it is asked at every submission.

Seen: another object bound to a global or a closure cell, of the function itself and of every
function of `__main__` (or otherwise shipped by value) that it reaches; a small list, dict, set,
array or instance of a class of the user's own, changed in place, up to `MAX_WATCHED_ITEMS` items
in all and `_MAX_DEPTH` levels deep.

Not seen: containers and arrays beyond those limits, changed in place; attributes set on classes
and functions; what lies inside instances of library classes. Run the function's definition again
to ship those, or pass them as arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from operator import is_
from types import CellType, FunctionType
from typing import Any

from parallax.serial.bytecode import global_names

MAX_WATCHED_ITEMS = 64
"""Items of containers compared by identity, about 25 ns each."""

_MAX_DEPTH = 3
_MAX_ARRAY_BYTES = 4096
_ARRAY_COST = 8  # comparing a small array costs as much as so many items
_MISSING: Any = object()


class Guard:
    """What a shipped function read when it was shipped, held by strong references.

    Thread-safe: it only reads.
    """

    __slots__ = (
        "_arrays",
        "_cells",
        "_dicts",
        "_empty_cells",
        "_globals",
        "_has_more",
        "_kept",
        "_lists",
        "_sets",
    )

    def __init__(
        self,
        functions: Iterable[FunctionType] = (),
        values: Iterable[Any] = (),
        *,
        is_own: Callable[[type], bool] = lambda kind: kind.__module__ == "__main__",
    ) -> None:
        """Remember what these functions read now.

        Args:
            functions: those shipped by value.
            values: further objects whose own contents matter, such as a partial's arguments.
            is_own: whether a class is the user's own, so that its instances are looked into.
        """
        reads: dict[tuple[int, str], tuple[Callable[..., Any], str, Any]] = {}
        cells: dict[int, tuple[CellType, Any]] = {}
        watch = _Watch(is_own)
        for function in functions:
            namespace = function.__globals__
            for name in global_names(function.__code__):
                value = namespace.get(name, _MISSING)
                reads[id(namespace), name] = (namespace.get, name, value)
                watch.add(value)
            for cell in function.__closure__ or ():
                cells[id(cell)] = (cell, _content(cell))
                watch.add(_content(cell))
            for value in (
                *(function.__defaults__ or ()),
                *(function.__kwdefaults__ or {}).values(),
            ):
                watch.add(value)
        for value in values:
            watch.add(value)
        self._globals = tuple(reads.values())
        self._cells = tuple(pair for pair in cells.values() if pair[1] is not _MISSING)
        self._empty_cells = tuple(cell for cell, value in cells.values() if value is _MISSING)
        self._lists = tuple(watch.lists)
        self._dicts = tuple(watch.dicts)
        self._sets = tuple(watch.sets)
        self._arrays = tuple(watch.arrays)
        self._kept = watch.kept
        # One look instead of five where there is nothing more to compare, as is usual.
        self._has_more = any(
            (self._empty_cells, self._lists, self._dicts, self._sets, self._arrays)
        )

    def stale(self) -> bool:
        """Whether the function must be shipped anew.

        True may be a false alarm (an equal object was bound): shipping by content finds out.
        """
        for get, name, value in self._globals:
            if get(name, _MISSING) is not value:
                return True
        try:
            for cell, value in self._cells:
                if cell.cell_contents is not value:
                    return True
            return self._has_more and self._more_changed()
        except (ValueError, RuntimeError):
            # A cell was emptied, or another thread resizes what is being compared.
            return True

    def _more_changed(self) -> bool:
        for cell in self._empty_cells:
            if _content(cell) is not _MISSING:
                return True
        for items, saved in self._lists:
            if len(items) != len(saved) or not all(map(is_, items, saved)):
                return True
        for mapping, keys, saved in self._dicts:
            if (
                len(mapping) != len(keys)
                or not all(map(is_, mapping, keys))
                or not all(map(is_, mapping.values(), saved))
            ):
                return True
        for members, identities in self._sets:
            if set(map(id, members)) != identities:
                return True
        return any(array.tobytes() != saved for array, saved in self._arrays)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty: its variable is not bound yet
        return _MISSING


class _Watch:
    """Collects the small mutable containers to compare, within one budget of items."""

    def __init__(self, is_own: Callable[[type], bool]) -> None:
        self._is_own = is_own
        self._budget = MAX_WATCHED_ITEMS
        self._seen: set[int] = set()
        self.lists: list[tuple[list[Any], tuple[Any, ...]]] = []
        self.dicts: list[tuple[dict[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self.sets: list[tuple[set[Any], set[int]]] = []
        self.kept: list[Any] = []  # an id means its object only while that lives
        self.arrays: list[tuple[Any, bytes]] = []

    def add(self, value: Any, depth: int = _MAX_DEPTH) -> None:
        kind = type(value)
        if kind in (list, dict, set, tuple):
            if not depth or id(value) in self._seen or len(value) > self._budget:
                return
            self._seen.add(id(value))
            self._budget -= len(value)
            if kind is list:
                self.lists.append((value, tuple(value)))
            elif kind is dict:
                self.dicts.append((value, tuple(value), tuple(value.values())))
            elif kind is set:
                self.sets.append((value, set(map(id, value))))
                self.kept.extend(value)
            for item in value.values() if kind is dict else value:
                self.add(item, depth - 1)
        elif kind is _array_type():
            if value.nbytes <= _MAX_ARRAY_BYTES and self._budget > 0 and not value.dtype.hasobject:
                self.arrays.append((value, value.tobytes()))
                self._budget -= _ARRAY_COST
        elif not isinstance(value, type) and self._is_own(kind):
            attributes = getattr(value, "__dict__", None)
            if type(attributes) is dict:
                self.add(attributes, depth)


def _array_type() -> type | None:
    return getattr(sys.modules.get("numpy"), "ndarray", None)
