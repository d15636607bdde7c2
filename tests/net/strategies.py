"""Hypothesis strategies for messages, read off their types."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
from hypothesis import strategies as st

from parallax import messages

TO_HUB = typing.get_args(messages.ToHub)
FROM_HUB = typing.get_args(messages.FromHub)

_PLAIN: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=8)
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def message(kind: type[Any], *, ints: Any = None) -> Any:
    """Messages of this kind with any content that their types allow.

    Args:
        ints: the strategy for ids and numbers; any that their types allow by default.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    names = kind.__struct_fields__
    return st.builds(kind, *(_of(hints[name], ints) for name in names))


def _of(hint: Any, ints: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _constrained(args[0], args[1], ints)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([_of(arg, ints) for arg in args])
    if origin is list:
        return st.lists(_of(args[0], ints), max_size=3)
    if origin is dict:
        return st.dictionaries(_of(args[0], ints), _of(args[1], ints), max_size=3)
    if origin is tuple:
        return st.tuples(*(_of(arg, ints) for arg in args))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return message(hint, ints=ints)
    if hint is Any:
        return _PLAIN
    if hint is int:
        return ints if ints is not None else st.integers(-(2**63), 2**63 - 1)
    return {
        bytes: st.binary(max_size=8),
        str: st.text(max_size=8),
        bool: st.booleans(),
        float: st.floats(allow_nan=False),
        type(None): st.none(),
    }[hint]


def _constrained(base: Any, meta: msgspec.Meta, ints: Any) -> Any:
    if base is float:
        return st.floats(meta.ge, meta.le, allow_nan=False)
    if base is str:
        return st.text(min_size=meta.min_length or 0, max_size=8)
    if ints is not None:
        return ints.filter(
            lambda n: (meta.ge is None or n >= meta.ge) and (meta.le is None or n <= meta.le)
        )
    return st.integers(meta.ge, meta.le)
