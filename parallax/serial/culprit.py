"""Find what cannot be pickled, and where it hangs.

The search goes from the outside in: of the parts of a thing that cannot be pickled, the first
that cannot be pickled either is looked into next. What has no such part is the culprit.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from parallax.errors import SerializationError
from parallax.serial.code_pickler import Pickler
from parallax.serial.cures import DEFAULT, cure_for
from parallax.serial.dill_fallback import reduce_with_dill
from parallax.serial.value_parts import Link, Part, parts_of

_MAX_STEPS = 32
_MAX_CPU_S = 2.0
"""Of this thread: a busy machine shall not change what is found."""
_MAX_REASON_CHARS = 300
# Of these pickle copies the bytes and looks at nothing: no need to do it again and again.
_SURELY_FINE = frozenset((str, bytes, bytearray))


def explain(value: Any, error: BaseException, *, name: str = "value") -> SerializationError:
    """The error to raise for a value that could not be pickled.

    Its message names the smallest part that cannot be pickled, the path that leads to it, and
    what to do instead. The search tries to pickle part after part, for two seconds of CPU time at
    most; it runs the `__reduce__` and `__getstate__` of the value's own types.

    Args:
        value: what could not be pickled.
        error: what pickling it raised.
        name: how the user knows the value.
    """
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        message = (
            f"cannot ship {name}: it is nested too deeply to be pickled. "
            "Flatten it, for example into lists of items and of indices."
        )
        return SerializationError(message, path=name)
    links, culprit, reason = _search(value, error)
    path = " → ".join([name, *(link.short for link in links)])
    where = _join(links, name)
    cure = cure_for(culprit) or DEFAULT
    message = f"cannot ship {name}: {where} is {_type_of(culprit)}, {_because(reason)}. {cure}"
    return SerializationError(message, path=path)


class _Found(NamedTuple):
    links: list[Link]
    culprit: Any
    reason: BaseException


def _search(value: Any, error: BaseException) -> _Found:
    deadline = time.thread_time() + _MAX_CPU_S
    found = _Found([], value, error)
    path = {id(value): value}
    while len(found.links) < _MAX_STEPS:
        # The lock inside a thread pool is no news to the user; the thread pool is.
        if cure_for(found.culprit) is not None:
            break
        step = _first_refused(parts_of(found.culprit), path, deadline)
        if step is None:
            break
        link, culprit, reason = step
        found = _Found([*found.links, link], culprit, reason)
        path[id(culprit)] = culprit
    return found


def _first_refused(
    parts: Sequence[Part], path: Container[int], deadline: float
) -> tuple[Link, Any, BaseException] | None:
    """The first part that cannot be pickled, by halving: a million items are no more than twenty
    attempts, which together cost twice what the first one does."""
    reason = _refusal([part.value for part in parts], path)
    if reason is None:
        return None
    low, high = 0, len(parts)
    while high - low > 1:
        if time.thread_time() > deadline:
            return None
        middle = (low + high) // 2
        refusal = _refusal([part.value for part in parts[low:middle]], path)
        if refusal is None:
            low = middle
        else:
            high, reason = middle, refusal
    return parts[low].link, parts[low].value, reason


def _refusal(parts: list[Any], path: Container[int]) -> Exception | None:
    """What pickling these parts raises; None when they can be pickled."""
    try:
        _Probe(path).dump(parts)
    except Exception as error:  # noqa: BLE001 - user types raise anything while they are pickled
        return error
    return None


class _Probe(Pickler):
    """Pickles to nowhere, passing over what the search came through.

    A part may refer back to what holds it; without passing over that, each part would seem
    guilty of what another one is.
    """

    def __init__(self, path: Container[int]) -> None:
        super().__init__(_Nowhere())
        self._path = path

    def persistent_id(self, obj: Any) -> str | None:
        if type(obj) in _SURELY_FINE or id(obj) in self._path:
            return ""
        array = getattr(sys.modules.get("numpy"), "ndarray", None)
        if type(obj) is array and not obj.dtype.hasobject:
            return ""
        return None

    def reducer_override(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        return reduce_with_dill(obj) if reduced is NotImplemented else reduced


class _Nowhere(io.RawIOBase):
    def write(self, data: Any) -> int:
        return len(data)


def _join(links: Sequence[Link], name: str) -> str:
    if not links:
        return "it"
    words = ""
    if links[0].joins:
        words = name if name.isidentifier() else "its part "
    for link in links:
        separator = " → " if words and not link.joins else ""
        words += separator + link.words
    return words


def _type_of(value: Any) -> str:
    kind = type(value)
    if kind.__module__ == "builtins":
        name = kind.__qualname__
    elif kind.__module__ == "__main__":
        name = f"{kind.__qualname__} object"
    else:
        name = f"{kind.__module__}.{kind.__qualname__} object"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _because(reason: BaseException) -> str:
    text = str(reason)
    if "cannot pickle" in text or "can't pickle" in text.lower():
        return "which cannot be pickled"
    return f"and pickling it raised {type(reason).__name__}: {text[:_MAX_REASON_CHARS].rstrip('.')}"
