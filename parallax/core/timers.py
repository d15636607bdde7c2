"""Things to do later, on whatever clock the machine is told."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timers:
    """A heap of deadlines. Entries are never removed: an action checks that it still applies."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()

    def at(self, deadline: float, action: Callable[[float], None]) -> None:
        """Call `action(now)` at the first tick at or after `deadline`."""
        heapq.heappush(self._heap, (deadline, next(self._order), action))

    def next(self) -> float | None:
        """The next deadline, None when there is none."""
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Run all that is due."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2](now)
