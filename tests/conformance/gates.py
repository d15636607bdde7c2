"""How tests and tasks wait for each other: through files, which work between all processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 30.0


def wait_until(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until the condition holds.

    Raises:
        AssertionError: it does not, in all that time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not hold within {timeout_s:g} s"
        time.sleep(0.002)


class Gate:
    """Tasks stop here until the test opens it, and the test waits until they have come."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        Path(folder).mkdir(exist_ok=True)

    def pass_through(self, name: str = "task") -> None:
        """In a task: say that it is here, and wait until the gate is open."""
        self.note(name)
        wait_until(self.is_open)

    def note(self, name: str = "task") -> None:
        """In a task: say that it is here."""
        Path(self.folder, f"{name}-{os.getpid()}-{time.monotonic_ns()}").touch()

    def open(self) -> None:
        """Let everybody through, from now on."""
        Path(self.folder, "open").touch()

    def is_open(self) -> bool:
        """Whether it was opened."""
        return Path(self.folder, "open").exists()

    def count(self, name: str = "task") -> int:
        """How often somebody of this name has come."""
        return len(list(Path(self.folder).glob(f"{name}-*")))

    def wait_for(self, count: int, name: str = "task") -> None:
        """Wait until so many have come."""
        wait_until(lambda: self.count(name) >= count)
