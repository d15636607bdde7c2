"""A file descriptor that one thread waits on and another one wakes."""

from __future__ import annotations

import os
import socket


class Wakeup:
    """Something to put into `poll` beside a socket. `set` may be called from any thread.

    Its descriptors are closed with the last reference to it and not before: whoever calls `set`
    holds one, so that it can never write to another file that has got the same number.
    """

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self._read = self._write = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._pair: tuple[socket.socket, socket.socket] | None = None
        else:  # macOS, Windows
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            self._read, self._write = self._pair[0].fileno(), self._pair[1].fileno()

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._read

    def set(self) -> None:
        """Wake the waiting thread, now or when it next waits."""
        try:
            if self._pair is None:
                os.eventfd_write(self._write, 1)
            else:
                self._pair[1].send(b"\0")
        except BlockingIOError:  # full: it is set already
            return

    def clear(self) -> None:
        """Forget that it was set."""
        try:
            if self._pair is None:
                os.eventfd_read(self._read)
            else:
                self._pair[0].recv(4096)
        except BlockingIOError:
            return

    def __del__(self) -> None:
        if self._pair is None:
            os.close(self._read)
        else:
            for end in self._pair:
                end.close()


class NoWakeup(Wakeup):
    """In the place of one whose descriptors are not needed any more."""

    def __init__(self) -> None:
        pass

    def fileno(self) -> int:
        """None."""
        return -1

    def set(self) -> None:
        """Nobody waits."""

    def clear(self) -> None:
        """Nothing was set."""

    def __del__(self) -> None:
        pass
