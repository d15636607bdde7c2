"""Actors that enter their calls in a file, and a task that calls them. It imports next to nothing:
new engines import it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A call that was begun."""

    life: str
    """The process of the actor."""
    caller: str
    number: int


def entries(path: Path) -> list[Entry]:
    """What a ledger has in it, in the order of the calls."""
    rows = (line.split(",") for line in path.read_text().splitlines())
    return [Entry(life, caller, int(number)) for life, caller, number in rows]


class Ledger:
    """Enters each call as it begins, in one system call."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def enter(self, caller: str, number: int, pause_s: float = 0.0) -> int:
        self._write(caller, number)
        time.sleep(pause_s)
        return number

    def _write(self, caller: str, number: int) -> None:
        os.write(self.file, f"{os.getpid()},{caller},{number}\n".encode())


class AsyncLedger(Ledger):
    """The same on an event loop."""

    async def enter(  # type: ignore[override]
        self, caller: str, number: int, pause_s: float = 0.0
    ) -> int:
        self._write(caller, number)
        await asyncio.sleep(pause_s)
        return number


def call_in_turn(actors: dict[str, Any], name: str, count: int) -> list[int]:
    """Call each actor so many times; all their answers."""
    import parallax as px  # late: the actors do without

    # An attempt that crashed was another caller.
    caller = f"{name} in {os.getpid()}"
    refs = {
        kind: [actor.enter.remote(caller, number) for number in range(count)]
        for kind, actor in actors.items()
    }
    return [value for mine in refs.values() for value in px.get(mine)]
