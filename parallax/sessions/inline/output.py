"""Keep what tasks print while it goes where it always goes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class OutputRecorder:
    """Stands in for `sys.stdout` and `sys.stderr` while tasks run in this process.

    Args:
        keep: called with the stream's name and each text, in the thread that writes.
    """

    def __init__(self, keep: Callable[[str, str], None]) -> None:
        self._keep = keep
        self._depth = 0
        self._lock = threading.Lock()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record inside the block. Blocks nest, and may overlap in several threads."""
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                sys.stdout = _Recorded(sys.stdout, self._keep, "stdout")
                sys.stderr = _Recorded(sys.stderr, self._keep, "stderr")
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    # What a task has put there itself stays.
                    if isinstance(sys.stdout, _Recorded):
                        sys.stdout = sys.stdout.stream
                    if isinstance(sys.stderr, _Recorded):
                        sys.stderr = sys.stderr.stream


class _Recorded:
    """A stream that keeps a copy of what is written; else it is the stream itself.

    A debugger's prompt needs the stream as it is: `fileno`, `isatty`, `encoding`.
    """

    def __init__(self, stream: TextIO, keep: Callable[[str, str], None], name: str) -> None:
        self.stream = stream
        self._keep = keep
        self._name = name

    def write(self, text: str) -> int:
        self._keep(self._name, text)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
