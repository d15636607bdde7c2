"""The desk of a shared cache."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator
from typing import Any

from parallax.sync.desk import Desk
from parallax.sync.entries import Entry
from parallax.sync.feed import Feed

Key = str | int | bytes | tuple[Any, ...]
Row = tuple[Entry, int]
"""What is under a key, and its version."""


class KeyValueDesk(Desk):
    """Values by key, until they expire. Each change has a version of its own, counted from 1."""

    def __init__(self, home: str) -> None:
        super().__init__(home)
        self._rows: dict[Key, Row] = {}
        self._version = 0
        self._expiries: list[tuple[float, int, Key]] = []
        """When which version of which key expires; the earliest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._feeds: dict[Feed, Key | None] = {}

    async def get(self, keys: list[Key]) -> list[Row | None]:
        """What is there under each of these keys."""
        self._expire()
        return [self._rows.get(key) for key in keys]

    async def keys(self) -> list[Key]:
        """All keys, the oldest first."""
        self._expire()
        return list(self._rows)

    async def put(self, items: dict[Key, Entry], ttl_s: float | None) -> None:
        """Set these, all at once."""
        self._expire()
        for key, entry in items.items():
            self._set(key, entry, ttl_s)

    async def swap(self, key: Key, version: int, entry: Entry, ttl_s: float | None) -> bool:
        """Set this one if it is still of this version, 0 for none; whether it was."""
        self._expire()
        row = self._rows.get(key)
        if (row[1] if row is not None else 0) != version:
            return False
        self._set(key, entry, ttl_s)
        return True

    async def remove(self, keys: list[Key] | None) -> list[Row | None]:
        """Take these out, or all there are; what was there."""
        self._expire()
        return [self._remove(key) for key in (list(self._rows) if keys is None else keys)]

    async def watch(self, key: Key | None) -> AsyncIterator[Any]:
        """What becomes of this key, or of all, from now on; see `Feed`."""
        feed = Feed(None, alone=self._alone)
        self._feeds[feed] = key
        try:
            async for batch in feed.batches():
                yield batch
        finally:
            del self._feeds[feed]

    # ---- the rows ---------------------------------------------------------------------------

    def _set(self, key: Key, entry: Entry, ttl_s: float | None) -> None:
        self._version += 1
        self._rows[key] = (entry, self._version)
        if ttl_s is not None:
            heapq.heappush(self._expiries, (time.monotonic() + ttl_s, self._version, key))
            self._wind_up()
        self._tell(key, entry)

    def _remove(self, key: Key) -> Row | None:
        row = self._rows.pop(key, None)
        if row is not None:
            self._tell(key)
        return row

    def _tell(self, key: Key, *entry: Entry) -> None:
        for feed, wanted in self._feeds.items():
            if wanted is None or wanted == key:
                feed.push((key, *entry), replaces=key)

    # ---- time -------------------------------------------------------------------------------

    def _expire(self) -> None:
        now = time.monotonic()
        while self._expiries and self._expiries[0][0] <= now:
            _, version, key = heapq.heappop(self._expiries)
            row = self._rows.get(key)
            if row is not None and row[1] == version:
                self._remove(key)

    def _wind_up(self) -> None:
        """See to it that what expires goes even if nobody asks. Inline somebody has to."""
        if self._alone:
            return
        if self._timer is not None:
            self._timer.cancel()
        rest_s = self._expiries[0][0] - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, rest_s), self._strike)

    def _strike(self) -> None:
        self._timer = None
        self._expire()
        if self._expiries:
            self._wind_up()
