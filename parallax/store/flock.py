"""`flock`: the one means by which the processes of a store keep out of each other's way.

A flock belongs to an *open file description*: what `open` makes, and what `dup`, `fork` and a
memory mapping share. So it lives until the last descriptor *and* the last mapping made from that
`open` are gone, in forked children too, and the kernel lets go of it when a process is killed.
An explicit unlock takes it from all of them at once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from parallax.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows has no flock; saying so can wait until a store is opened
    fcntl = None  # type: ignore[assignment]

_Result = TypeVar("_Result")


def require_flock() -> None:
    """Raise `UsageError` where the system has no flock."""
    if fcntl is None:
        raise UsageError(
            "the shared object store needs flock, which this system lacks; "
            'use parallax.init("inline") here'
        )


def share(fd: int) -> None:
    """Take the shared lock; waits while another holds the exclusive one."""
    fcntl.flock(fd, fcntl.LOCK_SH)


def seize(fd: int) -> None:
    """Take the exclusive lock; waits while anybody else holds either."""
    fcntl.flock(fd, fcntl.LOCK_EX)


def try_seize(fd: int) -> bool:
    """Take the exclusive lock if nobody else holds either; never waits."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def release(fd: int) -> None:
    """Let go of the lock, for every process that shares this open file description."""
    fcntl.flock(fd, fcntl.LOCK_UN)


class FileLock:
    """Mutual exclusion between threads and between processes. Not reentrant.

    An uncontended run costs about 1 µs. A killed holder lets go at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._fd: int | None = None  # opened by the first use

    def run(self, action: Callable[..., _Result], *args: object) -> _Result:
        """``action(*args)`` while nobody else is inside.

        Not a context manager on purpose. A `KeyboardInterrupt` can strike between a lock's
        acquisition and the ``with`` body; the traceback that IPython keeps would then keep the
        lock as well. Here every point after the acquisition lies within the ``try``.
        """
        with self._threads:
            try:
                if self._fd is None:
                    self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                seize(self._fd)
                return action(*args)
            finally:
                # Straight to C: a Python function in between could be interrupted at its start.
                if self._fd is not None:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)

    def after_fork(self) -> None:
        """Make the lock this child's own: the inherited one is its parent's."""
        self._threads = threading.Lock()
        self._close()

    def close(self) -> None:
        """Close the file, once nobody is inside."""
        with self._threads:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
