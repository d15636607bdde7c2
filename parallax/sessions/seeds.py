"""Seeds of tasks: from the session's seed and the order of submission, and nothing else."""

from __future__ import annotations

import hashlib
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from parallax.pool.returned import seed_generators

UNSEEDED = -1
"""The seed of a task in a session without one."""


def seed_base(seed: int) -> int:
    """Where the seeds of a run start: far from those of other runs, and positive."""
    digest = hashlib.blake2b(str(seed).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


class Seeds:
    """The seeds of what one session, or one task, submits. Thread-safe.

    Args:
        seed: of the session or task; None or `UNSEEDED` for none.
    """

    def __init__(self, seed: int | None) -> None:
        self._next = UNSEEDED if seed is None or seed == UNSEEDED else seed_base(seed)
        self._lock = threading.Lock()

    def take(self, count: int = 1) -> int:
        """The first of so many consecutive seeds; `UNSEEDED` when there are none."""
        if self._next == UNSEEDED:
            return UNSEEDED
        with self._lock:
            first = self._next
            self._next += count
        return first


class OwnGenerators:
    """`random` and NumPy's legacy generator as one seeded task sees them.

    For tasks that share a process with the code that submitted them: each goes on with its own
    numbers, and leaves those of the others as they were.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._state: tuple[Any, Any] | None = None

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The task runs, or goes on."""
        if self._seed == UNSEEDED:
            yield
            return
        others = _get_state()
        if self._state is None:
            seed_generators(self._seed)
        else:
            _set_state(self._state)
        try:
            yield
        finally:
            self._state = _get_state()
            _set_state(others)


def _get_state() -> tuple[Any, Any]:
    numpy = sys.modules.get("numpy")
    return random.getstate(), numpy.random.get_state() if numpy is not None else None


def _set_state(state: tuple[Any, Any]) -> None:
    ours, numpys = state
    random.setstate(ours)
    if numpys is not None:
        sys.modules["numpy"].random.set_state(numpys)
