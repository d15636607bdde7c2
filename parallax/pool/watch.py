"""Know when a process has ended, from the kernel and not from its silence.

On Linux a pidfd turns readable as the process ends. Elsewhere the pid is looked up now and then.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

POLL_S = 0.5


class ProcessWatch:
    """Watches processes by key. `add` returns a descriptor to poll, or -1."""

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._gone: list[int] = []

    @property
    def interval_s(self) -> float:
        """How long to sleep at most so that `ended` is asked often enough."""
        if self._gone:
            return 0.0
        return POLL_S if self._processes else float("inf")

    def __contains__(self, fd: object) -> bool:
        return fd in self._keys

    def add(self, key: int, pid: int) -> int:
        """Watch a process of this host.

        One that cannot be watched (no descriptor is left, no such number) counts as ended, unless
        looking it up finds it.
        """
        if not hasattr(os, "pidfd_open"):
            self._look_up(key, pid)
            return -1
        try:
            fd = os.pidfd_open(pid)
        except (OSError, OverflowError):
            self._look_up(key, pid)
            return -1
        self._fds[key] = fd
        self._keys[fd] = key
        return fd

    def _look_up(self, key: int, pid: int) -> None:
        import psutil

        try:
            self._processes[key] = psutil.Process(pid)
        except (psutil.NoSuchProcess, ValueError, OverflowError):
            self._gone.append(key)

    def fd(self, key: int) -> int:
        """The descriptor of a watched process, -1 when it has none."""
        return self._fds.get(key, -1)

    def discard(self, key: int) -> None:
        """Watch it no more, and close its descriptor."""
        self._processes.pop(key, None)
        fd = self._fds.pop(key, -1)
        if fd >= 0:
            del self._keys[fd]
            os.close(fd)

    def ended(self, ready: Container[int]) -> Iterator[int]:
        """The keys of processes that have ended.

        Args:
            ready: the descriptors that polled readable.
        """
        yield from [key for fd, key in list(self._keys.items()) if fd in ready]
        gone, self._gone = self._gone, []
        yield from gone
        for key, process in list(self._processes.items()):
            if not process.is_running() or process.status() == "zombie":
                del self._processes[key]
                yield key

    def close(self) -> None:
        """Close all descriptors."""
        for key in list(self._fds):
            self.discard(key)
