"""Whether a call fits its function, known where it is written and not when its task runs."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

MAX_KNOWN = 1000
"""Patterns that one function remembers; one with ``**kwargs`` may see any number."""
_MAX_SIGNATURE_CHARS = 200


class CallPatterns:
    """The patterns of calls that a function takes, as far as they were seen.

    Whether arguments fit depends on how many are positional and on the names of the others, so
    each such pattern is bound once; it costs some 20 µs. Thread-safe.

    Args:
        function: what is called, or its signature where it is called from afar; None fits all.
    """

    __slots__ = ("_function", "known")

    def __init__(self, function: Callable[..., Any] | inspect.Signature | None) -> None:
        self._function = function
        self.known: set[int | tuple[Any, ...]] = set()
        """A number of positional arguments; with keywords, a tuple of it and their names."""

    @property
    def signature(self) -> str:
        """The signature as text, empty where nobody can tell it; cut when it is huge."""
        signature = _signature(self._function)
        return "" if signature is None else _text(signature)

    def learn(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check a call whose pattern is not known.

        The signature is read anew each time, for reloading may change a function in place.

        Args:
            name: of the function, for the message.

        Raises:
            TypeError: the call does not fit.
        """
        signature = _signature(self._function)
        if signature is not None:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(
                    f"{name}{_text(signature)} cannot be called with {_describe(args, kwargs)}: "
                    f"{error}. No task was started."
                ) from None
        if len(self.known) >= MAX_KNOWN:
            self.known = set()
        self.known.add((len(args), *kwargs) if kwargs else len(args))


def _signature(function: Callable[..., Any] | inspect.Signature | None) -> inspect.Signature | None:
    """What the function really takes; None where nobody can tell."""
    if function is None or isinstance(function, inspect.Signature):
        return function
    if isinstance(function, types.FunctionType):
        # A wrapper may show the signature of what it wraps, by `__wrapped__` or `__signature__`,
        # and take something else. A copy without attributes shows its own.
        bare = types.FunctionType(
            function.__code__, {}, argdefs=function.__defaults__, closure=function.__closure__
        )
        bare.__kwdefaults__ = function.__kwdefaults__
        function = bare
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _text(signature: inspect.Signature) -> str:
    text = str(signature)
    if len(text) <= _MAX_SIGNATURE_CHARS:
        return text
    return f"{text[: _MAX_SIGNATURE_CHARS - 2]}…)"


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    many = "argument" if len(args) == 1 else "arguments"
    by_name = f" and {', '.join(f'{name}=...' for name in kwargs)}" if kwargs else ""
    return f"{len(args) or 'no'} positional {many}{by_name}"
