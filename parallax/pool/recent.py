"""Segments that an engine read a moment ago, kept mapped while it has more to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parallax.serial.values import unpack

KEPT = 8

Parts = tuple[memoryview, list[memoryview]]


class SegmentGoneError(Exception):
    """A segment is not there; unlike a KeyError, no value's own code raises it."""


class RecentSegments:
    """Reads values by segment name; tasks in a row that share an argument map it once.

    Each task gets its own value over the same read-only memory. What is kept is let go as soon as
    the engine idles, because a mapped segment can neither be reused nor spilled.

    Args:
        read_parts: maps a segment; KeyError when it is gone.
    """

    def __init__(self, read_parts: Callable[[str], Parts]) -> None:
        self._read_parts = read_parts
        self._parts: dict[str, Parts] = {}
        self._kept = KEPT

    def keep_none(self) -> None:
        """From now on every value is read by itself, and several threads may read."""
        self._kept = 0
        self._parts = {}

    def read(self, name: str) -> Any:
        """The value in this segment.

        Raises:
            SegmentGoneError: there is no such segment any more.
            Exception: whatever the value's own code raises while it is rebuilt.
        """
        parts = self._parts.get(name)
        if parts is None:
            try:
                parts = self._read_parts(name)
            except KeyError:
                raise SegmentGoneError(name) from None
            if self._kept:
                if len(self._parts) >= self._kept:
                    del self._parts[next(iter(self._parts))]
                self._parts[name] = parts
        return unpack(*parts)

    def forget(self) -> None:
        """Let all segments go."""
        if self._parts:
            self._parts.clear()
