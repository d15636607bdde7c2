"""Show what tasks print: under the cell that submitted them, and before their results."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections import deque
from collections.abc import Callable

from parallax.messages import Said

MAX_JOBS = 1000
"""Jobs whose place of output is remembered: the newest."""


class TaskPrinter:
    """Prints in the context of the code that opened the job, whichever thread does it.

    A notebook kernel tells by the context which cell a text belongs to.

    Args:
        later: runs a call soon in another thread.
    """

    def __init__(self, later: Callable[[Callable[[], None]], object]) -> None:
        self._later = later
        self._lock = threading.Lock()
        self._said: deque[Said] = deque()
        self._contexts: dict[int, contextvars.Context] = {}

    def open(self, job: int) -> None:
        """Output of this job goes where output of the caller goes."""
        self._contexts[job] = contextvars.copy_context()
        if len(self._contexts) > MAX_JOBS:
            del self._contexts[next(iter(self._contexts))]

    def take(self, said: Said) -> None:
        """Accept a piece of output. Never waits; may be called under locks."""
        self._said.append(said)
        self._later(self.print)

    def print(self) -> None:
        """Print all that was accepted, in order.

        Whoever has just got a value calls this too: what its task printed arrived before it.
        """
        if not self._said:
            return
        with self._lock:
            while self._said:
                said = self._said.popleft()
                context = self._contexts.get(said.job)
                if context is None:
                    _write(said)
                else:
                    context.run(_write, said)


def _write(said: Said) -> None:
    stream = sys.stderr if said.stream == "stderr" else sys.stdout
    stream.write(said.text)
    stream.flush()
