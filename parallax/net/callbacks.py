"""A thread for what the outside wants to be told: futures, output, notes.

Such calls run code of users and of libraries, which may take long. They get a thread of their own,
so that the one that reads and sends is never late. One after the other: a callback of a future may
`get` other results, but must not wait for another future, whose own turn comes after it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("parallax.callbacks")

DRAIN_S = 1.0
"""The end waits so long for the last output to be shown."""


class Callbacks:
    """Runs calls one after the other, in order, in a daemon thread that the first call starts."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def add(self, call: Callable[[], None]) -> bool:
        """Run this soon. Never waits; may be called under locks.

        Returns:
            Whether it will be run: not after `close`.
        """
        if self._closed:
            return False
        self._queue.put(call)
        if self._thread is None:
            # Two threads may both come here; the queue feeds both, so one thread too many would
            # break the order: the lock decides.
            with self._starting:
                if self._thread is None:
                    self._start()
        return not self._closed

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="parallax-callbacks", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is ending: nobody is there to be told any more.
            self._closed = True
            return
        self._thread = thread

    def close(self) -> None:
        """End the thread once what was added has run; wait for that, but not for long."""
        self._closed = True
        self._queue.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(DRAIN_S)

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            try:
                call()
            except Exception:
                # One that fails must not keep the others from being called.
                log.exception("a callback failed")
            del call  # what it holds must not live until the next one comes
