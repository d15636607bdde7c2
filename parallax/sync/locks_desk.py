"""The desk of a lock or a semaphore."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import parallax as px
from parallax.sync.desk import Desk, Line
from parallax.sync.errors import Outcome


class SemaphoreDesk(Desk):
    """Lends places, and keeps those who wait for one.

    Args:
        value: places in all.
    """

    def __init__(self, home: str, value: int) -> None:
        super().__init__(home)
        self._value = value
        self._free = value
        self._line = Line(self._serve, lambda outcome: self._give_back(), alone=self._alone)

    def facts(self) -> tuple[Any, ...]:
        """See `Desk`."""
        return (self._value,)

    async def free(self) -> int:
        """How many places nobody has."""
        return self._free

    async def hold(self, ticket: str, timeout_s: float | None) -> AsyncIterator[Outcome]:
        """Lend a place, when there is one, until `release` or the holder's end."""
        outcome = await self._line.wait(None, timeout_s)
        if outcome is not Outcome.DONE:
            yield outcome
            return
        with self._lend(ticket, self._give_back) as loan:
            yield outcome
            await loan.settled()

    @px.method(num_returns=0)
    async def release(self, ticket: str) -> None:
        """The holder needs the place no more."""
        loan = self._loans.pop(ticket, None)
        if loan is not None:
            loan.settle()
            self._give_back()

    def _serve(self, wish: None) -> Outcome | None:
        if not self._free:
            return None
        self._free -= 1
        return Outcome.DONE

    def _give_back(self) -> None:
        self._free += 1
        self._line.advance()
