"""The states of a task, in the order in which it passes them."""

from __future__ import annotations

from enum import Enum


class TaskState(Enum):
    """Where a task stands. It leaves the table when it has ended."""

    WAITING = 0
    """Some argument has no value yet."""
    READY = 1
    """In a ready queue."""
    ASSIGNED = 2
    """In the run-queue of an engine, begun or not."""
    ENDED = 3
    """Over; the record lives on only as the lineage of what it returned."""
