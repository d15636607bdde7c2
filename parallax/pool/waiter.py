"""What a thread waits for, counted down as messages arrive."""

from __future__ import annotations

import threading

FOREVER = float("inf")
"""A deadline that never comes."""


class Waiter:
    """Done when `remaining` reaches zero, or at the first failure when that is enough."""

    __slots__ = ("_event", "done", "fail_fast", "remaining")

    def __init__(self, remaining: int, *, fail_fast: bool = False) -> None:
        self.remaining = remaining
        self.fail_fast = fail_fast
        self.done = remaining <= 0
        self._event: threading.Event | None = None

    def event(self) -> threading.Event:
        """An event that is set when done; made when somebody has to sleep on it."""
        if self._event is None:
            self._event = threading.Event()
        if self.done:
            self._event.set()
        return self._event

    def count(self, *, failed: bool = False) -> None:
        """One of the things waited for is there."""
        self.remaining -= 1
        if self.remaining <= 0 or (failed and self.fail_fast):
            self.finish()

    def finish(self) -> None:
        """Whatever is missing, wait no longer."""
        self.done = True
        if self._event is not None:
            self._event.set()
