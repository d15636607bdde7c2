"""How user code waits: in a task it gives its CPU up meanwhile, unless the wait is a short one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from parallax.net.channel import Channel
from parallax.pool.waiter import Waiter

SOON_S = 0.002
"""A value that exists arrives within it, and the answer of an actor that has little to do."""


class Blocking:
    """The waits of one client. All methods may be called from any thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.on_blocked: Callable[[Sequence[int]], Callable[[], None] | None] | None = None
        """In an engine. Called before a wait that may be long, with the objects that it is for, if
        it needs all of them; returns what to call after it."""

    def block(
        self, waiter: Waiter, deadline: float, *, long: bool, needed: Sequence[int] = ()
    ) -> None:
        """See `Membership`."""
        if self.on_blocked is None:
            self._channel.wait(waiter, waiter.event, deadline)
            return
        # Giving the CPU up for a moment would start another engine for nothing. Tasks that call an
        # actor again and again would all run side by side, however many they are.
        if not long:
            soon = min(deadline, time.monotonic() + SOON_S)
            if self._channel.wait(waiter, waiter.event, soon):
                return
        unblock = self.on_blocked(needed)
        try:
            self._channel.wait(waiter, waiter.event, deadline)
        finally:
            if unblock is not None:
                unblock()

    def until(self, call: Callable[[], None]) -> Callable[[], None]:
        """See `Membership`."""
        unblock = self.on_blocked(()) if self.on_blocked is not None else None
        if unblock is None:
            return call

        def called() -> None:
            unblock()
            call()

        return called
