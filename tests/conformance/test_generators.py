"""Streaming results: values as soon as they are yielded."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until

pytestmark = pytest.mark.usefixtures("session")


@px.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


@px.remote
def count_and_fail(n: int) -> Iterator[int]:
    yield from range(n)
    raise ZeroDivisionError("at the end")


def test_a_generator_function_streams_by_default() -> None:
    generator = count.remote(3)
    assert isinstance(generator, px.ObjectRefGenerator)
    refs = list(generator)
    assert all(isinstance(ref, px.ObjectRef) for ref in refs)
    assert px.get(refs) == [0, 1, 2]


def test_no_items() -> None:
    assert list(count.remote(0)) == []


def test_it_ends_once_and_for_all() -> None:
    generator = count.remote(1)
    assert len(list(generator)) == 1
    assert list(generator) == []
    with pytest.raises(StopIteration):
        next(generator)


def test_a_generator_function_may_return_so_many_values_instead() -> None:
    assert px.get(count.options(num_returns=3).remote(3)) == [0, 1, 2]


def test_any_iterable_can_be_streamed() -> None:
    @px.remote(num_returns="streaming")
    def letters() -> str:
        return "abc"

    assert [px.get(ref) for ref in letters.remote()] == ["a", "b", "c"]


def test_nothing_to_iterate_over() -> None:
    @px.remote(num_returns="streaming")
    def five() -> int:
        return 5

    (ref,) = five.remote()
    with pytest.raises((ValueError, TypeError), match="five"):
        px.get(ref)


def test_an_async_generator_function() -> None:
    @px.remote
    async def count_slowly(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    assert [px.get(ref) for ref in count_slowly.remote(3)] == [0, 1, 2]


def test_an_exception_is_the_last_ref() -> None:
    *refs, last = count_and_fail.remote(2)
    assert px.get(refs) == [0, 1]
    with pytest.raises(ZeroDivisionError, match="at the end"):
        px.get(last)


def test_an_exception_before_the_first_item() -> None:
    (last,) = count_and_fail.remote(0)
    with pytest.raises(ZeroDivisionError):
        px.get(last)


def test_an_item_that_cannot_be_pickled() -> None:
    @px.remote
    def connections() -> Iterator[Any]:
        import threading

        yield 1
        yield threading.Lock()

    first, second = connections.remote()
    assert px.get(first) == 1
    with pytest.raises(TypeError, match="lock"):
        px.get(second)


def test_async_iteration() -> None:
    async def read() -> list[int]:
        return [await ref async for ref in count.remote(3)]

    assert asyncio.run(read()) == [0, 1, 2]


def test_async_iteration_ends_with_the_exception() -> None:
    async def read() -> list[Any]:
        return [ref async for ref in count_and_fail.remote(1)]

    _, last = asyncio.run(read())
    with pytest.raises(ZeroDivisionError):
        px.get(last)


def test_items_are_arguments_like_any_ref() -> None:
    @px.remote
    def double(x: int) -> int:
        return 2 * x

    assert px.get([double.remote(ref) for ref in count.remote(3)]) == [0, 2, 4]


def test_large_items() -> None:
    @px.remote
    def arrays() -> Iterator[Any]:
        for i in range(3):
            yield np.full(100_000, i)

    for i, ref in enumerate(arrays.remote()):
        value = px.get(ref)
        assert value.shape == (100_000,)
        assert (value == i).all()


@pytest.mark.needs("concurrency")
def test_a_value_is_there_as_soon_as_it_is_yielded(gate: Gate) -> None:
    @px.remote
    def stop_half_way(gate: Gate) -> Iterator[int]:
        yield 1
        gate.pass_through()
        yield 2

    generator = stop_half_way.remote(gate)
    assert px.get(next(generator)) == 1
    gate.open()
    assert px.get(next(generator)) == 2


@pytest.mark.needs("parallax", "concurrency")
def test_next_with_a_timeout(gate: Gate) -> None:
    @px.remote
    def stop_first(gate: Gate) -> Iterator[int]:
        gate.pass_through()
        yield 1

    generator = stop_first.remote(gate)
    for timeout in (0, 0.01):
        with pytest.raises(px.errors.GetTimeoutError):
            generator.next(timeout)
    gate.open()
    assert px.get(generator.next(30)) == 1


@px.remote
def tell(gate: Gate, n: int) -> Iterator[int]:
    for i in range(n):
        gate.note(f"item{i}")
        yield i


@pytest.mark.needs("parallax")
@pytest.mark.parametrize("ahead", [1, 3])
def test_backpressure_bounds_how_far_it_is_ahead(ahead: int, gate: Gate, session: str) -> None:
    generator = tell.options(backpressure=ahead).remote(gate, 10)
    for taken in range(10):
        if session != "inline":  # which computes an item when it is asked for
            gate.wait_for(1, f"item{min(taken + ahead - 1, 9)}")
        # Beyond those not yet taken it may at most be working on the next one.
        assert gate.count(f"item{taken + ahead + 1}") == 0
        assert px.get(next(generator)) == taken
    assert list(generator) == []


@pytest.mark.needs("concurrency")
def test_without_backpressure_it_runs_to_its_end(gate: Gate) -> None:
    generator = tell.remote(gate, 10)
    gate.wait_for(1, "item9")
    assert len(list(generator)) == 10


def test_the_generator_may_go_before_its_refs() -> None:
    generator = count.remote(3)
    refs = [next(generator) for _ in range(2)]
    del generator
    gc.collect()
    assert px.get(refs) == [0, 1]


@pytest.mark.needs("concurrency", "parallax")
def test_a_task_whose_generator_is_gone_is_cancelled(gate: Gate) -> None:
    with px.job("unread") as job:
        generator = tell.options(backpressure=1).remote(gate, 100)
    gate.wait_for(1, "item0")
    del generator
    gc.collect()
    px.get(px.put(1))
    assert job.wait(30)
    assert job.state == "cancelled"
    assert gate.count("item99") == 0


def test_a_cancelled_stream_ends_with_the_news(gate: Gate) -> None:
    generator = tell.options(backpressure=1).remote(gate, 100)
    first = next(generator)
    px.cancel(generator)
    *_, last = generator
    assert px.get(first) == 0
    with pytest.raises(px.errors.TaskCancelledError):
        px.get(last)
    assert gate.count("item99") == 0


def test_a_retried_stream_goes_on_where_it_was(gate: Gate) -> None:
    @px.remote(retry_exceptions=True)
    def fail_once(gate: Gate) -> Iterator[int]:
        gate.note()
        yield 0
        yield 1
        if gate.count() < 2:
            raise ValueError
        yield 2

    assert [px.get(ref) for ref in fail_once.remote(gate)] == [0, 1, 2]


@px.remote
class Source:
    def __init__(self) -> None:
        self.ended = 0

    async def stream(self) -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
        finally:
            self.ended += 1

    async def how_many_ended(self) -> int:
        return self.ended


@px.remote
class Reader:
    def read(self, source: px.ActorHandle) -> None:
        self.stream = source.stream.options(backpressure=1).remote()
        next(self.stream)

    def read_on(self) -> int:
        return int(px.get(next(self.stream)))


@pytest.mark.needs("parallax")
def test_a_stream_ends_with_the_task_that_reads_it_wherever_its_generator_is_kept() -> None:
    source = Source.remote()

    @px.remote
    def read(source: px.ActorHandle) -> None:
        stream = source.stream.options(backpressure=1).remote()
        next(stream)
        vars(sys).setdefault("kept", []).append(stream)

    px.get(read.remote(source))
    wait_until(lambda: px.get(source.how_many_ended.remote()) == 1)


@pytest.mark.needs("parallax")
def test_an_actor_reads_on_in_its_next_call() -> None:
    source, reader = Source.remote(), Reader.remote()
    px.get(reader.read.remote(source))
    assert px.get(reader.read_on.remote()) == 1
    assert px.get(source.how_many_ended.remote()) == 0


@pytest.mark.needs("parallax", "processes")
def test_a_stream_ends_with_the_actor_that_reads_it() -> None:
    source, reader = Source.remote(), Reader.remote()
    px.get(reader.read.remote(source))
    px.kill(reader)
    wait_until(lambda: px.get(source.how_many_ended.remote()) == 1)


@pytest.mark.needs("parallax")
def test_backpressure_is_for_streams() -> None:
    with pytest.raises(px.errors.UsageError, match="streaming"):
        px.remote(backpressure=2)(len)


def test_get_of_a_generator_says_what_to_do() -> None:
    generator = count.remote(1)
    with pytest.raises(TypeError, match="iterate"):
        px.get(generator)


@pytest.mark.needs("parallax")
def test_a_generator_stays_where_it_was_made() -> None:
    generator = count.remote(1)
    with pytest.raises(TypeError, match="Pass its refs"):
        pickle.dumps(generator)
    assert repr(generator).startswith("ObjectRefGenerator(")
