"""Questions to the hub, and its answers."""

from __future__ import annotations

import itertools
import time
from typing import Any

from parallax.errors import ClusterLostError
from parallax.messages import Answered, Asked
from parallax.pool.membership import Membership
from parallax.pool.waiter import Waiter


class Questions:
    """What one client has asked. All methods may be called from any thread."""

    def __init__(self, client: Membership) -> None:
        self._client = client
        self._channel = client.channel
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Waiter, list[Answered]]] = {}

    def ask(self, what: str, argument: Any = None, timeout_s: float = 10.0) -> Any:
        """Ask the hub and wait for the answer.

        Raises:
            LookupError: the hub does not know what it was asked about.
            ClusterLostError: no answer.
        """
        client = self._client
        waiter = Waiter(1)
        answers: list[Answered] = []
        request = next(self._numbers)
        with self._channel.lock:
            if client.lost:
                raise client.gone()
            self._open[request] = (waiter, answers)
        try:
            self._channel.post(Asked(request, what, argument))
            self._channel.wait(waiter, waiter.event, time.monotonic() + timeout_s)
        finally:
            self._open.pop(request, None)
        if not answers:
            client.check()
            raise ClusterLostError(f"the hub did not answer within {timeout_s:g} s")
        if answers[0].error:
            raise LookupError(answers[0].error)
        return answers[0].answer

    def answered(self, message: Answered) -> None:
        """The hub has answered. Late, nobody may wait for it any more."""
        waiter, answers = self._open.pop(message.request, (None, []))
        answers.append(message)
        if waiter is not None:
            waiter.count()

    def lose(self) -> None:
        """Nothing will come any more: nobody waits any longer. Under the channel's lock."""
        for waiter, _ in list(self._open.values()):
            waiter.finish()
