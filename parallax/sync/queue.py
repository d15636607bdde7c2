"""A queue that tasks, actors and drivers share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from parallax.errors import UsageError
from parallax.sync.checks import check_count, check_timeout
from parallax.sync.entries import Entry, decode, decode_async, encode, encode_all
from parallax.sync.errors import Empty, Full, Outcome, ShutDown, error_of
from parallax.sync.queue_desk import QueueDesk
from parallax.sync.shared import Shared, ask, ask_async, first, first_async, new_ticket

T = TypeVar("T")


class Queue(Shared, Generic[T]):
    """A first-in, first-out queue between processes, with the verbs of `queue` and `asyncio`.

    Pass it to tasks and actors: all have the same queue. Who waits is served in the order of
    arrival. Each item goes to one taker; one that was on its way to somebody who is interrupted or
    dies goes back to the front. Large items go through shared memory. A call takes a round trip to
    the queue's own process, with one item or a hundred. Thread-safe.

        >>> import parallax as px
        >>> queue = px.sync.Queue(maxsize=10)
        >>> queue.put("a")
        >>> queue.put_nowait_batch(["b", "c"])
        >>> queue.get(), queue.get_nowait_batch(2)
        ('a', ['b', 'c'])
        >>> queue.get(timeout=0.01)
        Traceback (most recent call last):
        parallax.sync.errors.Empty: Queue.get(timeout=0.01): there is no item. Try again, ...

    ``with Queue() as queue:`` shuts it down at the end; ``for item in queue:`` takes items until
    then.

    Args:
        maxsize: items at most; 0 for any number.
        name: to be found by anybody who makes a queue of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.

    Raises:
        UsageError: a `maxsize` that makes no sense, or another one than that of the existing queue.
    """

    def __init__(
        self, maxsize: int = 0, *, name: str | None = None, lifetime: str | None = None
    ) -> None:
        check_count("maxsize", maxsize, least=0)
        super().__init__(QueueDesk, maxsize, name=name, lifetime=lifetime)

    @property
    def maxsize(self) -> int:
        """Items at most; 0 for any number."""
        return int(self._facts[0])

    # ---- putting ----------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add an item. Blocks while the queue is full.

        Args:
            item: anything that can be pickled.
            block: False raises at once when there is no room.
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            Full: there was no room, in all that time.
            ShutDown: the queue was shut down.
            DeadlockError: it is full, and in an inline session it would remain so.
            SerializationError: the item cannot be pickled.
        """
        wait_s = _wait_s(block, timeout)
        self._put([encode(item)], wait_s, _title("put", block, timeout))

    def put_nowait(self, item: T) -> None:
        """As ``put(item, block=False)``."""
        self.put(item, block=False)

    def put_batch(self, items: Iterable[T], timeout: float | None = None) -> None:
        """Add all these items at once, in one call. Blocks until there is room for all of them.

        Raises:
            UsageError: they are more than `maxsize`.
            Full, ShutDown, DeadlockError, SerializationError: as `put`; then none was added.
        """
        entries = self._check_fit(encode_all(items))
        self._put(entries, check_timeout(timeout), _title("put_batch", True, timeout))

    def put_nowait_batch(self, items: Iterable[T]) -> None:
        """As `put_batch`, but raises at once when there is no room for all of them."""
        self._put(encode_all(items), 0.0, "put_nowait_batch()")

    async def put_async(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """As `put`, on an event loop, which goes on meanwhile."""
        wait_s = _wait_s(block, timeout)
        call = self._desk.put.remote([encode(item)], wait_s)
        self._check_put(await ask_async(call), _title("put_async", block, timeout))

    def _put(self, entries: list[Entry], wait_s: float | None, title: str) -> None:
        self._check_put(ask(self._desk.put.remote(entries, wait_s)), title)

    def _check_put(self, outcome: Outcome, title: str) -> None:
        if outcome is not Outcome.DONE:
            raise error_of(
                outcome, f"Queue.{title}", Full, f"the queue is full (maxsize={self.maxsize})"
            )

    def _check_fit(self, entries: list[Entry]) -> list[Entry]:
        if self.maxsize and len(entries) > self.maxsize:
            raise UsageError(
                f"{len(entries)} items can never be in a queue of maxsize={self.maxsize} at once: "
                "put them in smaller batches."
            )
        return entries

    # ---- getting ----------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the first item. Blocks while the queue is empty; a Ctrl-C loses no item.

        Args:
            block: False raises at once when there is no item.
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            Empty: there was no item, in all that time.
            ShutDown: the queue was shut down, and is empty.
            DeadlockError: it is empty, and in an inline session it would remain so.
            ObjectLostError: the item's value was lost; it is taken nevertheless.
        """
        return self._get(1, 1, _wait_s(block, timeout), _title("get", block, timeout))[0]

    def get_nowait(self) -> T:
        """As ``get(block=False)``."""
        return self.get(block=False)

    def get_batch(self, most: int, timeout: float | None = None) -> list[T]:
        """Take up to `most` items in one call. Blocks until there is at least one.

        Raises:
            Empty, ShutDown, DeadlockError, ObjectLostError: as `get`.
        """
        check_count("most", most)
        return self._get(1, most, check_timeout(timeout), _title("get_batch", True, timeout))

    def get_nowait_batch(self, count: int) -> list[T]:
        """Take exactly `count` items in one call, or raise `Empty` at once and take none."""
        check_count("count", count, least=0)
        return self._get(count, count, 0.0, f"get_nowait_batch({count})")

    async def get_async(self, block: bool = True, timeout: float | None = None) -> T:
        """As `get`, on an event loop, which goes on meanwhile."""
        wait_s = _wait_s(block, timeout)
        ticket = new_ticket()
        stream = self._desk.take.remote(ticket, 1, 1, wait_s)  # kept: it ends with its reader
        found = await first_async(stream)
        entries = self._check_found(found, _title("get_async", block, timeout))
        try:
            (value,) = await decode_async(entries)
        except Exception:
            self._desk.settle.remote(ticket)
            raise
        except BaseException:
            self._desk.take_back.remote(ticket, entries)
            raise
        self._desk.settle.remote(ticket)
        self._let_end(stream)
        return value  # type: ignore[no-any-return]

    def _get(self, least: int, most: int, wait_s: float | None, title: str) -> list[T]:
        ticket = new_ticket()
        stream = self._desk.take.remote(ticket, least, most, wait_s)  # kept, as above
        entries = self._check_found(first(stream), title)
        try:
            values = decode(entries)
            self._desk.settle.remote(ticket)
            self._let_end(stream)
            return values
        except Exception:  # it cannot be had; to put it back would be to fail for ever
            self._desk.settle.remote(ticket)
            raise
        except BaseException:
            self._desk.take_back.remote(ticket, entries)
            raise

    def _check_found(self, found: list[Entry] | Outcome, title: str) -> list[Entry]:
        if isinstance(found, Outcome):
            few = title.startswith("get_nowait_batch")
            why = "there are fewer items" if few else "there is no item"
            raise error_of(found, f"Queue.{title}", Empty, why)
        return found

    # ---- the rest ---------------------------------------------------------------------------

    def qsize(self) -> int:
        """How many items there are. A round trip; it may have changed by then."""
        return int(ask(self._desk.size.remote()))

    def size(self) -> int:
        """As `qsize`."""
        return self.qsize()

    def __len__(self) -> int:
        return self.qsize()

    def empty(self) -> bool:
        """Is there no item? A round trip; it may have changed by then."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Is there no room? A round trip; it may have changed by then."""
        return self.maxsize > 0 and self.qsize() >= self.maxsize

    def shutdown(self, immediate: bool = False) -> None:
        """Take no more items: `put` raises `ShutDown`, and `get` too once the queue is empty.

        Waits for the queue to have heard of it.

        Args:
            immediate: drop the items that are there.
        """
        ask(self._desk.shut_down.remote(immediate))

    def __bool__(self) -> bool:
        return True  # and not whether there are items

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                item = await self.get_async()
            except ShutDown:
                return
            yield item

    def __enter__(self) -> Queue[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<Queue maxsize={self.maxsize} at {self._desk!r}>"


def _wait_s(block: bool, timeout: float | None) -> float | None:
    timeout_s = check_timeout(timeout)
    return timeout_s if block else 0.0


def _title(verb: str, block: bool, timeout: float | None) -> str:
    if not block:
        return f"{verb}(block=False)"
    return f"{verb}()" if timeout is None else f"{verb}(timeout={timeout:g})"
