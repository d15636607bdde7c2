"""What the machine wants said, gathered per peer and in order, so that it travels in batches."""

from __future__ import annotations

from collections.abc import Container
from typing import TypeAlias

import msgspec

from parallax.core.journal import Entry
from parallax.messages import (
    Assignment,
    FromHub,
    ObjectsReady,
    SegmentsFreed,
    TasksAssigned,
    Value,
)


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send these messages to this peer, in this order, as one frame."""

    peer: int
    messages: list[FromHub]


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Forget this peer: it broke the protocol or is being replaced."""

    peer: int
    reason: str


class Journal(msgspec.Struct, frozen=True, gc=False):
    """Have the journal do this, after all that it was told before.

    `Journalled` with the same ticket tells of its end: what was to be written is on disk then.
    """

    ticket: int
    entry: Entry


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The cluster is over."""

    reason: str


Action: TypeAlias = Send | Drop | Journal | Stop


class Outbox:
    """Messages to peers. Rows of one kind that follow one another share one message.

    Args:
        peers: who is there; what is said to others is dropped.
    """

    __slots__ = ("_others", "_peers", "_sends")

    def __init__(self, peers: Container[int]) -> None:
        self._peers = peers
        self._sends: dict[int, list[FromHub]] = {}
        self._others: list[Action] = []

    def send(self, peer: int, message: FromHub) -> None:
        """Append one message."""
        messages = self._sends.get(peer)
        if messages is None:
            self._sends[peer] = [message]
        else:
            messages.append(message)

    def ready(self, peer: int, object_id: int, value: Value) -> None:
        """Append one ready object."""
        messages = self._sends.get(peer)
        if messages is None:
            self._sends[peer] = [ObjectsReady([(object_id, value)])]
            return
        last = messages[-1]
        if type(last) is ObjectsReady:
            last.items.append((object_id, value))
        else:
            messages.append(ObjectsReady([(object_id, value)]))

    def assign(self, peer: int, assignments: list[Assignment]) -> None:
        """Append tasks for an engine."""
        messages = self._sends.get(peer)
        if messages is None:
            self._sends[peer] = [TasksAssigned(assignments)]
            return
        last = messages[-1]
        if type(last) is TasksAssigned:
            last.tasks += assignments
        else:
            messages.append(TasksAssigned(assignments))

    def freed(self, peer: int, name: str) -> None:
        """Append one segment that its creator may reuse."""
        messages = self._sends.setdefault(peer, [])
        if messages and type(last := messages[-1]) is SegmentsFreed:
            last.names.append(name)
        else:
            messages.append(SegmentsFreed([name]))

    def act(self, action: Action) -> None:
        """Append something that is no message; it comes after all messages."""
        self._others.append(action)

    def take(self) -> list[Action]:
        """All that was appended, and start anew."""
        actions: list[Action] = [
            Send(peer, messages) for peer, messages in self._sends.items() if peer in self._peers
        ]
        if self._others:
            actions += self._others
            self._others = []
        self._sends = {}
        return actions
