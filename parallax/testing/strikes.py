"""Signals that hit the process they are meant for, or nobody."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path

CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT))


class Victim:
    """A process of this host, held by a descriptor: its number may mean another one later.

    Args:
        pid: its number.
        name: what it calls itself; one of another name is not it.

    Raises:
        ProcessLookupError: it has ended.
    """

    def __init__(self, pid: int, name: str) -> None:
        self._pid = pid
        self._fd = os.pidfd_open(pid)
        # After the descriptor: a process that bears the name now is the one that is held, or the
        # one that is held has ended.
        if _name(pid) != name:
            os.close(self._fd)
            raise ProcessLookupError(f"process {pid} is not {name} any more")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal. One that crashes it leaves no core file.

        Raises:
            ProcessLookupError: it has ended.
        """
        if number in CRASHES:
            _, hard = resource.prlimit(self._pid, resource.RLIMIT_CORE)
            resource.prlimit(self._pid, resource.RLIMIT_CORE, (0, hard))
        signal.pidfd_send_signal(self._fd, number)

    def end(self) -> None:
        """Kill it, if it lives, and let it go."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.release()

    def release(self) -> None:
        """Let it go."""
        os.close(self._fd)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
