"""How values travel: their keeper carries them about and never unpacks them.

Small plain values travel in messages, as they are or pickled; all others are put into the store
once, and only references move. So a keeper needs none of the users' classes, and copies no array.
"""

from __future__ import annotations

import asyncio
import io
import pickle
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import parallax as px

MAX_TRAVELLING_BYTES = 16 * 1024
"""Of one value; larger ones go to the store."""

Entry: TypeAlias = Any
"""A scalar itself, ``(pickle,)`` of another plain value, or a ref to a tuple of any one value."""

_SCALARS = frozenset((bool, int, float, complex, type(None)))
_TEXTS = frozenset((str, bytes))


def encode(value: Any) -> Entry:
    """Make one value ready to travel. Costs a pass of pickling.

    Raises:
        SerializationError: it cannot be pickled.
        ObjectStoreFullError: there is no room for it.
    """
    kind = type(value)
    if kind in _SCALARS or (kind in _TEXTS and len(value) <= MAX_TRAVELLING_BYTES):
        return value
    plain = _pickle_plain(value)
    return px.put((value,)) if plain is None else (plain,)


def encode_all(values: Iterable[Any]) -> list[Entry]:
    """The same of several."""
    return [encode(value) for value in values]


def decode(entries: Sequence[Entry]) -> list[Any]:
    """The values, in order. Blocks while those in the store are fetched.

    Raises:
        ObjectLostError: one is lost.
        SerializationError: the class of one is not to be found here.
    """
    return _decode(entries, px.get(_refs(entries)))


async def decode_async(entries: Sequence[Entry]) -> list[Any]:
    """The same, on an event loop."""
    return _decode(entries, await asyncio.gather(*_refs(entries)))


def _refs(entries: Sequence[Entry]) -> list[px.ObjectRef[Any]]:
    return [entry for entry in entries if type(entry) is px.ObjectRef]


def _decode(entries: Sequence[Entry], boxes: Sequence[tuple[Any]]) -> list[Any]:
    fetched = iter(boxes)
    return [
        next(fetched)[0]
        if type(entry) is px.ObjectRef
        else pickle.loads(entry[0])
        if type(entry) is tuple
        else entry
        for entry in entries
    ]


class _NotPlainError(Exception):
    pass


class _PlainPickler(pickle.Pickler):
    """Takes built-in values alone: anything else could hold a reference, or need its class."""

    def reducer_override(self, value: Any) -> Any:
        raise _NotPlainError


def _pickle_plain(value: Any) -> bytes | None:
    """The pickle of a small value made of built-in types, None of any other."""
    file = io.BytesIO()
    try:
        _PlainPickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    except (_NotPlainError, RecursionError):
        return None
    return file.getvalue() if file.tell() <= MAX_TRAVELLING_BYTES else None
