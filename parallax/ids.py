"""Ids are plain ints: fast to hash, small on the wire, ordered by creation within one client.

The hub gives each client a number; the client numbers what it makes. A task's id is the id of
its first return object, so one number names both.
"""

from __future__ import annotations

import itertools
import os

CLIENT_BITS = 23
SEQUENCE_BITS = 40
_SEQUENCE_MASK = (1 << SEQUENCE_BITS) - 1


def client_of(object_id: int) -> int:
    """The number of the client that made this id."""
    return object_id >> SEQUENCE_BITS


def sequence_of(object_id: int) -> int:
    """The position of this id among those of its client."""
    return object_id & _SEQUENCE_MASK


def hex_id(object_id: int) -> str:
    """The id as users see it: 16 hexadecimal digits."""
    return f"{object_id:016x}"


def first_id(client: int) -> int:
    """The first id that a client may give out. Zero is nobody's."""
    return (client << SEQUENCE_BITS) | 1


def counter(client: int) -> itertools.count[int]:
    """The ids of one client, in order."""
    return itertools.count(first_id(client))


def new_token() -> str:
    """A random name for a cluster: 12 hexadecimal digits."""
    return os.urandom(6).hex()
