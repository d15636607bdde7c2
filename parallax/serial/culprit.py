"""Find what cannot be pickled, and where it hangs."""

from __future__ import annotations

from typing import Any

from parallax.errors import SerializationError


def explain(value: Any, error: BaseException, *, name: str = "value") -> SerializationError:
    """The error that names what cannot be pickled and the path to it."""
    return SerializationError(f"cannot ship {name}: {error}", path=name)
