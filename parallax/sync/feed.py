"""What one subscriber has not read yet, at the desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from itertools import count, islice
from typing import Any

MAX_BATCH = 1000
"""Messages that travel together."""


class Feed:
    """Messages on their way to one subscriber, who reads them in batches.

    Args:
        limit: messages that wait at most; the oldest give way to new ones. None for any number.
    """

    def __init__(self, limit: int | None, *, alone: bool) -> None:
        self._limit = limit
        self._alone = alone
        self._messages: dict[Hashable, Any] = {}
        self._numbers = count()
        self._lost = 0
        self._filled = asyncio.Event()

    def push(self, message: Any, replaces: Hashable = None) -> None:
        """Add a message; one that it replaces and that was not read yet goes."""
        name = ("", next(self._numbers)) if replaces is None else replaces
        self._messages.pop(name, None)
        if self._limit is not None and len(self._messages) >= self._limit:
            del self._messages[next(iter(self._messages))]
            self._lost += 1
        self._messages[name] = message
        self._filled.set()

    async def batches(self) -> AsyncIterator[tuple[list[Any], int]]:
        """Messages as they come, with how many were lost so far; first of all an empty batch, for
        from then on nothing is missed. Inline an empty batch says that there is nothing."""
        yield [], 0
        while True:
            if not self._alone:
                await self._filled.wait()
            names = list(islice(self._messages, MAX_BATCH))
            batch = [self._messages.pop(name) for name in names]
            if not self._messages:
                self._filled.clear()
            yield batch, self._lost
