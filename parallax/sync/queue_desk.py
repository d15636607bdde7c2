"""The desk of a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import parallax as px
from parallax.sync.desk import Desk, Line
from parallax.sync.entries import Entry
from parallax.sync.errors import Outcome

MAX_REMEMBERED = 1000
"""Settled loans that may still be taken back: that many interrupted callers at once."""


class QueueDesk(Desk):
    """Keeps the items, and those who wait for items or for room.

    Args:
        maxsize: items at most, 0 for any number.
    """

    def __init__(self, home: str, maxsize: int) -> None:
        super().__init__(home)
        self._maxsize = maxsize
        self._items: deque[Entry] = deque()
        self._shut_down = False
        self._getters = Line(self._serve, self._put_back, alone=self._alone)
        self._putters = Line(self._accept, alone=self._alone)
        self._settled: deque[str] = deque(maxlen=MAX_REMEMBERED)

    def facts(self) -> tuple[Any, ...]:
        """See `Desk`."""
        return (self._maxsize,)

    async def size(self) -> int:
        """How many items there are."""
        return len(self._items)

    async def put(self, entries: list[Entry], timeout_s: float | None) -> Outcome:
        """Add these items, all at once, when there is room."""
        outcome: Outcome = await self._putters.wait(entries, timeout_s)
        self._getters.advance()
        return outcome

    async def take(
        self, ticket: str, least: int, most: int, timeout_s: float | None
    ) -> AsyncIterator[list[Entry] | Outcome]:
        """Lend so many items, when there are; `settle` says that they have arrived."""
        found = await self._getters.wait((least, most), timeout_s)
        if isinstance(found, Outcome):
            yield found
            return
        self._putters.advance()
        with self._lend(ticket, lambda: self._put_back(found)) as loan:
            yield found
            await loan.settled()

    @px.method(num_returns=0)
    async def settle(self, ticket: str) -> None:
        """See `Desk`."""
        await super().settle(ticket)
        self._settled.append(ticket)

    @px.method(num_returns=0)
    async def take_back(self, ticket: str, entries: list[Entry]) -> None:
        """The borrower was interrupted before its caller had these items.

        It cannot know whether it had settled the loan.
        """
        loan = self._loans.pop(ticket, None)
        if loan is not None:
            loan.settle()
        if loan is not None or ticket in self._settled:
            self._put_back(entries)

    async def shut_down(self, immediate: bool) -> None:
        """Take no more items; let those that are there be taken, or drop them."""
        self._shut_down = True
        if immediate:
            self._items.clear()
        self._putters.dismiss(Outcome.SHUT_DOWN)
        self._getters.advance()

    # ---- see `Line` -------------------------------------------------------------------------

    def _accept(self, entries: list[Entry]) -> Outcome | None:
        if self._shut_down:
            return Outcome.SHUT_DOWN
        if self._maxsize and len(self._items) + len(entries) > self._maxsize:
            return None
        self._items.extend(entries)
        return Outcome.DONE

    def _serve(self, wish: tuple[int, int]) -> list[Entry] | Outcome | None:
        least, most = wish
        items = self._items
        if len(items) < least:
            return Outcome.SHUT_DOWN if self._shut_down else None
        return [items.popleft() for _ in range(min(most, len(items)))]

    def _put_back(self, found: list[Entry] | Outcome) -> None:
        if not isinstance(found, Outcome):
            self._items.extendleft(reversed(found))
            self._getters.advance()
