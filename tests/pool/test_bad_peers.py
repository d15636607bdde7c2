"""Peers that break the rules are dropped, logged once, and the hub goes on."""

from __future__ import annotations

import logging
import os
import platform
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallax.messages import (
    PROTOCOL,
    Answered,
    Asked,
    Done,
    EngineExited,
    FromHub,
    Hello,
    Left,
    Ping,
    Refused,
    Stopped,
    TasksFinished,
    ToHub,
    Welcome,
)
from parallax.net import codec
from parallax.net.link import Link, listen
from parallax.pool.config import PoolConfig
from parallax.pool.hub import Hub
from parallax.version import VERSION
from tests.net.strategies import TO_HUB, message
from tests.pool.clusters import wait_until

TOKEN = "secret"


class Peer:
    """A socket that says to the hub whatever a test wants said."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(endpoint)

    def send(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames)

    def say(self, *messages: ToHub) -> None:
        self.send(codec.encode(messages))

    def hear(self, timeout_s: float = 5.0) -> list[FromHub]:
        assert self._socket.poll(timeout_s * 1000), "the hub is silent"
        return codec.decode_from_hub(self._socket.recv())

    def ask(self, what: str) -> Answered:
        """Ask; the answer. Shows that the hub is well and still talks to this peer."""
        self.say(Asked(1, what))
        while True:
            for heard in self.hear():
                if isinstance(heard, Answered):
                    return heard
                assert not isinstance(heard, Refused | Stopped), heard

    def close(self) -> None:
        self._context.destroy(linger=0)


def hello(**changes: Any) -> Hello:
    fields: dict[str, Any] = {
        "protocol": PROTOCOL,
        "version": VERSION,
        "python": platform.python_version(),
        "role": "client",
        "token": TOKEN,
        "pid": os.getpid(),
        "host": platform.node(),
    }
    return Hello(**{**fields, **changes})


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub in a thread, with no node."""
    with tempfile.TemporaryDirectory(prefix="hub") as folder:
        config = PoolConfig(
            cluster="c",
            token=TOKEN,
            folder=folder,
            store=f"{folder}/store",
            spill=f"{folder}/spill",
            store_limit_bytes=1 << 20,
            resources={"CPU": 1.0},
            owner_pid=os.getpid(),
        )
        hub = Hub(config, listen(config.endpoint))
        thread = threading.Thread(target=hub.run)
        thread.start()
        yield hub
        hub.stop("the test is over")
        thread.join(10)
        assert not thread.is_alive()
        hub.close()
        assert hub.stopped == "the test is over"


@pytest.fixture
def peers(hub: Hub) -> Iterator[Any]:
    """Makes peers."""
    made: list[Peer] = []

    def make(*greeting: Hello) -> Peer:
        peer = Peer(hub.config.endpoint)
        made.append(peer)
        if greeting:
            peer.say(*greeting)
            assert isinstance(peer.hear()[0], Welcome)
        return peer

    yield make
    for peer in made:
        peer.close()


BREACHES: dict[str, tuple[str, list[bytes]]] = {
    "garbage": ("not a message", [b"\x00garbage"]),
    "nothing": ("hello", [codec.encode([])]),
    "two frames": ("frames", [codec.encode([hello()]), b"more"]),
    "no hello": ("hello", [codec.encode([Ping()])]),
    "a message of a hub": ("not a message", [codec.encode([Stopped("now")])]),
    "another protocol": ("protocol 99", [codec.encode([hello(protocol=99)])]),
    "another Python": ("Python 2.7.18", [codec.encode([hello(python="2.7.18")])]),
    "another key": ("key", [codec.encode([hello(token="guess")])]),
    "no key": ("key", [codec.encode([hello(token="")])]),
    "an unknown role": ("'king'", [codec.encode([hello(role="king")])]),
    "no pid": ("not a message", [codec.encode([hello(pid=-1)])]),
    "two hellos": ("already", [codec.encode([hello(), hello()])]),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_costs_the_peer_its_place_and_nobody_else(
    breach: str, peers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    good = peers(hello())
    bad = peers()
    reason, frames = BREACHES[breach]
    with caplog.at_level(logging.WARNING, "parallax.hub"):
        bad.send(*frames)
        heard = bad.hear()
        while not isinstance(heard[0], Refused):  # two hellos: it was let in at first
            heard = bad.hear()
        assert reason in heard[0].message
        assert heard[0].kind == ("authentication" if "key" in breach else "protocol")
        # Whatever else it sends is not even worth a line in the log
        for _ in range(50):
            bad.send(b"\xff\x00")
        bad.say(hello())
        assert good.ask("counts").answer["clients"] == 1
    assert len(caplog.records) == 1


def test_a_client_that_speaks_like_an_engine_or_a_node_is_dropped(peers: Any) -> None:
    good = peers(hello())
    for speech in (TasksFinished([Done(1, 0, [b""])]), EngineExited(1, 9, 0)):
        bad = peers(hello())
        bad.say(speech)
        assert isinstance(bad.hear()[-1], Stopped)
    assert good.ask("counts").answer["clients"] == 1


def test_the_log_stays_short_whoever_comes(peers: Any, caplog: pytest.LogCaptureFixture) -> None:
    good = peers(hello())
    with caplog.at_level(logging.WARNING, "parallax.hub"):
        for _ in range(60):
            bad = peers()
            bad.send(b"garbage")
            bad.hear()
            bad.close()
        good.ask("counts")
    assert 5 < len(caplog.records) < 30


def test_only_the_owner_ends_the_pool_as_it_leaves(peers: Any) -> None:
    good = peers(hello())
    impostor = peers(hello(owner=True, pid=os.getppid()))
    impostor.say(Left())
    wait_until(lambda: good.ask("counts").answer["clients"] == 1)


def test_a_peer_whose_process_is_gone_is_forgotten(peers: Any) -> None:
    good = peers(hello())
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    peers(hello(pid=pid))
    peers(hello(pid=(1 << 31) - 1))
    wait_until(lambda: good.ask("counts").answer["clients"] == 1)


def test_one_that_comes_as_another_one_goes_is_not_taken_for_it(
    hub: Hub, peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = peers(hello())
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        leaver = _introduced(hub)
        # So many that one of them is given the descriptor that was the leaver's.
        newcomers = [_introduced(hub) for _ in range(20)]
        leaver.send(codec.encode([hello(pid=process.pid)]))
        wait_until(lambda: good.ask("counts").answer["clients"] == 2)

        # The hub is busy while one peer leaves, its process ends, and others come.
        handle, is_busy, go_on = hub.machine.handle, threading.Event(), threading.Event()

        def handle_slowly(events: Any, now: float) -> Any:
            is_busy.set()
            assert go_on.wait(10)
            return handle(events, now)

        monkeypatch.setattr(hub.machine, "handle", handle_slowly)
        good.say(Ping())
        assert is_busy.wait(10)
        leaver.send(codec.encode([Left()]))
    for newcomer in newcomers:
        newcomer.send(codec.encode([hello()]))
    go_on.set()

    wait_until(lambda: good.ask("counts").answer["clients"] == 1 + len(newcomers))
    for link in leaver, *newcomers:
        link.close()


def _introduced(hub: Hub) -> Link:
    """A link that has met the hub, and has said nothing yet."""
    link = Link.connect(hub.config.endpoint, codec.MAX_FRAME_BYTES)
    wait_until(lambda: link.read() == [] and link.is_open)
    return link


def test_bytes_that_are_not_even_zeromq(hub: Hub, peers: Any) -> None:
    good = peers(hello())
    path = hub.config.endpoint.removeprefix("ipc://")
    for noise in (
        b"",
        b"\x00" * 100,
        os.urandom(5000),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" + b"\0" * 9,
    ):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(path)
            raw.sendall(noise)
    assert good.ask("counts").answer["clients"] == 1


def test_many_connections_that_never_say_a_word(hub: Hub, peers: Any) -> None:
    path = hub.config.endpoint.removeprefix("ipc://")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(300)]
    try:
        for raw in silent:
            raw.connect(path)
        assert peers(hello()).ask("counts").answer["clients"] == 1
    finally:
        for raw in silent:
            raw.close()


def test_an_oversized_frame_costs_its_sender_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 1 << 16)
    hubs = hub.__wrapped__()  # type: ignore[attr-defined]
    small = next(hubs)
    good, bad = Peer(small.config.endpoint), Peer(small.config.endpoint)
    try:
        good.say(hello())
        good.hear()
        bad.say(hello())
        bad.hear()
        bad.send(bytes(1 << 17))
        heard = bad.hear()
        assert isinstance(heard[0], Refused)
        assert "131,072" in heard[0].message
        assert good.ask("counts").answer["clients"] == 1
    finally:
        good.close()
        bad.close()
        next(hubs, None)


_SMALL_IDS = st.integers(0, 12) | st.integers(1 << 41, (1 << 41) + 12) | st.just(1 << 62)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    speeches=st.lists(
        st.sampled_from([kind for kind in TO_HUB if kind is not Hello]).flatmap(
            lambda kind: message(kind, ints=_SMALL_IDS)
        ),
        max_size=12,
    ),
    role=st.sampled_from(["client", "node", "engine"]),
)
def test_whatever_members_say_the_hub_lives(
    speeches: list[ToHub], role: str, tmp_path: Path
) -> None:
    """The machine behind the hub meets every message with every value that decodes."""
    from parallax.core.machine import Machine, PeerJoined, PeerLost, Received

    machine = Machine()
    node = hello(role="node", resources={"CPU": 2.0})
    machine.handle([PeerJoined(1, node)], 0.0)
    for number in (1, 2):
        machine.handle([PeerJoined(1 + number, hello(role="engine", number=number))], 0.0)
    machine.handle([PeerJoined(4, hello())], 0.0)
    machine.handle([PeerJoined(5, hello(role=role, resources={"CPU": 1.0}, number=3))], 0.0)
    for at, speech in enumerate(speeches):
        received = codec.decode_to_hub(codec.encode([speech]))[0]
        machine.handle([Received(4 + at % 2, received)], at * 0.01)
    machine.handle([PeerLost(5)], 1.0)
    machine.handle([PeerLost(4)], 2.0)
    machine.handle([], 100.0)
