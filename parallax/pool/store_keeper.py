"""The node agent's part in the store: it frees what nobody else will."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from parallax.pool.config import PoolConfig
from parallax.store.shared import SharedStore

IDLE_S = 10.0
"""Warm segments that nobody wanted for so long are given back."""
LOST_AFTER_S = 2.0
"""From an engine's end until all that it had sent has been heard of for sure."""


class StoreKeeper:
    """Frees the segments of processes that have ended.

    Mostly the hub says which. What a process had written and not yet announced when it was killed
    is found here, by comparing with what the hub knows.
    """

    def __init__(self, config: PoolConfig) -> None:
        self._store = SharedStore(
            Path(config.store), limit_bytes=config.store_limit_bytes, spill_dir=Path(config.spill)
        )
        self._trim_due = time.monotonic() + IDLE_S
        self._look_due = float("inf")
        self._last_end = 0.0

    def free(self, names: Iterable[str]) -> None:
        """Their values are not wanted any more; whoever writes next may reuse the memory."""
        for name in names:
            self._store.free(name)

    def engine_ended(self) -> None:
        """It may have left something behind."""
        self._last_end = time.monotonic()
        # Not later for one that ends just after another: where they end all the time nothing
        # would ever be freed.
        self._look_due = min(self._look_due, self._last_end + LOST_AFTER_S)

    def tidy(self) -> list[str]:
        """Do what is due. Returns the names that the hub should be asked about, if any.

        Takes about a microsecond an object.
        """
        now = time.monotonic()
        if now >= self._trim_due:
            self._trim_due = now + IDLE_S
            self._store.trim(IDLE_S)
        if now < self._look_due:
            return []
        # Of those that have ended meanwhile something may still be under way.
        heard_of_all = self._last_end + LOST_AFTER_S
        self._look_due = heard_of_all if heard_of_all > now else float("inf")
        return list(self._store)

    def close(self) -> None:
        """Close the store's files; what is in it stays."""
        self._store.close()
