"""Both ends of links, and raw peers that say what they like."""

from __future__ import annotations

import os
import select
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from parallax.net import zmtp
from parallax.net.link import SCHEME, Link, listen
from parallax.net.router import Router

LIMIT_BYTES = 1 << 28
TIMEOUT_S = 20.0

SIZES = [0, 1, 255, 256, 65_536, 65_537, zmtp.BUFFER_BYTES, 1 << 20, 50_000_000, 3]


def messages(seed: bytes) -> list[bytes]:
    """Messages of many sizes that tell where they come from."""
    return [(seed + bytes(range(255))).ljust(size, seed)[:size] for size in SIZES]


@contextmanager
def endpoint() -> Iterator[str]:
    """An address that nobody listens at yet."""
    with tempfile.TemporaryDirectory(prefix="link") as folder:
        yield f"{SCHEME}{folder}/s"


@contextmanager
def linked() -> Iterator[tuple[Link, Link]]:
    """A DEALER and a ROUTER that have introduced themselves to each other."""
    with raw_peer() as (raw, router):
        dealer = Link(raw, "DEALER", LIMIT_BYTES)
        until(lambda: read(dealer) + read(router) == [] and dealer.is_open and router.is_open)
        yield dealer, router
        dealer.close()


@contextmanager
def raw_peer(opening: bytes = b"") -> Iterator[tuple[socket.socket, Link]]:
    """A peer that says this, and the link to it."""
    with endpoint() as address, listen(address) as listening:
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(address.removeprefix(SCHEME))
        raw.sendall(opening)
        link = Link(listening.accept()[0], "ROUTER", LIMIT_BYTES)
        try:
            yield raw, link
        finally:
            link.close()
            raw.close()


def read(link: Link) -> list[bytes]:
    """What has come, to be kept."""
    return [bytes(frame) for frame in link.read()]


def pump(link: Link, done: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Read and send, as whoever owns a link does, until `done` with what has come."""
    got: list[bytes] = []
    deadline = time.monotonic() + TIMEOUT_S
    while not done(got):
        assert time.monotonic() < deadline, f"{len(got)} messages came, and no more"
        assert not link.ended, "the peer has closed"
        poll = select.poll()
        poll.register(link.fileno(), select.POLLIN | (select.POLLOUT if link.has_unsent else 0))
        if poll.poll(1000):
            link.flush()
            got += read(link)
    return got


def serve(router: Router, done: Callable[[], bool], take: Callable[[Link, bytes], None]) -> None:
    """Read from all peers until `done`; `take` gets each message. Peers that end are dropped."""
    deadline = time.monotonic() + TIMEOUT_S
    while not done():
        assert time.monotonic() < deadline, "the peers are silent"
        links, _ = router.wait(0.002)
        for link in links:
            for message in read(link):
                take(link, message)
            if link.ended:
                router.drop(link)


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0)


def overfill(link: Link, send: Callable[[bytes], None]) -> list[bytes]:
    """Send more than the kernel takes, however much that is; what was sent."""
    sent: list[bytes] = []
    while len(sent) < 1000 and not link.has_unsent:
        sent.append(len(sent).to_bytes(4, "big") * 25_000)
        send(sent[-1])
    assert link.has_unsent
    for size in (0, 1, 100_000, 1_000_000, 5):
        sent.append(bytes([size % 256]) * size)
        send(sent[-1])
    return sent


def fill(raw: socket.socket, data: bytes) -> int:
    """Send until the kernel takes no more; how much it took."""
    raw.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            count += raw.send(data)
    return count


def descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))
