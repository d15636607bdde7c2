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
    key: str = ""
    """Of the object that a durable task in the journal will make; empty for others."""


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


class DurableTemplate(msgspec.Struct, frozen=True, gc=False):
    """What durable tasks share: code and options. Ids in it mean nothing."""

    key: str
    template: TemplateDefined
    blobs: list[tuple[bytes, bytes]]
    """The code that the template needs, by key."""
    captured: list[str]
    """The values that the template names as captured."""


class DurableTask(msgspec.Struct, frozen=True, gc=False):
    """All that runs a durable task in another cluster. What it takes is named by keys."""

    key: str
    """Its own, and that of the first object that it makes; see `key_of_return`."""
    template: str
    returns: int
    args: bytes
    large: str
    """The key of the value that holds its arguments instead, if they are large."""
    deps: list[str]
    seed: int
    job: str
    """The name of its job."""
    namespace: str


class TaskEnd(msgspec.Struct, frozen=True, gc=False):
    """A durable task is over; these of its values are needed by others that are not."""

    key: str
    values: list[tuple[str, Value]]


class GraphChanged(msgspec.Struct, frozen=True, gc=False):
    """What has become of the durable tasks. All of it, or nothing, is on disk afterwards."""

    templates: list[DurableTemplate]
    tasks: list[DurableTask]
    """In the order of submission."""
    values: list[tuple[str, Value]]
    """That others have made, and durable tasks need."""
    ends: list[TaskEnd]
    dropped: list[str]
    """Values that no task needs any more."""
    idle: list[str]
    """Templates of which there are no tasks any more."""
    afresh: bool = False
    """This is all that there is: forget what was there before."""


class Resume(msgspec.Struct, frozen=True, gc=False):
    """Answer with the `Graph` that an earlier hub has left, values in the store of this cluster."""


class Graph(msgspec.Struct, frozen=True, gc=False):
    """The durable tasks that have not ended, and what they need."""

    templates: list[DurableTemplate]
    tasks: list[DurableTask]
    """In the order of submission: what a task depends on comes before it."""
    values: list[tuple[str, Value]]
    promises: list[Promise]
    """Names that are for what these tasks make."""


def key_of_return(key: str, index: int) -> str:
    """The key of the n-th object that a task makes, by the task's own."""
    cluster, _, number = key.rpartition("-")
    return f"{cluster}-{int(number, 16) + index:x}"


Entry: TypeAlias = (
    Promise | Keep | Recall | Forget | Enlist | Strike | Muster | GraphChanged | Resume
)


class JournalAttached(msgspec.Struct, frozen=True, gc=False):
    """The pool has a name, and so a journal that outlives the hub. Comes before all other events.

    `used`: something is in it already. `at`: now, in seconds since the epoch.
    """

    used: bool
    at: float
    cluster: str = ""
    """Its token; what is written is named by it."""


class Journalled(msgspec.Struct, frozen=True, gc=False):
    """The journal has done what this ticket was for, or could not."""

    ticket: int
    answer: Any = None
    failure: Failure | None = None
    lost: bool = False
    """A value has left the store, and nothing of this was done. Once it is rebuilt it can be."""
