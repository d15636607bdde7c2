"""The key of a call: the function's digest and those of its arguments.

The key is made where the arguments are: of plain arguments in the process that calls, of those
that are references on the engine, where their values come to be. So a call travels with a
*recipe*: the whole key, or what is known of it and the places of the arguments that are not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

import xxhash

from parallax.serial.digest import DIGEST_BYTES, Digester, digest
from parallax.version import VERSION

FORMAT = 1
"""Of keys and entries; another one finds nothing of what this one has kept."""

Part: TypeAlias = tuple[str, int | str, bytes]
"""Of an argument: its name, its position or keyword, and its digest, empty if not known yet."""
Recipe: TypeAlias = bytes | tuple[bytes, tuple[Part, ...]]
"""As it travels, of nothing but plain values: a whole key, or the function's digest and parts."""


class Key(NamedTuple):
    """The name of a kept result: the digest of the function, and that of the call."""

    function: bytes
    call: bytes


def code_digest(function: Any, name: str) -> bytes:
    """The digest of a function in the version that it has now.

    Raises:
        UsageError: it captures something without content.
    """
    return digest(function, name=f"the function {name}, with what it captures,")


def function_digest(code: bytes, num_returns: int) -> bytes:
    """The digest of all that makes the results of a function, but its arguments.

    Args:
        code: its `code_digest`.
    """
    digester = Digester()
    digester.add((FORMAT, VERSION, *sys.version_info[:2], num_returns, code))
    return digester.out.digest()


def parts_of(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    is_ref: Callable[[Any], bool],
) -> tuple[Part, ...]:
    """The arguments of a call by content, sorted by their names: ``f(1)`` is ``f(x=1)``.

    Args:
        is_ref: whether the argument stands for a value that is not here.

    Raises:
        UsageError: an argument has no content that could be told; names it.
    """
    names: Sequence[str] = ()
    if isinstance(function, FunctionType):
        code = function.__code__
        names = code.co_varnames[: code.co_argcount]
    of = getattr(function, "__name__", "the call")
    parts: list[Part] = []
    for position, value in enumerate(args):
        name = names[position] if position < len(names) else f"*{position}"
        parts.append((name, position, _digest_of(value, name, of, is_ref)))
    for name, value in kwargs.items():
        parts.append((name, name, _digest_of(value, name, of, is_ref)))
    parts.sort(key=_name_of)
    return tuple(parts)


def recipe_of(function: bytes, parts: tuple[Part, ...]) -> Recipe:
    """What of the key is known."""
    if all(part[2] for part in parts):
        return function + _call_digest(function, parts)
    return function, parts


def known_key(recipe: Recipe) -> Key | None:
    """The key, if it is known already."""
    if isinstance(recipe, bytes):
        return Key(recipe[:DIGEST_BYTES], recipe[DIGEST_BYTES:])
    return None


def complete(recipe: Recipe, args: Sequence[Any], kwargs: Mapping[str, Any], of: str) -> Key:
    """The key, once all arguments are here.

    Args:
        of: the function's name, for messages.

    Raises:
        UsageError: the value of a reference has no content that could be told.
    """
    if isinstance(recipe, bytes):
        return Key(recipe[:DIGEST_BYTES], recipe[DIGEST_BYTES:])
    function, parts = recipe
    whole = []
    for name, place, known in parts:
        if not known:
            value = args[place] if isinstance(place, int) else kwargs[place]
            known = _digest_of(value, name, of, lambda value: False)
        whole.append((name, place, known))
    return Key(function, _call_digest(function, tuple(whole)))


def _digest_of(value: Any, name: str, of: str, is_ref: Callable[[Any], bool]) -> bytes:
    return b"" if is_ref(value) else digest(value, name=f"argument {name!r} of {of}")


def _call_digest(function: bytes, parts: tuple[Part, ...]) -> bytes:
    out = xxhash.xxh3_128(function)
    for name, _, known in parts:
        data = name.encode("utf-8", "surrogatepass")
        out.update(len(data).to_bytes(4, "little") + data + known)
    return out.digest()


def _name_of(part: Part) -> str:
    return part[0]
