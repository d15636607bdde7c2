"""What passes through a relay comes late, whole and in order."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator

import pytest

from parallax.testing.relay import Lane, Link

DELAY_S = 600.0


class Ends:
    """Two ends of a link with the relay's ends between them."""

    def __init__(self) -> None:
        self.peer, peer_side = socket.socketpair()
        self.hub, hub_side = socket.socketpair()
        self.link = Link(peer_side, hub_side, "a link")
        for end in (self.peer, self.hub):
            end.setblocking(False)

    def close(self) -> None:
        for end in (self.peer, self.hub):
            end.close()
        self.link.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def _heard(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 20)
    except BlockingIOError:
        return b""


def test_pieces_are_held_each_for_its_time_and_keep_their_order(ends: Ends) -> None:
    up = ends.link.up
    for number in range(50):
        ends.peer.send(bytes([number]))
        assert up.take(DELAY_S) == 1
    dues = [due for due, _ in up.held]
    assert dues == sorted(dues)
    assert len(set(dues)) > 1
    assert dues[-1] - time.monotonic() > DELAY_S / 2
    # Nothing comes before it is due
    up.give(dues[0] - 1e-6)
    assert _heard(ends.hub) == b""
    up.give(dues[0])
    first = _heard(ends.hub)
    assert first == bytes(range(len(first)))
    assert 0 < len(first) < 50
    up.give(dues[-1])
    assert first + _heard(ends.hub) == bytes(range(50))


def test_the_seed_decides_how_long() -> None:
    def dues(name: str) -> list[float]:
        end, side = socket.socketpair()
        with end, side:
            lane = Lane(side, end, random.Random(name))
            side.setblocking(False)
            began = time.monotonic()
            end.send(b"x")
            lane.take(DELAY_S)
            return [round(due - began) for due, _ in lane.held]

    assert dues("7 1 up") == dues("7 1 up")
    assert dues("7 1 up") != dues("8 1 up")


def test_what_was_sent_before_an_end_still_arrives(ends: Ends) -> None:
    ends.peer.send(b"last words")
    ends.peer.close()
    up, down = ends.link.up, ends.link.down
    ends.hub.send(b"to nobody")
    down.take(0.0)
    down.give(time.monotonic())
    assert up.take(DELAY_S) == 1
    assert up.take(DELAY_S) == 0
    assert up.ended
    assert not ends.link.is_over
    up.hurry()
    up.give(time.monotonic())
    assert _heard(ends.hub) == b"last words"
    assert ends.link.is_over


def test_one_that_reads_slowly_gets_everything(ends: Ends) -> None:
    up = ends.link.up
    sent = bytes(range(256)) * 16384  # 4 MiB, more than the kernel keeps
    heard = bytearray()
    at = 0
    while len(heard) < len(sent):
        if at < len(sent):
            with contextlib.suppress(BlockingIOError):
                at += ends.peer.send(sent[at : at + 100_000])
        up.take(0.0)
        up.give(time.monotonic())
        if at == len(sent) or up.is_stuck:
            heard += _heard(ends.hub)
    assert bytes(heard) == sent


def test_a_link_that_breaks_may_break_in_the_middle(ends: Ends) -> None:
    ends.peer.send(b"0123456789")
    ends.link.up.take(DELAY_S)
    ends.link.up.tear()
    ends.link.close()
    arrived = _heard(ends.hub)
    assert b"0123456789".startswith(arrived)
