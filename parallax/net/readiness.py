"""Whether a ZeroMQ socket has something to read, without waiting and without an exception."""

from __future__ import annotations

import zmq

_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


def has_input(socket: zmq.Socket[bytes]) -> bool:
    """Whether `recv` would return at once. Plain ints: pyzmq's enums cost as much as the call."""
    return bool(int(socket.get(_EVENTS)) & _POLLIN)
