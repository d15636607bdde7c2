"""The arguments of a call, as they travel.

Refs among the top-level arguments become dependencies; their values are put in their places
before the function runs. Four forms, the common ones the cheapest:

    a tuple                 positional arguments
    a list [args, kwargs]   with keyword arguments
    an int n                n positional arguments, all of them refs
    either of the first two with `Slot`s where refs were
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from parallax.errors import SerializationError
from parallax.refs import ObjectRef
from parallax.serial.values import Packed, pack, unpack

NO_ARGUMENTS = pickle.dumps((), 5)
_ALL_REFS = [pickle.dumps(n, 5) for n in range(64)]


class MissingArgumentsError(Exception):
    """Dependencies whose segments are gone; the hub rebuilds them."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__(ids)
        self.ids = ids


class Slot:
    """The place of the n-th dependency."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return Slot, (self.index,)


def pack_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], function: Any = None
) -> tuple[Packed, list[ObjectRef[Any]]]:
    """Pack the arguments; returns them and the refs that are dependencies, in slot order.

    Args:
        function: whose arguments they are, to name the one that cannot be pickled.

    Raises:
        SerializationError: an argument cannot be pickled.
    """
    try:
        return _pack_call(args, kwargs)
    except SerializationError:
        for name, value in _named_arguments(function, args, kwargs):
            pack(value, name=name)
        raise


def _named_arguments(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Each argument with its name for a message: ``argument 'x' of f``."""
    of = getattr(function, "__name__", "the call")
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {**{str(i): arg for i, arg in enumerate(args)}, **kwargs}
    for name, value in bound.items():
        yield f"argument {name!r} of {of}", value


def _pack_call(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Packed, list[ObjectRef[Any]]]:
    refs: list[ObjectRef[Any]] = [arg for arg in args if type(arg) is ObjectRef]
    if not kwargs:
        if not refs:
            return pack(args), refs
        if len(refs) == len(args) < len(_ALL_REFS):
            return Packed(_ALL_REFS[len(args)]), refs
    slots = iter(range(len(refs)))
    args = tuple(Slot(next(slots)) if type(arg) is ObjectRef else arg for arg in args)
    if not kwargs:
        return pack(args), refs
    named: dict[str, Any] = {}
    for name, value in kwargs.items():
        if type(value) is ObjectRef:
            named[name] = Slot(len(refs))
            refs.append(value)
        else:
            named[name] = value
    return pack([args, named]), refs


def unpack_call(
    data: bytes | memoryview, buffers: Sequence[memoryview], values: Sequence[Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Rebuild the arguments, with the dependencies' values in their places."""
    return fill_call(unpack(data, buffers), values)


def fill_call(call: Any, values: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """Put the dependencies' values into an unpacked call."""
    if type(call) is int:
        return values, {}
    args, kwargs = call if type(call) is list else (call, {})
    if values:
        args = [values[a.index] if type(a) is Slot else a for a in args]
        kwargs = {k: values[v.index] if type(v) is Slot else v for k, v in kwargs.items()}
    return args, kwargs
