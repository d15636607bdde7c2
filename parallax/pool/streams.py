"""The streaming tasks that this process reads, and who waits for their next item."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable

from parallax.errors import GetTimeoutError, UsageError
from parallax.messages import CancelRequested, ItemReady, ItemsConsumed, RefsChanged
from parallax.pool.holdings import Holdings
from parallax.pool.membership import Membership
from parallax.pool.waiter import FOREVER, Waiter


class StreamState:
    """Item ids in order, and where the stream ended."""

    __slots__ = ("ended", "ids", "taken", "waiting")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.taken = 0
        self.ended = False
        self.waiting: list[tuple[int, Waiter | Callable[[], None]]] = []

    def item(self, index: int) -> int | None:
        """The id of an item, 0 past the end, None when it is not known yet."""
        if index < len(self.ids):
            return self.ids[index]
        return 0 if self.ended else None

    def advance(self, index: int, object_id: int) -> list[Callable[[], None]]:
        """Record news; returns what to call, outside locks, for those who asked for them."""
        if object_id == 0:
            self.ended = True
        elif index == len(self.ids):
            self.ids.append(object_id)
        told = [entry for entry in self.waiting if self.item(entry[0]) is not None]
        self.waiting = [entry for entry in self.waiting if self.item(entry[0]) is None]
        return _tell(told)

    def lose(self) -> list[Callable[[], None]]:
        """Nothing will come any more: nobody waits any longer."""
        told, self.waiting = self.waiting, []
        return _tell(told)


def _tell(entries: list[tuple[int, Waiter | Callable[[], None]]]) -> list[Callable[[], None]]:
    calls = []
    for _, target in entries:
        if isinstance(target, Waiter):
            target.finish()
        else:
            calls.append(target)
    return calls


class Streams:
    """The streams that one client reads. All methods may be called from any thread."""

    def __init__(self, client: Membership, holdings: Holdings) -> None:
        self._client = client
        self._channel = client.channel
        self._holdings = holdings
        self._states: dict[int, StreamState] = {}

    def open(self, task_id: int) -> None:
        """This process will read the task's items. Under the channel's lock."""
        self._states[task_id] = StreamState()

    def item_ready(self, message: ItemReady) -> None:
        """An item was yielded, or the end was reached."""
        with self._channel.lock:
            stream = self._states.get(message.task)
            if stream is None:
                # Its reader is gone, and this was under way: what came with it is ours to drop.
                if message.id:
                    self._channel.outbox.append(RefsChanged([], [message.id]))
                    self._channel.rows += 1
                return
            if message.id:
                local = self._holdings.local
                local[message.id] = local.get(message.id, 0) + 1
            for call in stream.advance(message.index, message.id):
                self._channel.later(call)

    def drop(self, task_id: int, gone: list[int]) -> None:
        """Nobody reads this stream any more: drop what was not taken, stop its task.

        Under the channel's lock.

        Args:
            gone: the objects that are held no more are added to it.
        """
        stream = self._states.pop(task_id, None)
        if stream is None:
            return
        self._holdings.release(stream.ids[stream.taken :], gone)
        if not stream.ended:
            self._channel.outbox.append(CancelRequested([task_id]))

    def goes_on(self, task_id: int) -> bool:
        """Is it read here, and not known to have ended? Under the channel's lock."""
        stream = self._states.get(task_id)
        return stream is not None and not stream.ended

    def lose(self) -> None:
        """Nothing will come any more: nobody waits any longer. Under the channel's lock."""
        for stream in self._states.values():
            for call in stream.lose():
                self._channel.later(call)

    # ---- reading ----------------------------------------------------------------------------

    def next_item(self, task_id: int, index: int, timeout_s: float | None) -> int:
        """The id of item `index` of a stream, 0 at its end.

        Raises:
            GetTimeoutError: nothing was yielded in time.
            ClusterLostError: the cluster is gone.
        """
        client = self._client
        client.check()
        deadline = FOREVER if timeout_s is None else time.monotonic() + timeout_s
        waiter = Waiter(1)
        with self._channel.lock:
            stream = self._state(task_id)
            item = stream.item(index)
            if item is not None:
                return item
            if client.lost:
                raise client.gone()
            stream.waiting.append((index, waiter))
        try:
            needed = (task_id,) if deadline == FOREVER else ()
            client.block(waiter, deadline, long=True, needed=needed)
        finally:
            with self._channel.lock:
                stream.waiting = [entry for entry in stream.waiting if entry[1] is not waiter]
        item = stream.item(index)
        if item is None:
            client.check()
            raise GetTimeoutError(f"nothing was yielded within {timeout_s:g} s; ask again.")
        return item

    def when_item(self, task_id: int, index: int) -> concurrent.futures.Future[int]:
        """A future of the id of item `index`."""
        future: concurrent.futures.Future[int] = concurrent.futures.Future()
        with self._channel.lock:
            stream = self._state(task_id)

        def settle() -> None:
            if not future.set_running_or_notify_cancel():
                return
            item = stream.item(index)
            if item is None:
                future.set_exception(self._client.gone())
            else:
                future.set_result(item)

        told = settle if stream.item(index) is not None else self._client.until(settle)
        with self._channel.lock:
            there = stream.item(index) is not None or bool(self._client.lost)
            if not there:
                stream.waiting.append((index, told))
        if there:
            told()
        else:
            self._channel.flush()
        return future

    def consumed(self, task_id: int, count: int) -> None:
        """The reader has taken `count` items of a stream."""
        stream = self._states.get(task_id)
        if stream is None:
            return
        stream.taken = count
        if not stream.ended:
            self._channel.post(ItemsConsumed(task_id, count))

    def _state(self, task_id: int) -> StreamState:
        stream = self._states.get(task_id)
        if stream is None:
            raise UsageError("this generator is read in another process; pass its refs instead")
        return stream
