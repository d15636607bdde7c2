"""All peers of one socket: many, of libzmq, that do not read, more than there is room for."""

from __future__ import annotations

import gc
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import zmq

from parallax.net import zmtp
from parallax.net.link import SCHEME, Link, listen
from parallax.net.router import Router
from tests.net import sockets
from tests.net.sockets import LIMIT_BYTES, TIMEOUT_S, pump, read, serve, until


@pytest.fixture
def address() -> Iterator[str]:
    with sockets.endpoint() as address:
        yield address


Meet = Callable[[], tuple[Link, Link]]


@pytest.fixture
def router(address: str) -> Iterator[Router]:
    router = Router(listen(address), LIMIT_BYTES)
    yield router
    router.close(0.0)


@pytest.fixture
def meet(router: Router, address: str) -> Iterator[Meet]:
    """Makes a peer of ours; it and the router's end of its link."""
    peers: list[Link] = []

    def meet() -> tuple[Link, Link]:
        peers.append(Link.connect(address, LIMIT_BYTES))
        return peers[-1], introduced(router, peers[-1])

    yield meet
    for peer in peers:
        peer.close()


def introduced(router: Router, peer: Link) -> Link:
    """The router's end of a new peer's link."""
    peer.send(b"hello")
    met: list[Link] = []

    def came() -> bool:
        read(peer)
        return bool(met) and peer.is_open

    serve(router, came, lambda link, message: met.append(link))
    return met[0]


def test_a_dealer_of_libzmq_and_a_router_tell_each_other_messages_of_all_sizes_at_once(
    router: Router, address: str
) -> None:
    ours, theirs = sockets.messages(b"o"), sockets.messages(b"t")
    got: list[bytes] = []
    heard: list[bytes] = []
    with zmq.Context() as context:
        dealer = context.socket(zmq.DEALER)
        dealer.linger, dealer.sndhwm, dealer.rcvhwm = 0, 0, 0
        dealer.heartbeat_ivl, dealer.heartbeat_timeout = 5, 2000
        dealer.connect(address)

        def talk() -> None:
            for message in theirs:
                dealer.send(message, copy=False)
            while len(heard) < len(ours):
                heard.append(dealer.recv())

        thread = threading.Thread(target=talk)
        thread.start()

        def take(link: Link, message: bytes) -> None:
            if not got:
                for mine in ours:
                    router.send(link, mine)
            got.append(message)

        serve(router, lambda: len(got) == len(theirs) and not thread.is_alive(), take)
        assert got == theirs
        assert heard == ours
        dealer.close()


def test_hundreds_of_peers_come_and_go(router: Router, address: str) -> None:
    before = sockets.descriptors()
    peers = [Link.connect(address, LIMIT_BYTES) for _ in range(300)]
    for number, peer in enumerate(peers):
        peer.send(b"%d" % number)
    heard: dict[bytes, Link] = {}

    def take(link: Link, message: bytes) -> None:
        heard[message] = link
        router.send(link, b"you are " + message)

    def introduced() -> bool:
        for peer in peers:
            if not peer.is_open:
                read(peer)
        return len(heard) == len(peers)

    serve(router, introduced, take)
    for number, peer in enumerate(peers):
        assert pump(peer, lambda got: len(got) == 1) == [b"you are %d" % number]
        peer.close()
    serve(router, lambda: sockets.descriptors() == before, take)


def test_a_peer_that_does_not_read_delays_nobody_and_misses_nothing(
    router: Router, meet: Meet
) -> None:
    lazy, to_lazy = meet()
    busy, to_busy = meet()
    sent = sockets.overfill(to_lazy, lambda message: router.send(to_lazy, message))
    router.send(to_busy, b"quick")
    assert pump(busy, lambda got: bool(got)) == [b"quick"]
    # There is no room and nothing to read: nobody is reported, and the wait is a wait.
    began = time.monotonic()
    assert router.wait(0.05) == ([], [])
    assert time.monotonic() - began > 0.04
    got: list[bytes] = []

    def came() -> bool:
        got.extend(read(lazy))
        return len(got) == len(sent)

    serve(router, came, lambda link, message: None)
    assert got == sent
    assert not to_lazy.has_unsent


def test_what_is_kept_while_the_peer_opens_is_sent_when_there_is_room(
    router: Router, address: str
) -> None:
    """It came to be kept without `Router.send`, so that nobody has polled for room yet."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(address.removeprefix(SCHEME))
        links: list[Link] = []
        raw.sendall(zmtp.GREETING)
        while not links:
            links, _ = router.wait(1.0)
        for _ in range(100):
            links[0].send(b"x" * 1_000_000)
        raw.sendall(zmtp.opening("DEALER")[zmtp.GREETING_BYTES :])
        serve(router, lambda: links[0].is_open, lambda link, message: None)
        assert links[0].has_unsent
        router.send(links[0], b"the last")
        came = bytearray()
        raw.setblocking(False)

        def drained() -> bool:
            with suppress(BlockingIOError):
                came.extend(raw.recv(1 << 20))
            return came.endswith(b"the last")

        serve(router, drained, lambda link, message: None)


def test_descriptors_of_others_are_reported_until_they_are_unwatched(router: Router) -> None:
    reading, writing = os.pipe()
    router.watch(reading)
    assert router.wait(0.0) == ([], [])
    os.write(writing, b"x")
    assert router.wait(1.0) == ([], [reading])
    router.unwatch(reading)
    router.unwatch(reading)
    assert router.wait(0.0) == ([], [])
    os.close(reading)
    os.close(writing)


def test_a_dropped_peer_is_heard_no_more(router: Router, meet: Meet) -> None:
    peer, link = meet()
    router.drop(link)
    router.drop(link)
    until(lambda: read(peer) == [] and peer.ended)
    assert router.wait(0.0) == ([], [])
    router.send(link, b"nobody hears this")


def test_without_descriptors_nobody_is_accepted_and_the_processor_is_spared(
    router: Router, address: str
) -> None:
    peers = [Link.connect(address, LIMIT_BYTES) for _ in range(3)]
    for peer in peers:
        peer.send(b"hello")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        began, rounds = time.monotonic(), 0
        while time.monotonic() - began < 0.2:
            assert router.wait(0.05) == ([], [])
            rounds += 1
        assert rounds < 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    heard: list[bytes] = []

    def all_came() -> bool:
        for peer in peers:
            read(peer)
        return len(heard) == 3

    serve(router, all_came, lambda link, message: heard.append(message))
    for peer in peers:
        peer.close()


# ---- the end ----------------------------------------------------------------------------------


def test_close_gives_each_peer_its_last_words_though_one_does_not_read(
    router: Router, meet: Meet
) -> None:
    (_, to_lazy), (slow, to_slow) = meet(), meet()
    for link in (to_lazy, to_slow):
        sent = sockets.overfill(link, lambda message, link=link: router.send(link, message))  # type: ignore[misc]
    thread = threading.Thread(target=router.close, args=(1.0,))
    thread.start()
    got: list[bytes] = []

    def ended() -> bool:
        got.extend(read(slow))
        return slow.ended

    until(ended)
    assert got == sent
    thread.join(TIMEOUT_S)


def test_routers_leave_no_descriptor_behind() -> None:
    def cycle() -> None:
        with sockets.endpoint() as address:
            router = Router(listen(address), LIMIT_BYTES)
            peers = [Link.connect(address, LIMIT_BYTES) for _ in range(5)]
            for peer in peers:
                introduced(router, peer)
            router.close(0.0)
            for peer in peers:
                until(lambda peer=peer: read(peer) == [] and peer.ended)  # type: ignore[misc]
                peer.close()

    cycle()
    gc.collect()
    before = sockets.descriptors()
    for _ in range(20):
        cycle()
    assert sockets.descriptors() == before
