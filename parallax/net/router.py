"""The hub's end of all its links: accepts peers, and says who has something to say."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time

from parallax.net.link import Link

IN = 1
"""POLLIN, EPOLLIN."""
OUT = 4
"""POLLOUT, EPOLLOUT."""
PAUSE_S = 0.1
"""Nobody is accepted for so long when there were no descriptors left."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


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
        self._attended: set[Link] = set()
        """Those that are polled for room, too."""
        self._paused_until = 0.0
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
        if self._paused_until:
            timeout_s = min(timeout_s, self._try_again())
        links: list[Link] = []
        others: list[int] = []
        poll = self._poll.poll
        ready: list[tuple[int, int]] = []
        if awake_s > 0.0:
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
        except OSError as error:
            if error.errno in _EXHAUSTED:
                # It waits, and would be reported again and again.
                self._poll.modify(self._listening.fileno(), 0)
                self._paused_until = time.monotonic() + PAUSE_S
            # Else it has gone again.
            return
        link = Link(connected, "ROUTER", self._limit_bytes)
        self._links[link.fileno()] = link
        self._poll.register(link.fileno(), IN)

    def _try_again(self) -> float:
        """Accept peers again when it is time; in how many seconds it will be."""
        left_s = self._paused_until - time.monotonic()
        if left_s > 0:
            return left_s
        self._paused_until = 0.0
        self._poll.modify(self._listening.fileno(), IN)
        return PAUSE_S

    def send(self, link: Link, frame: bytes) -> None:
        """Send, or keep what the peer does not take yet. Never waits."""
        link.send(frame)
        if link.has_unsent and link not in self._attended:
            self._attend(link)

    def _attend(self, link: Link) -> None:
        if link.has_unsent:
            self._attended.add(link)
            self._poll.modify(link.fileno(), IN | OUT)
        else:
            self._attended.discard(link)
            self._poll.modify(link.fileno(), IN)

    def drop(self, link: Link) -> None:
        """Close a link. What it has not taken yet is given up."""
        if self._links.pop(link.fileno(), None) is not None:
            self._attended.discard(link)
            self._poll.unregister(link.fileno())
            link.close()

    def close(self, linger_s: float) -> None:
        """Close all; wait for those that have not taken everything, so long altogether."""
        self._poll.close()
        self._listening.close()
        self._send_rest(linger_s)
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._attended.clear()

    def _send_rest(self, linger_s: float) -> None:
        """One that does not read must not cost another one its last words."""
        deadline = time.monotonic() + linger_s
        poll = select.poll()
        slow = {fd: link for fd, link in self._links.items() if link.has_unsent}
        for fd in slow:
            poll.register(fd, select.POLLOUT)
        while slow and (left_s := deadline - time.monotonic()) > 0:
            for fd, _ in poll.poll(left_s * 1000):
                slow[fd].flush()
                if not slow[fd].has_unsent:
                    poll.unregister(fd)
                    del slow[fd]
