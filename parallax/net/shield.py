"""Keep a KeyboardInterrupt out of code that must not stop half way.

A SIGINT makes Python raise KeyboardInterrupt between any two bytecodes of the main thread. In
the middle of reading a socket that would lose messages: a result gone is a `get` that never
returns. Inside `with shield:` the interrupt is only noted; it is raised as the block ends.
Masking the signal is not enough: another thread may receive it, and the handler still runs here.
"""

from __future__ import annotations

import threading

# The C functions under `signal.signal`, whose enum conversions cost ten times as much. A round
# trip passes here several times.
from _signal import SIGINT, getsignal  # type: ignore[import-not-found]
from _signal import signal as set_handler
from types import FrameType
from typing import Any

_MAIN = threading.main_thread().ident


class Shield:
    """A context manager that defers SIGINT in the main thread and costs next to nothing.

    Re-entrant. It replaces the handler for the length of the block, whatever the handler is (a
    notebook kernel installs a new one for each cell), and hands over to it afterwards.
    """

    __slots__ = ("_depth", "_handler", "_noted")

    def __init__(self) -> None:
        self._depth = 0
        self._handler: Any = None
        self._noted = False

    def __enter__(self) -> None:
        if threading.get_ident() == _MAIN:
            if self._depth == 0:
                handler = getsignal(SIGINT)
                if callable(handler):
                    set_handler(SIGINT, self._note)
                    self._handler = handler
            self._depth += 1

    def __exit__(self, *error: object) -> None:
        if threading.get_ident() != _MAIN:
            return
        self._depth -= 1
        if self._depth == 0 and self._handler is not None:
            handler, self._handler = self._handler, None
            set_handler(SIGINT, handler)
            if self._noted:
                self._noted = False
                handler(SIGINT, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = True
