"""Show what the pool's own processes have logged.

What tasks print is not here: it goes to the notebook that submitted them, and is kept with their
job (parallax.jobs()[0].output()). Here are the hub's notes, what C libraries print, and the
stack of an engine that crashed.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parallax
from parallax import Pool
from parallax.cli.arguments import Commands, add_command, add_name
from parallax.cli.choose import choose
from parallax.cli.output import complain
from parallax.errors import UsageError

FOLLOW_S = 0.2


def add(commands: Commands) -> None:
    """Declare the arguments."""
    parser = add_command(commands, "logs", "show the pool's logs", sys.modules[__name__])
    add_name(parser)
    parser.add_argument("--engine", type=int, metavar="N", help="only those of this engine")
    parser.add_argument("--lines", type=int, default=100, help="the last N of each file (100)")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until the pool ends")


def run(options: Any) -> int:
    """Print the logs, each line with who wrote it."""
    if options.lines < 0:
        raise UsageError(f"--lines {options.lines} must be at least 0.")
    pool = choose(options.name)
    reader = _Reader(pool, options.engine)
    try:
        lines = list(reader.last(options.lines))
        for source, line in lines:
            _print(source, line, as_json=options.json)
        if not lines and not options.json and not options.follow:
            complain(f"{pool.name} has logged nothing yet.")
        while options.follow:
            running = _runs(pool)  # asked before the files are read: its last words are in them
            for source, line in reader.more():
                _print(source, line, as_json=options.json)
            if not running:
                break
            time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        return 0  # the way to leave --follow
    return 0


class _Reader:
    """The lines of several files that grow."""

    def __init__(self, pool: Pool, engine: int | None) -> None:
        self._pool = pool
        self._engine = engine
        self._positions: dict[str, int] = {}
        if engine is not None and f"engine {engine}" not in pool.logs:
            there = ", ".join(name for name in pool.logs if name != "hub") or "none"
            raise UsageError(f"{pool.name} has no log of engine {engine}. There are: {there}.")

    def last(self, count: int) -> Iterator[tuple[str, str]]:
        """The last lines of each file."""
        for source, path in self._files():
            for line in deque(self._read(source, path), maxlen=count):
                yield source, line

    def more(self) -> Iterator[tuple[str, str]]:
        """Lines that were written since."""
        for source, path in self._files():
            for line in self._read(source, path):
                yield source, line

    def _files(self) -> Iterator[tuple[str, Path]]:
        for source, path in self._pool.logs.items():
            if self._engine is None or source == f"engine {self._engine}":
                yield source, path

    def _read(self, source: str, path: Path) -> Iterator[str]:
        try:
            with path.open("rb") as file:
                file.seek(self._positions.get(source, 0))
                for line in file:
                    yield line.decode(errors="replace").rstrip("\n")
                self._positions[source] = file.tell()
        except FileNotFoundError:  # the pool has ended
            return


def _runs(pool: Pool) -> bool:
    return any(other.cluster == pool.cluster for other in parallax.pools())


def _print(source: str, line: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"source": source, "line": line}), flush=True)
    else:
        print(f"{source:9} | {line}", flush=True)
