"""What is read from a desk as it comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import parallax as px
from parallax.errors import DeadlockError, GetTimeoutError, UsageError
from parallax.sync.checks import check_timeout
from parallax.sync.shared import first, give_up

T = TypeVar("T")


class Subscription(Generic[T]):
    """Messages from a desk, one after the other, in the process that has subscribed.

    Iterate over it with ``for`` or ``async for``, or call `get`. It ends by `close`, at the end of
    a ``with`` block, or when it is collected. To be read in one thread at a time.
    """

    def __init__(
        self, feed: Any, argument: Any, read: Callable[[list[Any]], list[T]], title: str
    ) -> None:
        # A job of its own: one may wait for the job that has subscribed, and this may never end.
        with px.job(title):
            # One batch under way; the others wait at the desk, which knows how many may.
            self._stream = feed.options(backpressure=1).remote(argument)
        self._read = read
        self._title = title
        self._arrived: px.ObjectRef[Any] | None = None
        """A batch that was not unpacked yet."""
        self._ready: deque[T] = deque()
        self._lost = 0
        self._closed = False
        first(self._stream)

    @property
    def lost(self) -> int:
        """How many messages gave way to newer ones, because this end was too slow."""
        return self._lost

    def get(self, timeout: float | None = None) -> T:
        """The next message. Blocks until there is one.

        Args:
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            GetTimeoutError: there was none in time; also a `TimeoutError`.
            DeadlockError: in an inline session none would come.
            UsageError: it was closed.
        """
        timeout_s = check_timeout(timeout)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ready:
            if self._closed:
                raise UsageError(f"{self._title} was closed: subscribe again.")
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self._arrived is None:
                try:
                    self._arrived = self._stream.next(left_s)
                except GetTimeoutError:
                    raise self._nothing(timeout) from None
            self._take(px.get(self._arrived), timeout)
        return self._ready.popleft()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"cannot pickle {self._title}: it is read where it was made. Subscribe there, where "
            "its messages are wanted."
        )

    def close(self) -> None:
        """Read no more. Returns at once."""
        if not self._closed:
            self._closed = True
            give_up(self._stream)

    def _take(self, batch: tuple[list[Any], int], timeout: float | None) -> None:
        messages, self._lost = batch
        try:
            self._ready += self._read(messages)
        except Exception:  # it cannot be had; to keep it would be to fail for ever
            self._arrived = None
            raise
        self._arrived = None
        if not messages:
            raise self._nothing(timeout)

    def _nothing(self, timeout: float | None) -> GetTimeoutError | DeadlockError:
        if timeout is not None:
            return GetTimeoutError(f"{self._title}: there was nothing within {timeout:g} s.")
        return DeadlockError(
            f"{self._title}: there is nothing, and in an inline session nothing comes while this "
            "call waits. Pass a timeout, or use a pool: parallax.init()."
        )

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._closed:
            raise StopIteration
        return self.get()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._ready:
            if self._closed:
                raise StopAsyncIteration
            if self._arrived is None:
                self._arrived = await anext(self._stream)
            assert self._arrived is not None
            self._take(await self._arrived, None)
        return self._ready.popleft()

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
