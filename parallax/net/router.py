"""The hub's end of all its links: accepts peers, and says who has something to say."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from parallax.net.link import Link

IN = 1
"""POLLIN, EPOLLIN."""
OUT = 4
"""POLLOUT, EPOLLOUT."""


class _PortablePoll:
    """`select.poll` in the manner of `select.epoll`, where there is none."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """What is ready."""
        return self._poll.poll(timeout_s * 1000)

    def close(self) -> None:
        """Nothing to close."""


class Router:
    """All peers of one listening socket. For one thread.

    Args:
        listening: peers connect to it; the router's from now on.
        limit_bytes: of a frame.
    """

    def __init__(self, listening: socket.socket, limit_bytes: int) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._limit_bytes = limit_bytes
        self._links: dict[int, Link] = {}
        self._poll = select.epoll() if hasattr(select, "epoll") else _PortablePoll()
        self._poll.register(listening.fileno(), IN)

    def watch(self, fd: int) -> None:
        """Have `wait` report this descriptor, too."""
        self._poll.register(fd, IN)

    def unwatch(self, fd: int) -> None:
        """No more. To be called before it is closed."""
        with contextlib.suppress(OSError, KeyError):  # it is watched no more
            self._poll.unregister(fd)

    def wait(self, timeout_s: float, awake_s: float = 0.0) -> tuple[list[Link], list[int]]:
        """Wait until something comes.

        Args:
            awake_s: for so long it looks again and again before it sleeps. A core that has gone to
                sleep takes tens of microseconds to wake.

        Returns:
            The links to be read, and the watched descriptors that are readable.
        """
        links: list[Link] = []
        others: list[int] = []
        poll = self._poll.poll
        ready = poll(0.0)
        if not ready and awake_s > 0.0:
            ends = time.perf_counter() + awake_s
            while not ready and time.perf_counter() < ends:
                ready = poll(0.0)
        for fd, events in ready or poll(timeout_s):
            link = self._links.get(fd)
            if link is None:
                if fd == self._listening.fileno():
                    self._accept()
                else:
                    others.append(fd)
                continue
            if events & OUT:
                link.flush()
                self._attend(link)
            if events & ~OUT:
                links.append(link)
        return links, others

    def _accept(self) -> None:
        try:
            connected, _ = self._listening.accept()
        except OSError:
            # It has gone again. Or there are no descriptors left, and it waits for one.
            return
        link = Link(connected, "ROUTER", self._limit_bytes)
        self._links[link.fileno()] = link
        self._poll.register(link.fileno(), IN)

    def send(self, link: Link, frame: bytes) -> None:
        """Send, or keep what the peer does not take yet. Never waits."""
        had_unsent = link.has_unsent
        link.send(frame)
        if link.has_unsent and not had_unsent:
            self._attend(link)

    def _attend(self, link: Link) -> None:
        self._poll.modify(link.fileno(), IN | OUT if link.has_unsent else IN)

    def drop(self, link: Link) -> None:
        """Close a link. What it has not taken yet is given up."""
        if self._links.pop(link.fileno(), None) is not None:
            self._poll.unregister(link.fileno())
            link.close()

    def close(self, linger_s: float) -> None:
        """Close all; wait for those that have not taken everything, so long altogether."""
        self._listening.close()
        deadline = time.monotonic() + linger_s
        for link in self._links.values():
            link.close(max(0.0, deadline - time.monotonic()))
        self._links.clear()
        self._poll.close()
