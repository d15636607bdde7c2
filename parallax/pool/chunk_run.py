"""How far a running chunk has come, and how much of it may still be begun."""

from __future__ import annotations

import threading
import time

GIVE_BACK_S = 0.01
"""A chunk, or an item of it, that has run for so long gives back what it has not begun."""


class ChunkRun:
    """Shared by the thread that runs the items and the one that may give the rest of them back.

    Args:
        count: how many items the chunk has.
    """

    def __init__(self, task: int, attempt: int, count: int) -> None:
        self.task = task
        self.attempt = attempt
        self._end = count
        self._begun = 0
        self._started = time.perf_counter()
        self._lock = threading.Lock()

    def begin(self) -> bool:
        """The next item begins, unless it was given back or the chunk has run for long."""
        with self._lock:
            if self._begun >= self._end or (self._begun and self.slow()):
                return False
            self._begun += 1
            return True

    def slow(self) -> bool:
        """Whether it has run for longer than chunks should."""
        return time.perf_counter() - self._started > GIVE_BACK_S

    def cut(self) -> int:
        """Begin no more items; returns how many stay, 0 when there are none to give back."""
        with self._lock:
            if self._begun >= self._end:
                return 0
            self._end = self._begun
            return self._begun
