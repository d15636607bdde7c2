"""Who may join a pool: a peer that holds the key, speaks our language and says what it is."""

from __future__ import annotations

import hmac
import platform
import time
from collections import deque

from parallax.errors import AuthenticationError, ProtocolError
from parallax.messages import PROTOCOL, Hello
from parallax.pool.config import PoolConfig
from parallax.version import VERSION

ROLES = frozenset({"client", "engine", "node"})


def check_hello(hello: Hello, config: PoolConfig) -> None:
    """Let the peer in, or say why not.

    Raises:
        AuthenticationError: it does not hold the cluster's key.
        ProtocolError: it cannot work with this hub.
    """
    if not hmac.compare_digest(hello.token.encode(), config.token.encode()):
        raise AuthenticationError("its key is not that of this cluster")
    if hello.protocol != PROTOCOL:
        raise ProtocolError(
            f"it speaks protocol {hello.protocol} (parallax {hello.version}), this cluster "
            f"{PROTOCOL} (parallax {VERSION}). Install the same version on both sides."
        )
    python = ".".join(platform.python_version_tuple()[:2])
    if hello.python.split(".")[:2] != python.split("."):
        raise ProtocolError(
            f"it runs Python {hello.python}, this cluster {python}: functions cannot be shipped "
            "between them. Use the same Python on both sides."
        )
    if hello.role not in ROLES:
        raise ProtocolError(f"it says that it is a {hello.role!r}, which is none of {set(ROLES)}")


class Complaints:
    """How often bad peers are worth a line in the log, whoever comes however often.

    Args:
        most: lines in `span_s` seconds.
    """

    def __init__(self, most: int = 20, span_s: float = 60.0) -> None:
        self._most = most
        self._span_s = span_s
        self._times: deque[float] = deque()

    def is_worth_a_line(self) -> bool:
        """Whether there were few lines lately."""
        now = time.monotonic()
        while self._times and now - self._times[0] > self._span_s:
            self._times.popleft()
        if len(self._times) >= self._most:
            return False
        self._times.append(now)
        return True
