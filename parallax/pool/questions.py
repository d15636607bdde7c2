"""Questions to the hub, and its answers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from parallax.errors import ClusterLostError
from parallax.messages import Answered, Asked, ToHub
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
        message = self.request(
            lambda request: Asked(request, what, argument), time.monotonic() + timeout_s
        )
        if message is None:
            raise ClusterLostError(f"the hub did not answer within {timeout_s:g} s")
        if message.error:
            raise LookupError(message.error)
        return message.answer

    def request(
        self, make: Callable[[int], ToHub], deadline: float, *, lasts: bool = False
    ) -> Answered | None:
        """Send what is made of a new number, and wait for its answer.

        Args:
            deadline: on `time.monotonic`'s clock; infinity waits for ever.
            lasts: whether it may take long, so that a task gives its CPU up meanwhile.

        Returns:
            None when there was none in time.

        Raises:
            ClusterLostError: there is no hub any more.
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
            self._channel.post(make(request))
            if lasts:
                client.block(waiter, deadline, long=False)
            else:
                self._channel.wait(waiter, waiter.event, deadline)
        finally:
            self._open.pop(request, None)
        if not answers:
            client.check()
            return None
        return answers[0]

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
