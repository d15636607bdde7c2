"""One peer at a real socket: libzmq at the other end, slow ones, rude ones, and those that go."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import Any

import pytest
import zmq

from parallax.errors import ProtocolError
from parallax.net import zmtp
from parallax.net.link import SCHEME, Link
from tests.net import sockets
from tests.net.sockets import LIMIT_BYTES, TIMEOUT_S, linked, pump, raw_peer, read, until

OPENING = zmtp.opening("DEALER")


def wait_ended(link: Link) -> list[bytes]:
    got: list[bytes] = []

    def ended() -> bool:
        got.extend(read(link))
        return link.ended

    until(ended)
    return got


def test_a_link_and_a_router_of_libzmq_tell_each_other_messages_of_all_sizes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """libzmq's heartbeats are on: it would end the connection if they were not answered."""
    answered: list[bytes] = []
    pong = zmtp.pong

    def counting_pong(ping: bytes) -> bytes:
        answered.append(ping)
        return pong(ping)

    monkeypatch.setattr(zmtp, "pong", counting_pong)
    ours, theirs = sockets.messages(b"o"), sockets.messages(b"t")
    heard: list[bytes] = []
    with sockets.endpoint() as address, zmq.Context() as context:
        router = context.socket(zmq.ROUTER)
        router.linger, router.sndhwm, router.rcvhwm = 0, 0, 0
        router.heartbeat_ivl, router.heartbeat_timeout = 5, 1000
        router.bind(address)

        def serve() -> None:
            identity, first = router.recv_multipart()
            heard.append(first)
            for message in theirs:
                router.send_multipart([identity, message], copy=False)
            while len(heard) < len(ours):
                heard.append(router.recv_multipart()[1])

        thread = threading.Thread(target=serve)
        thread.start()
        link = Link.connect(address, LIMIT_BYTES)
        for message in ours:
            link.send(message)
        got = pump(link, lambda got: len(got) == len(theirs) and not link.has_unsent)
        thread.join(TIMEOUT_S)
        assert got == theirs
        assert heard == ours
        # So many that the first is older than the timeout.
        before = len(answered)
        pump(link, lambda _: len(answered) > before + 250)
        link.send(b"still here")
        assert router.recv_multipart()[1] == b"still here"
        link.close()
        router.close()


def test_what_a_peer_does_not_read_is_kept_and_sent_in_order() -> None:
    with linked() as (dealer, router):
        sent = sockets.overfill(dealer, dealer.send)  # and this thread goes on
        got: list[bytes] = []

        def came() -> bool:
            dealer.flush()
            got.extend(read(router))
            return len(got) == len(sent)

        until(came)
        assert got == sent
        assert not dealer.has_unsent


def test_large_and_small_messages_keep_their_order_across_a_full_socket() -> None:
    sent = [bytes([number % 256]) * (number * 7919 % 200_000) for number in range(200)]
    with linked() as (dealer, router):
        for message in sent[:100]:
            dealer.send(message)
        got: list[bytes] = []
        rest = iter(sent[100:])

        def came() -> bool:
            if (message := next(rest, None)) is not None:
                dealer.send(message)
            dealer.flush()
            got.extend(read(router))
            return len(got) == len(sent)

        until(came)
        assert got == sent


def test_nothing_is_sent_before_the_peer_has_introduced_itself() -> None:
    with raw_peer() as (raw, link):
        link.send(b"first")
        assert not link.has_unsent  # it must not be polled for room: there is nothing to do yet
        assert raw.recv(1000) == zmtp.opening("ROUTER")
        raw.sendall(OPENING)
        assert read(link) == []
        assert raw.recv(1000) == b"\0\5first"


def test_a_peer_that_closes_amid_a_frame_has_ended() -> None:
    for part in (b"\0", b"\0\5abc", b"\2\0", b"\2" + (1 << 20).to_bytes(8, "big") + b"x" * 5000):
        with raw_peer(OPENING + b"\0\1m" + part) as (raw, link):
            raw.close()
            assert wait_ended(link) == [b"m"]


def test_a_peer_may_close_before_it_has_read_anything() -> None:
    """It leaves with bytes unread, of which the kernel says so by an error."""
    with raw_peer(OPENING + b"\0\1m") as (raw, link):
        assert read(link) == [b"m"]
        link.send(b"unread")
        raw.close()
        assert wait_ended(link) == []


def test_what_a_peer_said_last_is_heard_though_it_can_be_told_nothing_any_more() -> None:
    with raw_peer(OPENING) as (raw, link):
        read(link)
        raw.sendall(b"\0\4last")
        raw.close()
        link.send(b"x" * 100_000)
        link.send(b"y")
        assert not link.has_unsent
        assert wait_ended(link) == [b"last"]


def test_a_peer_that_cannot_be_understood_is_still_told_why() -> None:
    with raw_peer(OPENING + b"\0\1m") as (raw, link):
        assert read(link) == [b"m"]
        raw.recv(1000)
        raw.sendall(b"\x44 garbage")
        with pytest.raises(ProtocolError, match="flags 0x44"):
            link.read()
        raw.sendall(b"\0\1m" + b"more garbage" * 10_000)
        until(lambda: read(link) == [] and not link.has_unsent)
        link.send(b"refused")
        assert raw.recv(1000) == b"\0\7refused"
        raw.close()
        assert wait_ended(link) == []


def test_a_peer_that_asks_on_and_on_and_reads_nothing_costs_no_memory() -> None:
    ping = b"\4\7\4PING\0\0"
    with raw_peer(OPENING) as (raw, link):
        read(link)
        assert sockets.fill(raw, ping * 1000) > 1000 * len(ping)
        for _ in range(100):
            assert read(link) == []
        assert not link.has_unsent


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM])
def test_a_kernel_short_of_memory_is_asked_again(number: int) -> None:
    class Short:
        """The socket, once without memory."""

        def __init__(self, real: socket.socket) -> None:
            self.real, self.calls = real, 0

        def send(self, data: bytes, flags: int) -> int:
            self.calls += 1
            if self.calls == 1:
                raise OSError(number, "no memory")
            return self.real.send(data, flags)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    with linked() as (dealer, router):
        dealer._socket = Short(dealer._socket)  # type: ignore[assignment]
        dealer.send(b"m")
        assert dealer.has_unsent
        dealer.flush()
        assert read(router) == [b"m"]


# ---- the end ----------------------------------------------------------------------------------


def test_close_waits_for_a_peer_that_reads_slowly() -> None:
    with linked() as (dealer, router):
        sent = sockets.overfill(dealer, dealer.send)
        thread = threading.Thread(target=dealer.close, args=(TIMEOUT_S,))
        thread.start()
        assert wait_ended(router) == sent
        thread.join(TIMEOUT_S)


def test_close_waits_no_longer_than_it_was_told() -> None:
    with linked() as (dealer, _):
        sockets.overfill(dealer, dealer.send)
        began = time.monotonic()
        dealer.close(0.05)
        assert 0.04 < time.monotonic() - began < 2
        assert dealer.fileno() == -1
        dealer.close(1.0)
        dealer.send(b"nobody hears this")


def test_close_does_not_wait_for_a_peer_that_is_gone() -> None:
    with linked() as (dealer, router):
        sockets.overfill(dealer, dealer.send)
        router.close()
        began = time.monotonic()
        dealer.close(TIMEOUT_S)
        assert time.monotonic() - began < TIMEOUT_S / 2


def test_links_leave_no_descriptor_behind() -> None:
    def cycle() -> None:
        with linked() as (dealer, router):
            dealer.send(b"m")
            until(lambda: read(router) == [b"m"])

    cycle()
    before = sockets.descriptors()
    for _ in range(100):
        cycle()
    assert sockets.descriptors() == before


def test_nobody_listens() -> None:
    before = sockets.descriptors()
    with sockets.endpoint() as address:
        with pytest.raises(FileNotFoundError):
            Link.connect(address, LIMIT_BYTES)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address.removeprefix(SCHEME))
        listening.close()
        with pytest.raises(ConnectionRefusedError):
            Link.connect(address, LIMIT_BYTES)
    assert sockets.descriptors() == before
