"""A process that uses a store as it is told, line by line: ``python worker.py ROOT SPILL LIMIT``.

Each line is a JSON list, a function's name and its arguments; each answer is a line too.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from parallax.store import janitor
from parallax.store.segment import Segment
from parallax.store.shared import SharedStore


class Worker:
    """What a process can be told to do."""

    def __init__(self, root: str, spill_dir: str, limit_bytes: str) -> None:
        self._root = Path(root)
        self._store = SharedStore(
            self._root, limit_bytes=int(limit_bytes), spill_dir=Path(spill_dir)
        )
        self._views: dict[str, np.ndarray[Any, Any]] = {}

    def put(self, name: str, size: int, value: int) -> None:
        self._store[name] = np.full(size, value, "u1")

    def view(self, name: str) -> None:
        """Read and keep."""
        self._views[name] = self._store[name]

    def values(self, name: str) -> list[int]:
        """Which values the kept view consists of."""
        return [int(value) for value in np.unique(self._views[name])]

    def forget(self, name: str) -> None:
        del self._views[name]

    def free(self, name: str) -> bool:
        return self._store.free(name)

    def trim(self) -> int:
        return self._store.trim(0)

    def lease(self) -> None:
        janitor.hold_lease(self._root)

    def fork(self) -> int:
        """A child that keeps what this process has, until it is killed. Returns its pid."""
        pid = os.fork()
        if pid == 0:
            signal.pause()
        return pid

    def fork_and_use(self) -> list[int]:
        """A child that reads an inherited view and puts and reads an object of its own."""
        inner, outer = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._store["child"] = np.full(2_000_000, 9, "u1")
            seen = [self.values(name)[0] for name in self._views]
            seen.append(int(self._store["child"][5]))
            os.write(outer, json.dumps(seen).encode())
            os._exit(0)
        os.close(outer)
        with os.fdopen(inner, "rb") as result:
            seen = json.loads(result.read())
        os.waitpid(pid, 0)
        return list(seen)

    def die_while_writing(self, size: int) -> None:
        def die(self: Segment, pieces: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        Segment.write = die  # type: ignore[method-assign]
        self.put("never", size, 1)

    def hammer(self, seed: int, rounds: int) -> int:
        """Put, read, keep, compare and free at random. Returns how many views were compared."""
        chance = random.Random(seed)
        kept: list[tuple[np.ndarray[Any, Any], int]] = []
        compared = 0
        for _ in range(rounds):
            name = f"shared-{chance.randrange(12)}"
            act = chance.randrange(8)
            if act < 3:
                size = chance.choice((1_000, 80_000, 1_200_000, 1_300_000, 3_000_000))
                self._store[name] = np.full(size, chance.randrange(256), "u1")
            elif act < 6:
                view = self._store.get(name)
                if view is not None:
                    kept.append((view, int(view[0])))
            else:
                self._store.free(name)
            if len(kept) > 6:
                kept.pop(chance.randrange(len(kept)))
            for view, value in kept:
                assert (view == value).all(), (view, value)
                compared += 1
        return compared


def main() -> None:
    worker = Worker(*sys.argv[1:])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        function, *arguments = json.loads(line)
        print(json.dumps(getattr(worker, function)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
