"""What a forked child may not use: its parent's sockets, whose threads it does not have.

`multiprocessing`, `os.fork` and the like copy a driver or an engine. The copy must never touch the
connection, nor end it. Whatever belongs to it is told to let go, and kept for as long as the child
lives, so that nothing of it is closed there.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Connected(Protocol):
    """Something that holds a connection of this process."""

    def after_fork(self) -> None:
        """This is a child now: let go. No other thread runs."""


_connected: weakref.WeakSet[Connected] = weakref.WeakSet()
_inherited: list[Connected] = []


def connected(holder: Connected) -> None:
    """Have the holder told should this process be forked."""
    _connected.add(holder)


def _after_fork() -> None:
    _inherited.extend(_connected)
    _connected.clear()
    for holder in _inherited:
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
