"""Check what users pass before anything is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parallax.errors import UsageError
from parallax.options import check_timeout as check_timeout
from parallax.refs import ObjectRef, ObjectRefGenerator


def refs_of(value: Any, verb: str) -> list[ObjectRef[Any]]:
    """The refs in a sequence.

    Raises:
        TypeError: something else is there.
    """
    if isinstance(value, ObjectRef):
        raise TypeError(f"{verb} takes a list of refs; for one ref write {verb}([ref]).")
    if isinstance(value, ObjectRefGenerator):
        raise TypeError(f"{verb} takes ObjectRefs; iterate over the generator to get its refs.")
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        try:
            value = list(_iterable(value))
        except TypeError:
            one = "an ObjectRef or a list of them" if verb == "get" else "a list of ObjectRefs"
            raise TypeError(f"{verb} takes {one}, not {_kind(value)}: {_short(value)}.") from None
    for position, ref in enumerate(value):
        if type(ref) is not ObjectRef:
            raise TypeError(
                f"{verb} takes ObjectRefs; item {position} is {_kind(ref)}: {_short(ref)}."
            )
    return list(value)


def check_count(name: str, value: object, most: int, limit: str = "") -> int:
    """An int from 1 to `most`.

    Args:
        name: of the argument, for the message.
        limit: what `most` is, in words.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"{name}={value!r} must be an int from 1 to {limit}{most:,}.")
    return value


def _iterable(value: Any) -> Any:
    # Their items are no refs; say what was given, and not what the first letter is.
    if isinstance(value, str | bytes):
        raise TypeError
    return value


def _kind(value: object) -> str:
    if isinstance(value, ObjectRefGenerator):
        return "an ObjectRefGenerator (iterate over it to get refs)"
    return f"{type(value).__name__}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
