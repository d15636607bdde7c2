"""Check what users pass before anything is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parallax.errors import UsageError
from parallax.refs import ObjectRef, ObjectRefGenerator


def refs_of(value: Any, verb: str) -> list[ObjectRef[Any]]:
    """The refs in a sequence.

    Raises:
        TypeError: something else is there.
    """
    if isinstance(value, str | bytes):
        raise TypeError(f"{verb} takes ObjectRefs, not {_kind(value)}: {_short(value)}.")
    if not isinstance(value, Sequence):
        try:
            value = list(value)
        except TypeError:
            raise TypeError(f"{verb} takes a list of ObjectRefs, not {_kind(value)}.") from None
    for position, ref in enumerate(value):
        if type(ref) is not ObjectRef:
            raise TypeError(
                f"{verb} takes ObjectRefs; item {position} is {_kind(ref)}: {_short(ref)}."
            )
    return list(value)


def check_timeout(timeout: object) -> float | None:
    """A timeout in seconds, None for none.

    Raises:
        UsageError: it is negative or no number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise UsageError(f"timeout={timeout!r} must be seconds of at least 0, or None.")
    return float(timeout)


def _kind(value: object) -> str:
    if isinstance(value, ObjectRefGenerator):
        return "an ObjectRefGenerator (iterate over it to get refs)"
    return f"{type(value).__name__}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
