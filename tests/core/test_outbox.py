"""Messages gather per peer, in order, and rows of one kind share a message."""

from __future__ import annotations

from parallax.core.outbox import Drop, Outbox, Send, Stop
from parallax.messages import (
    Assignment,
    Noted,
    ObjectsReady,
    SegmentsFreed,
    TasksAssigned,
)


def assignment(task: int) -> Assignment:
    return Assignment(task, 0, 1, b"", 1)


def test_rows_that_follow_one_another_share_a_message() -> None:
    outbox = Outbox({1, 2})
    outbox.ready(1, 10, b"a")
    outbox.ready(1, 11, b"b")
    outbox.freed(2, "x")
    outbox.freed(2, "y")
    outbox.assign(2, [assignment(1)])
    outbox.assign(2, [assignment(2)])

    assert outbox.take() == [
        Send(1, [ObjectsReady([(10, b"a"), (11, b"b")])]),
        Send(2, [SegmentsFreed(["x", "y"]), TasksAssigned([assignment(1), assignment(2)])]),
    ]
    assert outbox.take() == []


def test_a_message_in_between_keeps_its_place() -> None:
    outbox = Outbox({1})
    outbox.ready(1, 10, b"a")
    outbox.send(1, Noted("news"))
    outbox.ready(1, 11, b"b")

    assert outbox.take() == [
        Send(1, [ObjectsReady([(10, b"a")]), Noted("news"), ObjectsReady([(11, b"b")])])
    ]


def test_nothing_is_said_to_those_who_are_gone() -> None:
    peers = {1, 2}
    outbox = Outbox(peers)
    outbox.send(1, Noted("one"))
    outbox.send(2, Noted("two"))
    peers.discard(1)
    assert outbox.take() == [Send(2, [Noted("two")])]


def test_partings_come_after_all_messages() -> None:
    outbox = Outbox({1})
    outbox.act(Drop(3, "why"))
    outbox.act(Stop("all"))
    outbox.send(1, Noted("bye"))
    assert outbox.take() == [Send(1, [Noted("bye")]), Drop(3, "why"), Stop("all")]
