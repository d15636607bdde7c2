"""Where the core talks to the journal: orders go out with a ticket, and come back with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from parallax.core.journal import Entry, Journalled
from parallax.core.outbox import Journal, Outbox


class JournalDesk:
    """Knows what is to be done when the journal has done something."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._tickets = itertools.count(1)
        self._open: dict[int, Callable[[Journalled], None]] = {}

    def tell(self, entry: Entry, then: Callable[[Journalled], None]) -> None:
        """Have the journal do this, and call `then` when it has."""
        ticket = next(self._tickets)
        self._open[ticket] = then
        self._outbox.act(Journal(ticket, entry))

    def journalled(self, done: Journalled) -> None:
        """The journal has done something."""
        self._open.pop(done.ticket)(done)
