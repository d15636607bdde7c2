"""Check what users pass before anything is done with it."""

from __future__ import annotations

from parallax.errors import UsageError


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


def check_count(name: str, value: object, *, least: int = 1) -> int:
    """An int of at least so much.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name}={value!r} must be an int of at least {least}.")
    return value
