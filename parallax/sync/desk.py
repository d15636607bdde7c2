"""The actor's side of what is shared: a desk, where callers wait in line.

Each shared thing is one asyncio actor. A call that has to wait does so on its event loop, in the
order of arrival, and costs nothing meanwhile; one that is cancelled, or whose caller dies, leaves
the line.

What somebody *has*, a lock or items on their way, is lent: the call that lends it is a stream that
stays open until the borrower settles it. A stream ends with its reader, whatever that died of, and
then the desk takes back what it had lent.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import parallax as px
from parallax.sync.errors import Outcome

_TOKEN = secrets.token_hex(8)


def this_process() -> str:
    """A name that no other process has."""
    return f"{_TOKEN}-{os.getpid()}"


class Desk:
    """What all desks have in common.

    Args:
        home: the process of who made it. Where that is also this one, the session is inline: then
            nobody else runs while a call does, and a wait would never end.
    """

    def __init__(self, home: str) -> None:
        self._alone = home == this_process()
        self._loans: dict[str, Loan] = {}

    def facts(self) -> tuple[Any, ...]:
        """What those who find it by name should know."""
        return ()

    @px.method(num_returns=0)
    async def settle(self, ticket: str) -> None:
        """The borrower of this loan needs no more watching."""
        loan = self._loans.pop(ticket, None)
        if loan is not None:
            loan.settle()

    @contextmanager
    def _lend(self, ticket: str, take_back: Callable[[], None]) -> Iterator[Loan]:
        """Around the ``yield`` of what is lent, and a wait until it is settled.

        Args:
            take_back: called if the borrower is gone before.
        """
        loan = self._loans[ticket] = Loan(alone=self._alone)
        try:
            yield loan
        except BaseException:
            if self._loans.pop(ticket, None) is not None:
                take_back()
            raise


class Loan:
    """Something that a desk has lent."""

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._settled = asyncio.Event()

    def settle(self) -> None:
        """It needs no more watching."""
        self._settled.set()

    async def settled(self) -> None:
        """Wait until it is settled. Inline there is nobody whose death could be noticed."""
        if not self._alone:
            await self._settled.wait()


class Line:
    """Who waits for one kind of thing, first come, first served.

    Args:
        serve: what one of them wants, or None while it cannot be had; called for the first in
            line. What it returns is theirs.
        take_back: of who was served but gone by then.
        strict: one who cannot be served yet holds up those behind.
    """

    def __init__(
        self,
        serve: Callable[[Any], Any],
        take_back: Callable[[Any], None] = lambda thing: None,
        *,
        alone: bool,
        strict: bool = True,
    ) -> None:
        self._strict = strict
        self._serve = serve
        self._take_back = take_back
        self._alone = alone
        self._waiting: deque[tuple[Any, asyncio.Future[Any]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, wish: Any, timeout_s: float | None) -> Any:
        """What `serve` returns of this wish once its turn has come, or the `Outcome` instead.

        Args:
            wish: what is wanted, in the words of `serve`.
            timeout_s: to wait at most, None for ever.
        """
        if not (self._waiting and self._strict):
            found = self._serve(wish)
            if found is not None:
                return found
        if timeout_s == 0 or (self._alone and timeout_s is not None):
            return Outcome.TIMEOUT
        if self._alone:
            return Outcome.NEVER
        turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        entry = (wish, turn)
        self._waiting.append(entry)
        try:
            await asyncio.wait([turn], timeout=timeout_s)
        except asyncio.CancelledError:
            if turn.done():
                self._take_back(turn.result())
            else:
                self._leave(entry)
            raise
        if turn.done():
            return turn.result()
        self._leave(entry)
        return Outcome.TIMEOUT

    def advance(self) -> None:
        """Something has changed: serve those who can be served now."""
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            wish, turn = entry = waiting.popleft()
            found = self._serve(wish)
            if found is not None:
                turn.set_result(found)
                continue
            self._waiting.append(entry)
            if self._strict:
                self._waiting.extend(waiting)
                return

    def dismiss(self, outcome: Outcome) -> None:
        """End all waits like this."""
        waiting, self._waiting = self._waiting, deque()
        for _, turn in waiting:
            turn.set_result(outcome)

    def _leave(self, entry: tuple[Any, asyncio.Future[Any]]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
            self.advance()  # whoever was behind may be content with less
