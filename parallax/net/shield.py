"""Keep a KeyboardInterrupt out of code that must not stop half way.

A SIGINT makes Python raise KeyboardInterrupt between any two bytecodes of the main thread. In
the middle of reading a socket that would lose messages: a result gone is a `get` that never
returns. Inside `with shield:` the interrupt is only noted; it is raised as the block ends.
Masking the signal is not enough: another thread may receive it, and the handler still runs here.

A block that waits must not sit an interrupt out: it looks at `noted`, and `on_note` wakes it.
"""

from __future__ import annotations

import os
import threading

# The C functions under `signal.signal`, whose enum conversions cost ten times as much. A round
# trip passes here several times.
from _signal import SIGINT, getsignal, raise_signal  # type: ignore[import-not-found]
from _signal import signal as set_handler
from collections.abc import Callable
from types import FrameType
from typing import Any

_main = threading.main_thread().ident


def is_main_thread() -> bool:
    """Whether this is the thread that interrupts are raised in."""
    return threading.get_ident() == _main


class Shield:
    """A context manager that defers SIGINT in the main thread and costs next to nothing.

    Re-entrant. It replaces the handler for the length of the block, whatever the handler is (a
    notebook kernel installs a new one for each cell), and hands over to it afterwards.

    Args:
        on_note: called in the main thread, between any two bytecodes of the block, when an
            interrupt comes. It must take no lock.
    """

    __slots__ = ("_depth", "_handler", "_on_note", "noted")

    def __init__(self, on_note: Callable[[], None] | None = None) -> None:
        self.noted = False
        """Whether an interrupt waits for the block to end. To be read in the main thread."""
        self._depth = 0
        self._handler: Any = None
        self._on_note = on_note

    def __enter__(self) -> None:
        if threading.get_ident() == _main:
            if self._depth == 0:
                handler = getsignal(SIGINT)
                if callable(handler):
                    set_handler(SIGINT, self._note)
                    self._handler = handler
            self._depth += 1

    def __exit__(self, *error: object) -> None:
        if threading.get_ident() != _main:
            return
        self._depth -= 1
        if self._depth == 0 and self._handler is not None:
            handler, self._handler = self._handler, None
            try:
                set_handler(SIGINT, handler)
            except BaseException:
                # 1. One was noted. 2. The handler is back. 3. Another one came, and raises here:
                # it stands for both.
                self.noted = False
                raise
            if self.noted:
                self.noted = False
                raise_signal(SIGINT)

    def forget(self) -> None:
        """After a fork, in the child: if the main thread was in a block, it does not exist here."""
        self._depth = 0
        self.noted = False
        handler, self._handler = self._handler, None
        if handler is not None:
            set_handler(SIGINT, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = True
        if self._on_note is not None:
            self._on_note()


def _find_main_thread() -> None:
    global _main
    _main = threading.get_ident()  # the thread that forks is the only one of its child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)
