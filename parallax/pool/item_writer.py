"""The items of streaming tasks on their way out of an engine, and how far their readers are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parallax.messages import Assignment, ItemYielded, Value
from parallax.pool.client import Client
from parallax.pool.context import engine
from parallax.pool.waiter import FOREVER, Waiter


class ItemWriter:
    """Sends items, and holds up tasks that are too far ahead. Thread-safe.

    Args:
        block: called before a wait that may be long; returns what to call after it.
    """

    def __init__(
        self, client: Client, block: Callable[[Sequence[int]], Callable[[], None] | None]
    ) -> None:
        self._client = client
        self._block = block
        self._taken: dict[int, int] = {}
        """Items that the reader has taken, by task."""
        self._waiters: dict[int, Waiter] = {}
        """Where a thread waits that is too far ahead, by task."""

    def write(self, assignment: Assignment, index: int, value: Value, contained: list[int]) -> None:
        """Send item number `index`."""
        client = self._client
        with client.lock:
            object_id = client.new_id()
            client.channel.outbox.append(
                ItemYielded(assignment.id, assignment.attempt, index, object_id, value, contained)
            )
        client.channel.flush()

    def await_reader(self, assignment: Assignment, index: int, limit: int) -> None:
        """Wait while the reader is `limit` items behind, and the call was not cancelled."""
        client = self._client
        task = assignment.id
        while index + 1 - self.taken(task) >= limit and task not in engine.cancelled_calls:
            waiter = self._waiters[task] = Waiter(1)
            if index + 1 - self.taken(task) < limit or task in engine.cancelled_calls:
                break
            unblock = self._block(())
            try:
                client.channel.wait(waiter, waiter.event, FOREVER)
            finally:
                if unblock is not None:
                    unblock()
            if client.lost:
                raise KeyboardInterrupt("the cluster is gone")
        self._waiters.pop(task, None)

    def taken(self, task: int) -> int:
        """How many items the reader has taken."""
        return self._taken.get(task, 0)

    def consumed(self, task: int, count: int) -> None:
        """The reader has taken so many items."""
        self._taken[task] = count
        self.wake(task)

    def wake(self, task: int) -> None:
        """Whoever waits for the reader is to look again."""
        waiter = self._waiters.get(task)
        if waiter is not None:
            waiter.finish()

    def forget(self, task: int) -> None:
        """The task has ended."""
        self._taken.pop(task, None)
