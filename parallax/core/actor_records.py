"""The rows of the table of actors."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from parallax.core.states import TaskState

if TYPE_CHECKING:
    from parallax.core.ready import Shape
    from parallax.core.records import EngineRecord, TaskRecord
    from parallax.messages import Failure


class ActorState(Enum):
    """Where an actor stands. `parallax.core.actors` has the table of what leads where."""

    PENDING = "pending"
    """Its constructor waits for an engine, or runs: for the first time, or again after a crash."""
    ALIVE = "alive"
    """It has an engine, and serves calls."""
    DEAD = "dead"
    """It never serves a call again. The row stays while there are handles."""


class Lane:
    """The calls of one client to one actor that are not at its engine, in their order."""

    __slots__ = ("next", "queue")

    def __init__(self) -> None:
        self.next = 0
        """The number of its next call; a call of a lower number was sent twice."""
        self.queue: deque[TaskRecord] = deque()
        """Besides calls that wait also some that have ended meanwhile."""

    def peek(self) -> TaskRecord | None:
        """The call that comes next."""
        queue = self.queue
        while queue and queue[0].state is TaskState.ENDED:
            queue.popleft()
        return queue[0] if queue else None


class ActorRecord:
    """One actor, from its creation until nobody can call it any more."""

    __slots__ = (
        "calls",
        "constructor",
        "detached",
        "engine",
        "enlisted",
        "failure",
        "id",
        "info",
        "keeps_cpus",
        "lanes",
        "living",
        "name",
        "namespace",
        "ordered",
        "restarts",
        "sent",
        "state",
        "title",
        "wanted",
    )

    def __init__(self, constructor: TaskRecord, living: Shape) -> None:
        self.id = constructor.id
        self.title = constructor.name
        """Of its class, or as its options have it: for messages."""
        self.constructor: TaskRecord | None = constructor
        """The call that makes it, and makes it anew after a crash; None once it is dead."""
        self.living = living
        """What it reserves while it lives."""
        self.keeps_cpus = False
        self.ordered = True
        self.name = ""
        """By which it can be found; empty when it cannot."""
        self.namespace = ""
        self.detached = False
        self.enlisted = False
        """Its recipe is in the journal."""
        self.info = b""
        self.state = ActorState.PENDING
        self.engine: EngineRecord | None = None
        """Its own, from the end of its constructor until its process has ended."""
        self.restarts = 0
        """How often its constructor has run again."""
        self.failure: Failure | None = None
        """What its callers get once it is dead."""
        self.lanes: dict[int, Lane] = {}
        """By caller. Of an actor that keeps no order all that is ready waits in one, under 0."""
        self.sent: dict[str, int] = {}
        """How many calls its engine got, by concurrency group, unless it keeps them in order."""
        self.calls: dict[int, TaskRecord] = {}
        """Those that have not ended, in its lanes, at its engine, or waiting for arguments."""
        self.wanted = True
        """Somebody has a handle."""
