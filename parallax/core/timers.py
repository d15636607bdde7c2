"""Things to do later, on whatever clock the machine is told."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

SWEEP_FROM = 64
"""Cancelled entries that may linger in the heap before it is swept."""


class Timer:
    """One thing to do later, unless it is cancelled before."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[float], None]) -> None:
        self.action: Callable[[float], None] | None = action


class Timers:
    """A heap of deadlines. Cancelled ones are dropped when their turn comes, or in a sweep."""

    def __init__(self) -> None:
        self.now = 0.0
        """The time of the events that are being digested."""
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def at(self, deadline: float, action: Callable[[float], None]) -> Timer:
        """Call `action(now)` at the first tick at or after `deadline`. O(log n)."""
        timer = Timer(action)
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def after(self, delay_s: float, action: Callable[[float], None]) -> Timer:
        """Call `action(now)` in so many seconds."""
        return self.at(self.now + delay_s, action)

    def cancel(self, timer: Timer) -> None:
        """Forget what was to be done; one that has run or was cancelled is left alone."""
        if timer.action is None:
            return
        timer.action = None
        self._cancelled += 1
        if self._cancelled > SWEEP_FROM and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """The next deadline, None when there is none."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Run all that is due."""
        self.now = now
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            action, timer.action = timer.action, None
            if action is None:
                self._cancelled -= 1
            else:
                action(now)
