"""What a task prints, on its way to the cell that submitted it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import TextIO

from parallax.pool.context import TaskContext

FLUSH_S = 0.05
MAX_BYTES = 32 * 1024
MAX_MESSAGE_CHARS = 1 << 20


class TaskOutput(io.TextIOBase):
    """A text stream that stands in for `sys.stdout` or `sys.stderr` in an engine.

    Text is gathered into lines and sent when a task ends, when there is much of it, or when the
    last piece was sent a while ago. Outside of tasks it goes to the engine's log.

    Args:
        send: takes the text and the task that wrote it, under no lock.
        writer: the task that the calling code belongs to, None outside of tasks.
        log: the stream for everything else.
    """

    def __init__(
        self,
        send: Callable[[TaskContext, str], None],
        writer: Callable[[], TaskContext | None],
        log: TextIO,
    ):
        self._send = send
        self._writer = writer
        self._owner: TaskContext | None = None
        """Whose the gathered pieces are."""
        self._log = log
        self._lock = threading.Lock()
        self._pieces: list[str] = []
        self._size = 0
        self._sent_at = 0.0

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As any text stream has one."""
        return "utf-8"

    def writable(self) -> bool:
        """Yes."""
        return True

    def isatty(self) -> bool:
        """No: there is a notebook at the other end."""
        return False

    def fileno(self) -> int:
        """The descriptor of the engine's log, for subprocesses and faulthandler."""
        return self._log.fileno()

    def write(self, text: str) -> int:
        """Take a piece of text."""
        writer = self._writer()
        if writer is None:
            return self._log.write(text)
        if self._owner is not writer and self._pieces:
            self.flush()
        with self._lock:
            self._owner = writer
            self._pieces.append(text)
            self._size += len(text)
            due = self._size > MAX_BYTES or (
                "\n" in text and time.monotonic() - self._sent_at > FLUSH_S
            )
        if due:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what was gathered."""
        if not self._pieces:
            return
        with self._lock:
            text, self._pieces, self._size = "".join(self._pieces), [], 0
            owner = self._owner
            self._sent_at = time.monotonic()
        # In slices: whatever a task prints, a message is never too large to be sent.
        for start in range(0, len(text) if owner is not None else 0, MAX_MESSAGE_CHARS):
            assert owner is not None
            self._send(owner, text[start : start + MAX_MESSAGE_CHARS])
