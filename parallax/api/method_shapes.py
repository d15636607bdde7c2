"""What the methods of a class take, as it travels with handles: names and kinds, no default values.

The default values themselves may be large, or impossible to pickle, and whether a call fits does
not depend on them.
"""

from __future__ import annotations

import inspect
import types
from inspect import Parameter, Signature
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[tuple[str, int, bool], ...]
"""Of each parameter its name, its kind, and whether it has a default value."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def shape_of(member: Any) -> Shape | None:
    """What a call of this member of a class takes, ``self`` left out.

    Args:
        member: as the class has it, before any binding to an instance.

    Returns:
        None where only a call can tell: for whatever is no plain function.
    """
    function = getattr(member, "__func__", member)
    if not isinstance(function, types.FunctionType):
        return None
    # What a decorator shows by `__wrapped__` need not be what it takes.
    bare = types.FunctionType(
        function.__code__, {}, "f", function.__defaults__, function.__closure__
    )
    bare.__kwdefaults__ = function.__kwdefaults__
    parameters = list(inspect.signature(bare).parameters.values())
    if not isinstance(member, staticmethod):
        if not parameters:
            return None  # Python's own error is the best: it counts `self`
        if parameters[0].kind in _POSITIONAL:
            del parameters[0]
    return tuple((p.name, int(p.kind), p.default is not Parameter.empty) for p in parameters)


def signature_of(shape: Shape | None) -> Signature | None:
    """The signature of this shape, with dots for default values."""
    if shape is None:
        return None
    return Signature(
        [
            Parameter(name, _KINDS[kind], default=_DOTS if has_default else Parameter.empty)
            for name, kind, has_default in shape
        ]
    )


class _Dots:
    def __repr__(self) -> str:
        return "..."


_DOTS = _Dots()
_KINDS = {
    int(kind): kind
    for kind in (
        *_POSITIONAL,
        Parameter.VAR_POSITIONAL,
        Parameter.KEYWORD_ONLY,
        Parameter.VAR_KEYWORD,
    )
}
