"""Actor classes that several tests use. Nothing heavy is imported here: engines import this."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import parallax as px
from tests.conformance.gates import Gate


@px.remote
class Counter:
    """Counts, and does what else tests ask for."""

    unit = "things"

    def __init__(self, start: int = 0) -> None:
        self.value = start
        self.log: list[Any] = []

    def add(self, n: int = 1) -> int:
        """Count."""
        self.value += n
        return self.value

    def read(self) -> int:
        """How many there are."""
        return self.value

    def note(self, item: Any) -> None:
        """Keep an item."""
        self.log.append(item)

    def noted(self) -> list[Any]:
        """All items, in order."""
        return self.log

    def fail(self, error: BaseException | None = None) -> None:
        """Raise this error, or one of its own."""
        raise error or ZeroDivisionError("no")

    def stop_at(self, gate: Gate, name: str = "call") -> int:
        """Stop at the gate."""
        gate.pass_through(name)
        return self.add()

    def count_to(self, n: int) -> Iterator[int]:
        """A stream."""
        for self.value in range(n):
            yield self.value

    def pid(self) -> int:
        """Of its process."""
        return os.getpid()

    def crash(self) -> None:
        """End its process, as a segmentation fault would."""
        os._exit(3)

    def leave(self) -> None:
        """End it as it wants."""
        px.exit_actor()

    def context(self) -> Any:
        """Where it runs."""
        return px.get_runtime_context()
