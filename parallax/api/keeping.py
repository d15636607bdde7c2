"""Keeping results by name: `keep`, `recall`, `forget`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, overload

from parallax.api.checks import check_timeout
from parallax.errors import UsageError
from parallax.refs import ObjectRef
from parallax.reprs import Rows
from parallax.sessions.current import current, current_of
from parallax.sessions.frames import callers_line

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a kept result. Immutable, and so thread-safe.

        >>> import parallax as px
        >>> px.keep(px.put("x"), "letter")
        >>> px.recall()[-1].name
        'letter'

    Attributes:
        name: what it is recalled by.
        state: ``kept``; ``failed``: recalling it raises its task's error; ``pending``: its task has
            not ended; ``lost``: the pool ended before its task did.
        size_bytes: of the value, as it is written.
        kept_at: seconds since the epoch.
        job: the name of the job that made it; empty for what `put` has made.
    """

    name: str
    state: str
    size_bytes: int
    kept_at: float
    job: str


def keep(ref: ObjectRef[Any], name: str) -> None:
    """Keep a result under a name, beyond its references, its session and its kernel.

    In a named pool it is written to a journal on disk, and `recall` finds it from any notebook,
    also after the pool was killed and started anew. An unnamed pool keeps it while it lives, an
    inline session while the process does. One that has failed is kept too, as its error.

    Blocks until it is on disk, which takes some milliseconds and the time to write it. If its
    task has not ended, blocks until the wish is on disk; the value follows when it is there, even
    if this kernel is gone by then. What the name stood for before is forgotten. Thread-safe.

        >>> import parallax as px
        >>> px.keep(px.remote(sum).remote([1, 2, 3]), "total")
        >>> px.recall("total")
        6

    Args:
        ref: what a task or `put` has returned.
        name: 1 to 200 characters.

    Raises:
        TypeError: `ref` is no ref.
        UsageError: `name` cannot be one; or the value contains refs or handles of actors, which
            end with their session.
        ObjectLostError: the value is gone.
        JournalError: it could not be written, as when the disk is full; nothing was changed.
        ClusterLostError: the cluster is gone; it is kept if that happened after it was written.
    """
    with callers_line:
        if not isinstance(ref, ObjectRef):
            raise TypeError(
                f"keep takes an ObjectRef, not {type(ref).__name__}. To keep a value that is here, "
                "put it first: keep(put(value), name)."
            )
        current_of([ref]).keeper.keep(ref.id, _checked(name, "keep"))


@overload
def recall(name: None = None) -> list[Kept]: ...


@overload
def recall(name: str, *, timeout: float | None = None) -> Any: ...


def recall(name: str | None = None, *, timeout: float | None = None) -> Any:
    """The value that is kept under a name; without a name, a list of all that is kept.

    Blocks until the task has ended that makes the value. A large value is mapped from its file,
    which takes microseconds and no copy; its arrays are read-only. Thread-safe.

        >>> import parallax as px
        >>> px.keep(px.put({"a": 1}), "settings")
        >>> px.recall("settings")
        {'a': 1}
        >>> [kept.name for kept in px.recall()]
        [..., 'settings']

    Args:
        name: what `keep` was given.
        timeout: seconds to wait at most for its task; 0 only looks; None waits for ever.

    Returns:
        The value, or a list of `Kept`, the oldest first, which a notebook shows as a table.

    Raises:
        UsageError: nothing is kept under this name; says which names are near.
        TaskError: its task raised, as `get` does; so do the other errors of tasks.
        ObjectLostError: the pool ended before the task did, or the value's file is damaged.
        SerializationError: a class of the value is not to be found here.
        GetTimeoutError: its task has not ended in time.
        JournalError: the journal cannot be read.
    """
    with callers_line:
        timeout_s = check_timeout(timeout)
        if name is None:
            rows = [Kept(**row) for row in current().keeper.names()]
            return Rows(rows, ("name", "state", "bytes", "kept", "job"), _cells)
        return current().keeper.recall(_checked(name, "recall"), timeout_s)


def forget(name: str) -> None:
    """Keep nothing under this name any more. Blocks until that is on disk. Thread-safe.

    Values that were recalled stay as they are. A task that has not ended goes on.

        >>> import parallax as px
        >>> px.keep(px.put(1), "one")
        >>> px.forget("one")

    Args:
        name: what `keep` was given.

    Raises:
        UsageError: nothing is kept under this name; says which names are near.
        JournalError: the journal cannot be written.
    """
    with callers_line:
        current().keeper.forget(_checked(name, "forget"))


def _checked(name: object, verb: str) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise UsageError(
            f"{verb}: a name must be a string of 1 to {MAX_NAME} characters, not {name!r}."
        )
    return name


def _cells(kept: Kept) -> tuple[Any, ...]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(kept.kept_at))
    return kept.name, kept.state, f"{kept.size_bytes:,}", when, kept.job
