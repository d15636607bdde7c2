"""The pickler of Parallax: cloudpickle, made safe for a notebook's round trips.

Three things differ from plain cloudpickle:

1. **A class comes home unchanged.** cloudpickle sends a notebook's class by value and, when an
   instance of it comes back, writes the class's attributes anew. The driver's own class would
   then hold methods that no longer see the notebook's globals. Here the process that defined a
   class leaves it as it is.
2. **`functools.lru_cache` functions of a notebook travel.** Plain pickle would refer to them by
   a name in ``__main__`` that no engine has. They arrive with an empty cache.
3. **A function or class behind a wrapper is found through it.** ``module.f`` may be a decorated
   object whose ``__wrapped__`` is the function. Such a function goes by reference, so that an edit
   of its module takes effect.
"""

from __future__ import annotations

import functools
import sys
from types import FunctionType
from typing import Any
from weakref import WeakSet

import cloudpickle  # type: ignore[import-untyped]

LruCache = type(functools.lru_cache(lambda: None))
_MAX_WRAPPERS = 8

_native_classes: WeakSet[type] = WeakSet()
_foreign_classes: WeakSet[type] = WeakSet()


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """A cloudpickle pickler with the three differences above. One use each; not thread-safe."""

    def reducer_override(self, obj: Any) -> Any:
        """How to pickle ``obj``; NotImplemented leaves it to its own class."""
        # Called for every object that is no plain built-in: the common case falls through fast.
        kind = type(obj)
        if kind is FunctionType:
            reduced = super().reducer_override(obj)
            return reduced if reduced is NotImplemented else _reduce_wrapped(obj) or reduced
        if issubclass(kind, type):
            reduced = super().reducer_override(obj)
            by_value = reduced is not NotImplemented and len(reduced) == 6
            return (_reduce_wrapped(obj) or _reduce_class(obj, reduced)) if by_value else reduced
        if kind is LruCache:
            return NotImplemented if find_by_name(obj) else _reduce_lru_cache(obj)
        return NotImplemented


def find_by_name(obj: Any) -> tuple[str, str, int] | None:
    """Where a function can be imported from, outside ``__main__``.

    Returns:
        The module's name, the qualified name in it, and how many ``__wrapped__`` to follow from
        there; None when no import leads to this very object.
    """
    module_name = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None)
    if not isinstance(module_name, str) or not isinstance(name, str) or module_name == "__main__":
        return None
    found: Any = sys.modules.get(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
    for steps in range(_MAX_WRAPPERS):
        if found is obj:
            return module_name, name, steps
        found = getattr(found, "__wrapped__", None)
        if found is None:
            break
    return None


def _reduce_wrapped(function: FunctionType | type) -> tuple[Any, ...] | None:
    found = find_by_name(function)
    return None if found is None else (_load_wrapped, found)


def _load_wrapped(module_name: str, name: str, steps: int) -> Any:
    __import__(module_name)
    found: Any = sys.modules[module_name]
    for part in name.split("."):
        found = getattr(found, part)
    for _ in range(steps):
        found = found.__wrapped__
    return found


def _reduce_lru_cache(cached: Any) -> tuple[Any, ...]:
    return _load_lru_cache, (cached.__wrapped__, cached.cache_parameters())


def _load_lru_cache(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _reduce_class(cls: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    if cls not in _foreign_classes:
        _native_classes.add(cls)
    make, arguments, state, _, _, setter = reduced
    return make, arguments, (setter, state), None, None, _restore_class


def _restore_class(cls: type, state: tuple[Any, Any]) -> type:
    # cloudpickle has looked for the class by its own random id: what it found and what this
    # process once sent out is the class itself, come home.
    if cls in _native_classes:
        return cls
    _foreign_classes.add(cls)
    setter, attributes = state
    setter(cls, attributes)
    return cls
