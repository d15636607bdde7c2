"""Messages from many to many."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Generic, TypeVar

from parallax.sync.checks import check_count
from parallax.sync.desk import Desk
from parallax.sync.entries import Entry, decode, encode, encode_all
from parallax.sync.feed import Feed
from parallax.sync.shared import Shared, ask
from parallax.sync.subscription import Subscription

T = TypeVar("T")

DEFAULT_LIMIT = 10_000
"""Messages that wait for one subscriber."""


class TopicDesk(Desk):
    """Hands each message to all who have subscribed."""

    def __init__(self, home: str) -> None:
        super().__init__(home)
        self._feeds: set[Feed] = set()

    async def publish(self, entries: list[Entry]) -> int:
        """Add these messages to all feeds; how many there are."""
        for feed in self._feeds:
            for entry in entries:
                feed.push(entry)
        return len(self._feeds)

    async def count(self) -> int:
        """How many have subscribed."""
        return len(self._feeds)

    async def subscribe(self, limit: int) -> AsyncIterator[Any]:
        """What is published from now on; see `Feed`."""
        feed = Feed(limit, alone=self._alone)
        self._feeds.add(feed)
        try:
            async for batch in feed.batches():
                yield batch
        finally:
            self._feeds.remove(feed)


class Topic(Shared, Generic[T]):
    """Each message goes to all who have subscribed by then. Publishing never waits for readers.

    A subscriber that is interrupted, ends or dies is forgotten. Thread-safe.

        >>> import parallax as px
        >>> news = px.sync.Topic()
        >>> with news.subscribe() as reader:
        ...     news.publish("it works")
        ...     reader.get()
        1
        'it works'

    Args:
        name: to be found by anybody who makes one of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.
    """

    def __init__(self, *, name: str | None = None, lifetime: str | None = None) -> None:
        super().__init__(TopicDesk, name=name, lifetime=lifetime)

    def publish(self, message: T) -> int:
        """Give a message to all subscribers; how many there are. A round trip.

        Raises:
            SerializationError: the message cannot be pickled.
        """
        return int(ask(self._desk.publish.remote([encode(message)])))

    def publish_batch(self, messages: Iterable[T]) -> int:
        """The same with several messages, in one call."""
        return int(ask(self._desk.publish.remote(encode_all(messages))))

    def subscribe(self, limit: int = DEFAULT_LIMIT) -> Subscription[T]:
        """Read what is published from now on. Blocks for a round trip.

        Args:
            limit: messages that may wait for this reader; beyond it the oldest are dropped, and
                counted by `Subscription.lost`.

        Raises:
            UsageError: a limit that makes no sense.
        """
        check_count("limit", limit)
        return Subscription(self._desk.subscribe, limit, decode, f"the subscription of {self!r}")

    def subscribers(self) -> int:
        """How many have subscribed. A round trip; it may have changed by then."""
        return int(ask(self._desk.count.remote()))

    def __repr__(self) -> str:
        return f"<Topic at {self._desk!r}>"
