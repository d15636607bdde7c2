"""The desks of events, barriers and counters: all who wait for one thing go on together."""

from __future__ import annotations

import asyncio
from typing import Any

from parallax.sync.desk import Desk, Line
from parallax.sync.errors import Outcome


class EventDesk(Desk):
    """A flag, and those who wait for it."""

    def __init__(self, home: str) -> None:
        super().__init__(home)
        self._is_set = False
        self._line = Line(
            lambda wish: Outcome.DONE if self._is_set else None, alone=self._alone, strict=False
        )

    async def set(self) -> None:
        """Let all go on who wait, and who come."""
        self._is_set = True
        self._line.advance()

    async def clear(self) -> None:
        """Who comes from now on waits."""
        self._is_set = False

    async def is_set(self) -> bool:
        """Whether nobody has to wait."""
        return self._is_set

    async def wait(self, timeout_s: float | None) -> Outcome:
        """Until it is set."""
        outcome: Outcome = await self._line.wait(None, timeout_s)
        return outcome


class BarrierDesk(Desk):
    """Those who have come, until all are there.

    Args:
        parties: how many all are.
    """

    def __init__(self, home: str, parties: int) -> None:
        super().__init__(home)
        self._parties = parties
        self._broken = False
        self._round = 0
        self._line = Line(self._serve, alone=self._alone)
        self._complete = False

    def facts(self) -> tuple[Any, ...]:
        """See `Desk`."""
        return (self._parties,)

    async def wait(self, timeout_s: float | None) -> int | Outcome:
        """Until all are there; which this one was of them, or why they will not be."""
        if self._broken:
            return Outcome.BROKEN
        place = len(self._line)
        if place == self._parties - 1:
            self._complete = True
            self._line.advance()
            self._complete = False
            self._round += 1
            return place
        this_round = self._round
        try:
            outcome: int | Outcome = await self._line.wait(place, timeout_s)
        except asyncio.CancelledError:
            self._leave(this_round)
            raise
        if outcome is Outcome.TIMEOUT:
            self._leave(this_round)
        return outcome

    async def state(self) -> tuple[int, bool]:
        """How many wait, and whether it is broken."""
        return len(self._line), self._broken

    async def abort(self) -> None:
        """Those who wait, and who come, need not wait for the others."""
        self._broken = True
        self._round += 1
        self._line.dismiss(Outcome.BROKEN)

    async def reset(self) -> None:
        """Start anew; those who wait now wait in vain."""
        self._broken = False
        self._round += 1
        self._line.dismiss(Outcome.BROKEN)

    def _serve(self, place: int) -> int | None:
        return place if self._complete else None

    def _leave(self, this_round: int) -> None:
        """One who had come has gone: the others would wait for ever."""
        if this_round == self._round:
            self._broken = True
            self._round += 1
            self._line.dismiss(Outcome.BROKEN)


class CounterDesk(Desk):
    """A number, and those who wait for it to grow."""

    def __init__(self, home: str, value: float) -> None:
        super().__init__(home)
        self._start = value
        self._value = value
        self._line = Line(
            lambda least: Outcome.DONE if self._value >= least else None,
            alone=self._alone,
            strict=False,
        )

    def facts(self) -> tuple[Any, ...]:
        """See `Desk`."""
        return (self._start,)

    async def add(self, amount: float) -> float:
        """Add so much; the sum."""
        return self._change(self._value + amount)

    async def put(self, value: float) -> float:
        """Set it; what it was before."""
        before = self._value
        self._change(value)
        return before

    async def compare_and_set(self, expected: float, value: float) -> bool:
        """Set it if it is as expected."""
        if self._value != expected:
            return False
        self._change(value)
        return True

    async def value(self) -> float:
        """What it is."""
        return self._value

    async def wait(self, least: float, timeout_s: float | None) -> Outcome:
        """Until it is at least so much."""
        outcome: Outcome = await self._line.wait(least, timeout_s)
        return outcome

    def _change(self, value: float) -> float:
        self._value = value
        self._line.advance()
        return value
