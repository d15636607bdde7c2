"""What the core has the journal do, and what the journal says of it.

The journal is the part of a pool that outlives its hub: see `parallax.pool.journal`. The core
numbers what it asks for; each number, a *ticket*, comes back once in a `Journalled`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from parallax.messages import Failure, Value


class Promise(msgspec.Struct, frozen=True, gc=False):
    """This name is for a value that is not there yet; what it named before is forgotten."""

    name: str
    job: str


class Keep(msgspec.Struct, frozen=True, gc=False):
    """Keep this value under this name; what it named before is forgotten."""

    name: str
    job: str
    value: Value


class Recall(msgspec.Struct, frozen=True, gc=False):
    """Say what is kept under this name; with an empty one, all names and what is known of each."""

    name: str


class Forget(msgspec.Struct, frozen=True, gc=False):
    """Keep nothing under this name any more."""

    name: str


Entry: TypeAlias = Promise | Keep | Recall | Forget


class Journalled(msgspec.Struct, frozen=True, gc=False):
    """The journal has done what this ticket was for, or could not."""

    ticket: int
    answer: Any = None
    failure: Failure | None = None
    lost: bool = False
    """Of `Keep`: the value has left the store. Once it is rebuilt it can be kept."""
