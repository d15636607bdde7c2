"""The parts of a value as pickle sees them, each with the words for the way to it."""

from __future__ import annotations

import copyreg
import functools
import reprlib
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from parallax.serial.bytecode import global_names
from parallax.serial.code_pickler import find_by_name


class Link(NamedTuple):
    """One step into a value.

    Attributes:
        words: for a sentence, such as ``Session.lock`` or ``['db']``.
        short: for a path, such as ``.lock``.
        joins: whether the words continue those of the step before, as an index does.
    """

    words: str
    short: str
    joins: bool = False


class Part(NamedTuple):
    """One part, with the way to it: in words only when asked, for there may be a million."""

    value: Any
    make_link: Callable[[Any], Link]
    at: Any

    @property
    def link(self) -> Link:
        """The way to the part."""
        return self.make_link(self.at)


def parts_of(value: Any) -> list[Part]:
    """The parts of a value; none where pickle would not look into it. May run its `__reduce__`."""
    if isinstance(value, FunctionType):
        return [] if find_by_name(value) else list(_parts_of_function(value))
    if isinstance(value, type):
        return [] if find_by_name(value) else list(_parts_of_class(value))
    match value:
        case dict():
            return list(_parts_of_dict(value))
        case list() | tuple() if type(value) in (list, tuple):
            return [Part(item, _index, number) for number, item in enumerate(value)]
        case set() | frozenset() if type(value) in (set, frozenset):
            return [Part(item, _item, item) for item in value]
        case functools.partial():
            return list(_parts_of_partial(value))
        case MethodType():
            return [
                Part(value.__self__, _named, "its instance"),
                Part(value.__func__, _named, "its function"),
            ]
        case property():
            accessors = (value.fget, value.fset, value.fdel)
            return [Part(f, _named, "its accessor") for f in accessors if f is not None]
        case staticmethod() | classmethod():
            return [Part(value.__func__, _named, "its function")]
        case ModuleType():
            return []
    if hasattr(value, "cache_parameters") and hasattr(value, "__wrapped__"):
        return [Part(value.__wrapped__, _named, "the cached function")]
    return list(_parts_of_instance(value))


def _parts_of_function(function: FunctionType) -> Iterator[Part]:
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=False):
        try:
            yield Part(cell.cell_contents, _closure, name)
        except ValueError:  # empty: its variable is not bound yet
            continue
    for name in global_names(function.__code__):
        if name in function.__globals__:
            yield Part(function.__globals__[name], _named, f"global {name!r}")
    for default in function.__defaults__ or ():
        yield Part(default, _named, "a default")
    for name, default in (function.__kwdefaults__ or {}).items():
        yield Part(default, _named, f"the default of {name!r}")
    for name, attribute in vars(function).items():
        yield Part(attribute, _attribute, (function.__name__, name))


def _parts_of_class(cls: type) -> Iterator[Part]:
    for name, attribute in vars(cls).items():
        if name not in ("__dict__", "__weakref__"):
            yield Part(attribute, _attribute, (cls.__name__, name))
    for base in cls.__bases__:
        yield Part(base, _named, f"base class {base.__name__}")


def _parts_of_dict(mapping: dict[Any, Any]) -> Iterator[Part]:
    for key, item in mapping.items():
        yield Part(item, _index, key)
    for key in mapping:
        yield Part(key, _key, key)


def _parts_of_partial(partial: functools.partial[Any]) -> Iterator[Part]:
    yield Part(partial.func, _named, "its function")
    for number, argument in enumerate(partial.args):
        yield Part(argument, _named, f"argument {number}")
    for name, argument in partial.keywords.items():
        yield Part(argument, _named, f"argument {name!r}")


def _parts_of_instance(value: Any) -> Iterator[Part]:
    """What the value's own reduction consists of."""
    try:
        reducer = copyreg.dispatch_table.get(type(value))
        reduced = reducer(value) if reducer else value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - then the value itself is the culprit
        return
    if not isinstance(reduced, tuple):
        return
    _, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    owner = type(value).__name__
    states = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for attributes in states:
        if isinstance(attributes, dict):
            for name, attribute in attributes.items():
                yield Part(attribute, _attribute, (owner, name))
        elif attributes is not None:
            yield Part(attributes, _named, f"the state of {owner}")
    for number, item in enumerate(items or ()):
        yield Part(item, _index, number)
    yield from _parts_of_dict(dict(pairs or ()))
    for argument in arguments or ():
        if argument is not type(value):
            yield Part(argument, _named, f"an argument that rebuilds {owner}")


def _named(words: str) -> Link:
    return Link(words, words)


def _closure(name: str) -> Link:
    return Link(f"closure variable {name!r}", f"closure {name!r}")


def _index(key: Any) -> Link:
    words = f"[{_short(key)}]"
    return Link(words, words, joins=True)


def _key(key: Any) -> Link:
    return _named(f"key {_short(key)}")


def _item(item: Any) -> Link:
    return _named(f"item {_short(item)}")


def _attribute(owner_and_name: tuple[str, Any]) -> Link:
    owner, name = owner_and_name
    return Link(f"{owner}.{name}", f".{name}")


def _short(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001 - user types may raise anything
        return f"a {type(value).__name__}"
