"""A client's side of the journal: what it wants kept, and what it recalls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from parallax.errors import GetTimeoutError
from parallax.messages import (
    Failure,
    ForgetRequested,
    KeepRequested,
    RecallRequested,
    ToHub,
)
from parallax.pool.client import Client
from parallax.pool.failures import to_error
from parallax.pool.kept_values import read_kept
from parallax.pool.waiter import FOREVER
from parallax.serial.values import unpack


class PoolKeeper:
    """What the pool keeps. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def keep(self, object_id: int, name: str) -> None:
        """Returns when it is on disk, or on disk that it will be kept when it is there."""
        self._request(lambda request: KeepRequested(request, object_id, name))

    def forget(self, name: str) -> None:
        """Returns when that is on disk."""
        self._request(lambda request: ForgetRequested(request, name))

    def recall(self, name: str, timeout_s: float | None) -> Any:
        """The value; waits until there is one."""
        deadline = FOREVER if timeout_s is None else time.monotonic() + timeout_s
        while True:
            found = self._request(lambda request: RecallRequested(request, name, wait=False))
            if "pending" in found:
                found = self._request(lambda request: RecallRequested(request, name), deadline)
            if found is None:
                raise GetTimeoutError(
                    f"{name!r} was not kept within {timeout_s:g} s: its task has not ended. Call "
                    "recall again."
                )
            if "value" in found:
                return unpack(found["value"])
            try:
                return read_kept(found["file"])
            except FileNotFoundError:  # replaced or forgotten just now: ask what there is instead
                continue

    def names(self) -> list[dict[str, Any]]:
        """What is known of each name, in the order in which they were kept."""
        rows: list[dict[str, Any]] = self._request(RecallRequested)
        return rows

    def _request(self, make: Callable[[int], ToHub], deadline: float = FOREVER) -> Any:
        """The answer; None when there was none in time."""
        message = self._client.request(make, deadline, lasts=True)
        if message is None:
            return None
        answer = message.answer
        if isinstance(answer, dict) and "failure" in answer:
            raise to_error(msgspec.convert(answer["failure"], Failure))
        return answer if answer is not None else {}
