"""What the core has the journal do, and what the journal says of it.

The journal is the part of a pool that outlives its hub: see `parallax.pool.journal`. The core
numbers what it asks for; each number, a *ticket*, comes back once in a `Journalled`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from parallax.messages import Failure, Stored, TemplateDefined, Value


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


class Recipe(msgspec.Struct, frozen=True, gc=False):
    """All that makes a named, detached actor anew in another cluster. Ids in it mean nothing."""

    name: str
    namespace: str
    template: TemplateDefined
    """Of its constructor."""
    blobs: list[tuple[bytes, bytes]]
    """The code that the template needs, by key."""
    args: bytes | Stored
    deps: list[bytes | Stored]
    """The values of the arguments that were refs."""
    captured: list[bytes | Stored]
    """The values that the template names as captured."""
    seed: int
    keeps_cpus: bool
    ordered: bool
    info: bytes


class Enlist(msgspec.Struct, frozen=True, gc=False):
    """An actor has come up: keep its recipe, in place of an older one of its name."""

    recipe: Recipe


class Strike(msgspec.Struct, frozen=True, gc=False):
    """An actor is dead for good: forget its recipe."""

    namespace: str
    name: str


class Muster(msgspec.Struct, frozen=True, gc=False):
    """Answer with all recipes, their values in the store of this cluster: a hub has started."""


Entry: TypeAlias = Promise | Keep | Recall | Forget | Enlist | Strike | Muster


class JournalAttached(msgspec.Struct, frozen=True, gc=False):
    """The pool has a name, and so a journal that outlives the hub. Comes before all other events.

    `used`: something is in it already. `at`: now, in seconds since the epoch.
    """

    used: bool
    at: float


class Journalled(msgspec.Struct, frozen=True, gc=False):
    """The journal has done what this ticket was for, or could not."""

    ticket: int
    answer: Any = None
    failure: Failure | None = None
    lost: bool = False
    """Of `Keep`: the value has left the store. Once it is rebuilt it can be kept."""
