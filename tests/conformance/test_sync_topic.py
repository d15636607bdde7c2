"""Topics: to publish and to subscribe."""

from __future__ import annotations

import asyncio
import gc
import pickle

import numpy as np
import pytest

import parallax as px
from tests.conformance.gates import wait_until

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]


def test_each_message_goes_to_all_who_have_subscribed_by_then() -> None:
    news = px.sync.Topic[str]()
    assert news.publish("early") == 0
    first = news.subscribe()
    assert news.publish("a") == 1
    second = news.subscribe()
    assert news.publish_batch(["b", "c"]) == 2
    assert [first.get() for _ in range(3)] == ["a", "b", "c"]
    assert [second.get() for _ in range(2)] == ["b", "c"]
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        first.get(timeout=0.01)
    assert news.publish("d") == 2
    assert first.get() == "d"


def test_large_messages() -> None:
    news = px.sync.Topic[np.ndarray]()
    with news.subscribe() as reader:
        news.publish(np.arange(100_000))
        assert reader.get()[-1] == 99_999


@pytest.mark.needs("concurrency")
def test_tasks_subscribe() -> None:
    news, ready = px.sync.Topic[int](), px.sync.Counter()

    @px.remote
    def read(news: px.sync.Topic[int], ready: px.sync.Counter) -> list[int]:
        with news.subscribe() as reader:
            ready.add()
            return [next(reader) for _ in range(100)]

    refs = [read.remote(news, ready) for _ in range(2)]
    ready.wait_for(2)
    for number in range(100):
        assert news.publish(number) == 2
    assert px.get(refs) == [list(range(100))] * 2
    wait_until(lambda: news.subscribers() == 0)


def test_who_closes_or_is_collected_is_forgotten() -> None:
    news = px.sync.Topic[int]()
    closed, dropped = news.subscribe(), news.subscribe()
    assert news.subscribers() == 2
    closed.close()
    closed.close()
    wait_until(lambda: news.subscribers() == 1)
    with pytest.raises(px.errors.UsageError, match="closed"):
        closed.get()
    assert list(closed) == []
    del dropped
    gc.collect()
    wait_until(lambda: news.subscribers() == 0)


def test_a_reader_that_is_too_slow_misses_the_oldest_and_is_told_how_many() -> None:
    news = px.sync.Topic[int]()
    with news.subscribe(limit=3) as reader:
        news.publish_batch(range(10))
        seen = []
        while not seen or seen[-1] != 9:
            seen.append(reader.get())
        assert reader.lost == 10 - len(seen)
    assert seen[-3:] == [7, 8, 9]
    assert reader.lost == 7


def test_on_an_event_loop() -> None:
    news = px.sync.Topic[int]()

    async def read() -> list[int]:
        with news.subscribe() as reader:
            news.publish_batch([1, 2])
            seen = []
            async for message in reader:
                seen.append(message)
                if len(seen) == 2:
                    reader.close()
            return seen

    assert asyncio.run(read()) == [1, 2]


def test_a_subscription_stays_where_it_was_made() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(px.sync.Topic[int]().subscribe())


def test_a_job_that_subscribes_may_be_waited_for() -> None:
    news = px.sync.Topic[int]()
    with px.job("subscribes") as job:
        reader = news.subscribe()
        px.get(px.remote(abs).remote(-1))
    assert job.wait(timeout=20)
    news.publish(1)
    assert reader.get() == 1


def test_what_would_wait_for_ever_inline_is_told_so(session: str) -> None:
    if session == "inline":
        with pytest.raises(px.errors.DeadlockError, match="inline session"):
            px.sync.Topic[int]().subscribe().get()


def test_a_limit_that_makes_no_sense() -> None:
    with pytest.raises(px.errors.UsageError, match="limit=0"):
        px.sync.Topic[int]().subscribe(limit=0)
