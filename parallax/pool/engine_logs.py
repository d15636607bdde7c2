"""The log files of one host's engines: what C code printed and how they crashed."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from pathlib import Path

TAIL_BYTES = 4000
KEPT_LOGS = 20
"""Of engines that have ended."""
LIMIT_BYTES = 16 << 20
"""A longer log is emptied: a task may print without end."""

_PACKAGE = Path(__file__).parent.parent
_CRASHES = ("Fatal Python error", "Traceback (most recent call last)")


def log_path(folder: Path, engine: int) -> Path:
    """Where the log of this engine is."""
    return folder / f"engine-{engine}.log"


class EngineLogs:
    """Looked after by the node agent; engines only append."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended: deque[int] = deque()

    def last_words(self, engine: int) -> str:
        """Where an engine crashed, if it could say."""
        try:
            with open(log_path(self._folder, engine), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        start = max(text.rfind(crash) for crash in _CRASHES)
        return _of_the_task(text[start:].strip()) if start >= 0 else ""

    def ended(self, engine: int) -> None:
        """An engine is gone: keep its log for a while, unless there is nothing in it."""
        path = log_path(self._folder, engine)
        with contextlib.suppress(FileNotFoundError):
            if not path.stat().st_size:
                path.unlink()
                return
            self._ended.append(engine)
            if len(self._ended) > KEPT_LOGS:
                log_path(self._folder, self._ended.popleft()).unlink()

    def bound(self) -> None:
        """Empty the logs that have grown too long; whoever appends goes on at the start."""
        for path in self._folder.glob("*.log"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size > LIMIT_BYTES:
                    os.truncate(path, 0)


def _of_the_task(text: str) -> str:
    """Of a fatal error the thread that had it, down to the frame where the task began."""
    what, *lines = text.splitlines()
    if not what.startswith("Fatal Python error"):
        return text
    frames = []
    of_current = False
    for line in lines:
        if not line.startswith("  File "):
            of_current = line.startswith("Current thread")
        elif of_current:
            if line.startswith(f'  File "{_PACKAGE}'):
                break
            frames.append(line)
    return "\n".join([what, *frames])
