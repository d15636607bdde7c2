"""How a process is let into a cluster: its hello, and the hub's answer."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

from parallax.errors import AuthenticationError, ClusterLostError, ProtocolError
from parallax.messages import PROTOCOL, Hello, Refused, Welcome
from parallax.net.channel import Channel
from parallax.net.connection import Connection
from parallax.pool.waiter import Waiter
from parallax.version import VERSION

TIMEOUT_S = 30.0
STEP_S = 0.25
"""How often is asked whether the hub is alive."""


class Entry:
    """One process at the door of a cluster.

    Args:
        role: ``client`` or ``engine``.
        number: an engine's.
        owner: whether the cluster ends with this process.
    """

    def __init__(self, connection: Connection, role: str, number: int, owner: bool) -> None:
        self._connection = connection
        self._hello = Hello(
            PROTOCOL,
            VERSION,
            platform.python_version(),
            role,
            connection.token,
            os.getpid(),
            platform.node(),
            number=number,
            owner=owner,
        )
        self._answer: Welcome | Refused | None = None
        self._waiter = Waiter(1)

    def answered(self, message: Welcome | Refused) -> None:
        """The hub's answer has come. A refusal is the end of the client, which calls `lose`."""
        self._answer = message
        if isinstance(message, Welcome):
            self._waiter.finish()

    def lose(self) -> None:
        """No answer will come any more."""
        self._waiter.finish()

    def wait(self, channel: Channel, alive: Callable[[], bool], why: Callable[[], str]) -> Welcome:
        """Say hello, start the channel and wait for the welcome.

        Args:
            alive: asked now and then; False ends the wait.
            why: why the cluster is gone, if it is.

        Raises:
            AuthenticationError, ProtocolError: the hub does not let us in.
            ClusterLostError: no answer.
        """
        channel.post(self._hello)
        channel.start()
        deadline = time.monotonic() + TIMEOUT_S
        waiter = self._waiter
        while not waiter.done:
            step = min(deadline, time.monotonic() + STEP_S)
            channel.wait(waiter, waiter.event, step)
            if not waiter.done and (not alive() or time.monotonic() >= deadline):
                raise ClusterLostError(
                    f"the hub of cluster {self._connection.cluster} does not answer at "
                    f"{self._connection.endpoint}."
                )
        answer = self._answer
        if isinstance(answer, Welcome):
            return answer
        if answer is None:
            raise ClusterLostError(f"the cluster {self._connection.cluster} is gone: {why()}.")
        kind = AuthenticationError if answer.kind == "authentication" else ProtocolError
        raise kind(f"the cluster refused this client: {answer.message}")
