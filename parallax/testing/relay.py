"""A process between a pool's hub and those who connect to it: it passes their bytes on, late.

Run as a script, ``python relay.py SOCKET SEED DELAY_S``, by `parallax.testing.detour`. It imports
the standard library alone, so it is there in a few hundredths of a second.

It takes the place of the hub's socket in the file system in one step: at no moment is there none.
Links that are made from then on pass through it; those that were there are left alone. What comes
in one piece is held for a random time, in each direction of each link with a dice of its own, and
passed on in order: as with any local socket nothing is lost or swapped on a link, it can only end.

Orders come on standard input, a line each, and each is answered by a line:

    knows 4242     →  1 when process 4242 has a link that passes through here, else 0
    sever 4242     →  the same, and its link has ended; what was under way is lost
    count          →  how many pieces were held so far
    calm           →  the same, and all is passed on at once, and the hub has its place back

After `calm` it lives as long as there are links. When standard input ends, whoever started it is
gone: it gives the hub its place back, and ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque

PIECE_BYTES = 1 << 18
HUB_NAME = "hub.real"
"""What the hub's own socket is called meanwhile. Paths of sockets must be short."""
_CREDENTIALS = struct.Struct("3i")
"""Of a peer: pid, uid, gid."""


class Lane:
    """One direction of a link: bytes on their way from one socket to another, in order."""

    def __init__(self, source: socket.socket, target: socket.socket, dice: random.Random) -> None:
        self.source = source
        self.target = target
        self.ended = False
        """Nothing more comes from the source."""
        self.is_stuck = False
        """The target takes nothing for the moment."""
        self.held: deque[tuple[float, bytes | memoryview]] = deque()
        """What is under way, and when it is due."""
        self._dice = dice
        self._deaf = False
        """The target is gone. What the other direction has under way still arrives."""

    def take(self, delay_s: float) -> int:
        """Read what has come; how many pieces are held for it."""
        try:
            piece = self.source.recv(PIECE_BYTES)
        except BlockingIOError:
            return 0
        except ConnectionError:  # it closed with something unread
            piece = b""
        if not piece:
            self.ended = True
        if not piece or self._deaf:
            return 0
        due = time.monotonic() + self._dice.uniform(0.0, delay_s)
        if self.held:
            due = max(due, self.held[-1][0])
        self.held.append((due, piece))
        return int(delay_s > 0.0)

    def give(self, now: float) -> None:
        """Pass on what is due."""
        self.is_stuck = False
        while self.held and self.held[0][0] <= now:
            due, piece = self.held[0]
            try:
                sent = self.target.send(piece)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._deaf = True
                self.held.clear()
                return
            if sent < len(piece):
                self.held[0] = (due, memoryview(piece)[sent:])
                self.is_stuck = True
                return
            self.held.popleft()

    def hurry(self) -> None:
        """All that is held is due."""
        self.held = deque((0.0, piece) for _, piece in self.held)

    def tear(self) -> None:
        """Of the next piece a part still arrives, which may end in the middle of a message."""
        if self.held:
            _, piece = self.held[0]
            with contextlib.suppress(OSError):  # the target is gone, or takes nothing now
                self.target.send(piece[: self._dice.randrange(len(piece) + 1)])


class Link:
    """A peer and the hub, and what is under way between them.

    Args:
        name: decides, like a seed, how long things are under way.
    """

    def __init__(self, peer: socket.socket, hub: socket.socket, name: str) -> None:
        peer.setblocking(False)
        hub.setblocking(False)
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid = int(_CREDENTIALS.unpack(credentials)[0])
        self.up = Lane(peer, hub, random.Random(f"{name} up"))
        self.down = Lane(hub, peer, random.Random(f"{name} down"))
        self.ways = ((self.up, self.down), (self.down, self.up))
        """Each direction with the one back."""

    @property
    def is_over(self) -> bool:
        """One end has closed, and all that it had sent was passed on."""
        return any(lane.ended and not lane.held for lane, _ in self.ways)

    def close(self) -> None:
        """Both ends see it."""
        self.up.source.close()
        self.down.source.close()


class Relay:
    """All links through this process.

    Args:
        path: the hub's socket.
        delay_s: so long a piece is held at most.
    """

    def __init__(self, path: str, seed: str, delay_s: float) -> None:
        self._path = path
        self._hub_path = os.path.join(os.path.dirname(path), HUB_NAME)
        self._seed = seed
        self._delay_s = delay_s
        self._links: list[Link] = []
        self._made = 0
        self._pieces = 0
        self._orders = b""
        self._in_place = False
        self._door = socket.socket(socket.AF_UNIX)

    def run(self) -> None:
        """Pass on until there is nothing to pass on any more."""
        self._take_place()
        try:
            _answer(0)
            while (self._in_place or self._links) and self._step():
                pass
        finally:
            self._give_place_back()
            for link in self._links:
                link.close()

    def _take_place(self) -> None:
        os.link(self._path, self._hub_path)  # fails if another relay is there
        try:
            own = f"{self._path}~"
            self._door.bind(own)
            self._door.listen(4096)
            self._door.setblocking(False)
            os.rename(own, self._path)
        except BaseException:
            os.unlink(self._hub_path)
            raise
        self._in_place = True

    def _give_place_back(self) -> None:
        if self._in_place:
            self._in_place = False
            with contextlib.suppress(FileNotFoundError):  # the pool is gone
                os.rename(self._hub_path, self._path)
            self._accept(self._path)  # who had come to this door just before
            self._door.close()

    # ---- one step ---------------------------------------------------------------------------

    def _step(self) -> bool:
        """Wait for something and do it; False when whoever started this process is gone."""
        ready = self._wait()
        lanes = [lane for link in self._links for lane, _ in link.ways]
        for lane in lanes:
            if lane.source.fileno() in ready and not lane.ended:
                self._pieces += lane.take(self._delay_s)
        now = time.monotonic()
        for lane in lanes:
            lane.give(now)
        for link in [link for link in self._links if link.is_over]:
            self._end(link)
        if self._in_place and self._door.fileno() in ready:
            self._accept(self._hub_path)
        return sys.stdin.fileno() not in ready or self._obey()

    def _wait(self) -> set[int]:
        """The descriptors that are ready, once there are some or something is due."""
        poll = select.poll()
        poll.register(sys.stdin, select.POLLIN)
        if self._in_place:
            poll.register(self._door, select.POLLIN)
        due = float("inf")
        for link in self._links:
            for lane, back in link.ways:
                events = (not lane.ended) * select.POLLIN | back.is_stuck * select.POLLOUT
                if events:
                    poll.register(lane.source, events)
                if lane.held and not lane.is_stuck:
                    due = min(due, lane.held[0][0])
        wait_ms = None if due == float("inf") else max(0.0, due - time.monotonic()) * 1000
        return {fd for fd, _ in poll.poll(wait_ms)}

    def _accept(self, hub_path: str) -> None:
        while True:
            try:
                peer, _ = self._door.accept()
            except (BlockingIOError, ConnectionError):
                return
            hub = socket.socket(socket.AF_UNIX)
            try:
                hub.connect(hub_path)
            except OSError:  # the hub is gone, as the peer will see
                peer.close()
                hub.close()
                continue
            self._made += 1
            self._links.append(Link(peer, hub, f"{self._seed} {self._made}"))

    def _end(self, link: Link) -> None:
        self._links.remove(link)
        link.close()

    # ---- orders -----------------------------------------------------------------------------

    def _obey(self) -> bool:
        data = os.read(sys.stdin.fileno(), 4096)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            word, *rest = line.split()
            if rest:
                links = [link for link in self._links if link.pid == int(rest[0])]
                if word == b"sever":
                    self._sever(links)
                _answer(len(links))
            else:
                if word == b"calm":
                    self._calm()
                _answer(self._pieces)
        return bool(data)

    def _sever(self, links: list[Link]) -> None:
        for link in links:
            for lane, _ in link.ways:
                lane.tear()
            self._end(link)

    def _calm(self) -> None:
        self._delay_s = 0.0
        for link in self._links:
            for lane, _ in link.ways:
                lane.hurry()
        self._give_place_back()


def _answer(number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody hears it; the input has ended, too
        os.write(sys.stdout.fileno(), f"{number}\n".encode())


if __name__ == "__main__":
    Relay(sys.argv[1], sys.argv[2], float(sys.argv[3])).run()
