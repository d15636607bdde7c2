"""The thread that writes the hub's journal, so that the hub never waits for a disk."""

from __future__ import annotations

import queue
import signal
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from parallax.core.journal import Journalled
from parallax.core.outbox import Journal as Order
from parallax.messages import Failure
from parallax.pool.config import PoolConfig

FLUSH_S = 3.0
"""For what is still to be written when the hub stops."""
_OURS = ("journal", "internal")
"""Failures that are not those of a kept task: the log has them, whoever is told besides."""


class Scribe:
    """Takes orders in the hub's thread, and does them in one of its own, in order and in batches.

    It begins with the first order: a pool that keeps nothing has neither the thread nor SQLite.

    Args:
        wake: called in the scribe's thread when `take` has something.
        note: gets what is to be logged, in the scribe's thread.
    """

    def __init__(
        self, config: PoolConfig, wake: Callable[[], None], note: Callable[[str], None]
    ) -> None:
        self._config = config
        self._wake = wake
        self._note = note
        self._orders: queue.SimpleQueue[list[Order] | None] = queue.SimpleQueue()
        self._done: deque[Journalled] = deque()
        self._has_done = threading.Event()
        self._thread: threading.Thread | None = None

    def order(self, orders: list[Order]) -> None:
        """Have these done, in one transaction. Returns at once."""
        if self._thread is None:
            # A daemon: a disk that hangs must not keep the hub from ending.
            self._thread = threading.Thread(target=self._run, name="parallax-scribe", daemon=True)
            self._thread.start()
        self._orders.put(orders)

    def take(self) -> list[Journalled]:
        """What was done since last asked."""
        done = []
        while self._done:
            done.append(self._done.popleft())
        return done

    def wait(self, timeout_s: float) -> bool:
        """Wait until something was done, for the first time; whether it was."""
        return self._has_done.wait(timeout_s)

    def close(self) -> None:
        """Do what was ordered, for some seconds at most, and let the next hub have the journal."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join(FLUSH_S)

    def _run(self) -> None:
        # Signals are the main thread's: one that comes here would not wake it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        from parallax.pool.journal import Journal  # here: most hubs do without SQLite
        from parallax.store.shared import SharedStore

        config = self._config
        store = SharedStore(
            Path(config.store), limit_bytes=config.store_limit_bytes, spill_dir=Path(config.spill)
        )
        journal = Journal(Path(config.journal), store, lasting=bool(config.name))
        while batch := self._batch():
            try:
                done = journal.apply(batch)
            except Exception as error:  # noqa: BLE001 - a bug here must not leave callers waiting
                failure = Failure("internal", f"the journal failed: {error!r}")
                done = [Journalled(order.ticket, failure=failure) for order in batch]
            for text in journal.notes:
                self._note(text)
            journal.notes.clear()
            for one in done:
                if one.failure is not None and one.failure.kind in _OURS:
                    self._note(one.failure.message)
            self._done.extend(done)
            self._has_done.set()
            self._wake()
        journal.close()
        store.close()

    def _batch(self) -> list[Order]:
        """What is there to do, at least one order; empty at the end."""
        batch: list[Order] = []
        while not batch or not self._orders.empty():
            orders = self._orders.get()
            if orders is None:
                self._orders.put(None)  # found again once this batch is done
                break
            batch += orders
        return batch
