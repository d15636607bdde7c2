"""What processes that have joined a pool say as their interpreters end.

A call that was made just before may not have left yet. The pool goes on, so it is to have all that
it was told.
"""

from __future__ import annotations

import atexit
from weakref import WeakSet

from parallax.messages import Left
from parallax.pool.client import Client

_joined: WeakSet[Client] = WeakSet()


def leave_at_exit(client: Client) -> None:
    """Have this client leave in good order, at the latest when the interpreter ends."""
    if not _joined:
        atexit.unregister(_leave)
        atexit.register(_leave)
    _joined.add(client)


def _leave() -> None:
    for client in list(_joined):
        if not client.lost:
            client.take_leave(Left())
