"""Actors that run several calls at once: in threads, or on an event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate

pytestmark = pytest.mark.usefixtures("session")


@px.remote(max_concurrency=2)
class Threaded:
    def __init__(self) -> None:
        self.local = threading.local()

    def stop_at(self, gate: Gate, name: str) -> str:
        gate.pass_through(name)
        return px.get_runtime_context().task_name

    def speak(self, text: str) -> None:
        print(text)

    def stream(self, gate: Gate) -> Iterator[int]:
        yield 1
        gate.pass_through("stream")
        yield 2


@pytest.mark.needs("concurrency")
def test_calls_run_in_threads_side_by_side(gate: Gate) -> None:
    actor = Threaded.remote()
    refs = [actor.stop_at.remote(gate, name) for name in ("a", "b", "c")]
    gate.wait_for(1, "a")
    gate.wait_for(1, "b")
    assert gate.count("c") == 0
    gate.open()
    assert px.get(refs) == ["Threaded.stop_at"] * 3


@pytest.mark.needs("concurrency")
def test_a_stream_beside_other_calls(gate: Gate) -> None:
    actor = Threaded.remote()
    generator = actor.stream.remote(gate)
    assert px.get(next(generator)) == 1
    gate.open()
    assert px.get(actor.stop_at.remote(gate, "other")) == "Threaded.stop_at"
    assert [px.get(ref) for ref in generator] == [2]


@pytest.mark.needs("concurrency")
def test_a_call_that_waits_in_a_thread_is_cancelled(gate: Gate) -> None:
    actor = Threaded.remote()
    running = [actor.stop_at.remote(gate, name) for name in ("a", "b")]
    gate.wait_for(2, "[ab]")
    waiting = actor.stop_at.remote(gate, "c")
    px.cancel(waiting)
    with pytest.raises(px.errors.TaskCancelledError):
        px.get(waiting)
    gate.open()
    px.get(running)
    assert gate.count("c") == 0


@px.remote(concurrency_groups={"io": 1, "compute": 1})
class Grouped:
    @px.method(concurrency_group="io")
    def read(self, gate: Gate) -> None:
        gate.pass_through("read")

    @px.method(concurrency_group="compute")
    def compute(self, gate: Gate) -> None:
        gate.pass_through("compute")

    def quick(self) -> int:
        return 1


@pytest.mark.needs("concurrency")
def test_concurrency_groups_have_limits_of_their_own(gate: Gate) -> None:
    actor = Grouped.remote()
    refs = [actor.read.remote(gate), actor.read.remote(gate), actor.compute.remote(gate)]
    gate.wait_for(1, "read")
    gate.wait_for(1, "compute")
    assert gate.count("read") == 1
    assert px.get(actor.quick.remote()) == 1
    as_compute = actor.quick.options(concurrency_group="compute").remote()
    assert px.wait([as_compute], timeout=0)[0] == []
    gate.open()
    px.get([*refs, as_compute])


# ---- event loops ----------------------------------------------------------------------------


@px.remote
class Async:
    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.waiting = 0

    async def wait(self, gate: Gate | None = None) -> str:
        self.waiting += 1
        if gate is not None:
            gate.note("waiting")
        await self.event.wait()
        return px.get_runtime_context().task_name

    async def set(self) -> int:
        self.event.set()
        return self.waiting

    def plain(self) -> int:
        return self.waiting

    async def count_to(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            await asyncio.sleep(0)
            yield number

    async def fail(self) -> None:
        raise ZeroDivisionError("no")

    async def get(self, ref: list[Any]) -> Any:
        return await ref[0]

    async def leave(self) -> None:
        px.exit_actor()


@pytest.mark.needs("concurrency")
def test_coroutines_run_side_by_side() -> None:
    actor = Async.remote()
    refs = [actor.wait.remote() for _ in range(100)]
    while px.get(actor.plain.remote()) < 100:
        continue
    assert px.get(actor.set.remote()) == 100
    assert px.get(refs) == ["Async.wait"] * 100


def test_an_async_generator_streams() -> None:
    generator = Async.remote().count_to.remote(5)
    assert [px.get(ref) for ref in generator] == [0, 1, 2, 3, 4]


def test_backpressure_of_an_async_generator() -> None:
    generator = Async.remote().count_to.options(backpressure=1).remote(5)
    assert [px.get(ref) for ref in generator] == [0, 1, 2, 3, 4]


def test_an_exception_in_a_coroutine() -> None:
    actor = Async.remote()
    with pytest.raises(ZeroDivisionError):
        px.get(actor.fail.remote())
    assert px.get(actor.plain.remote()) == 0


def test_a_coroutine_may_await_refs() -> None:
    ref = px.put(5)
    assert px.get(Async.remote().get.remote([ref])) == 5


@pytest.mark.needs("concurrency")
def test_a_coroutine_is_cancelled_as_one() -> None:
    @px.remote
    class Sleeper:
        def __init__(self) -> None:
            self.ended = ""

        async def sleep(self) -> None:
            self.ended = "asleep"
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ended = "cancelled"
                raise

        async def how(self) -> str:
            return self.ended

    sleeper = Sleeper.remote()
    ref = sleeper.sleep.remote()
    while px.get(sleeper.how.remote()) != "asleep":
        continue
    px.cancel(ref)
    with pytest.raises(px.errors.TaskCancelledError):
        px.get(ref)
    assert px.get(sleeper.how.remote()) == "cancelled"


@pytest.mark.needs("concurrency")
def test_max_concurrency_of_coroutines(gate: Gate) -> None:
    actor = Async.options(max_concurrency=2).remote()
    refs = [actor.wait.remote(gate) for _ in range(2)]
    gate.wait_for(2, "waiting")
    third = actor.set.remote()
    assert px.wait([third], timeout=0)[0] == []
    px.cancel(refs[0])
    assert px.get(third) == 2
    assert px.get(refs[1]) == "Async.wait"


def test_exit_actor_on_an_event_loop() -> None:
    actor = Async.remote()
    with pytest.raises(px.errors.ActorDiedError, match="exit_actor"):
        px.get(actor.leave.remote())
    with pytest.raises(px.errors.ActorDiedError):
        px.get(actor.plain.remote())


@pytest.mark.needs("concurrency")
def test_get_if_all_wait_in_threads(gate: Gate) -> None:
    """Calls that wait in get give the actor's CPU up, so that what they wait for can run."""

    @px.remote(num_cpus=2, max_concurrency=2)
    class Greedy:
        def compute(self) -> int:
            return int(px.get(px.remote(lambda: 5).remote()))

    greedy = Greedy.remote()
    assert px.get([greedy.compute.remote() for _ in range(20)]) == [5] * 20


@pytest.mark.needs("concurrency")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_stream_that_nobody_reads_ends_and_lets_the_actor_go_on(threads: int, gate: Gate) -> None:
    @px.remote(max_concurrency=threads)
    class Endless:
        def count(self, gate: Gate) -> Iterator[int]:
            while True:
                gate.note("item")
                yield 1

        def quick(self) -> int:
            return 1

    actor = Endless.remote()
    generators = [actor.count.options(backpressure=2).remote(gate) for _ in range(threads)]
    gate.wait_for(2 * threads, "item")
    del generators
    gc.collect()
    px.get(px.put(1))
    assert px.get(actor.quick.remote()) == 1


class Unloadable:
    """Arrives nowhere."""

    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise ZeroDivisionError("on arrival")


@pytest.mark.needs("processes")
@pytest.mark.parametrize("kind", [Threaded, Async])
def test_a_function_that_cannot_be_loaded_fails_its_call(kind: Any) -> None:
    actor = kind.remote()
    culprit = Unloadable()
    with pytest.raises(ZeroDivisionError, match="on arrival"):
        px.get(actor.call(lambda self: culprit))
    assert px.get(actor.ready())


@pytest.mark.needs("concurrency")
def test_a_call_that_is_cancelled_before_its_first_turn_on_the_loop(gate: Gate) -> None:
    @px.remote
    class Blocked:
        async def block(self, gate: Gate) -> None:
            gate.pass_through("block")

        async def quick(self) -> int:
            return 1

    actor = Blocked.options(max_concurrency=2).remote()
    blocking = actor.block.remote(gate)
    gate.wait_for(1, "block")
    refs = [actor.quick.remote() for _ in range(2)]
    for ref in refs:
        px.cancel(ref)
    px.nodes()  # a round trip, by which the hub has told the actor
    gate.open()
    for ref in refs:
        with pytest.raises(px.errors.TaskCancelledError):
            px.get(ref, timeout=20)
    px.get(blocking)
    assert px.get([actor.quick.remote() for _ in range(3)]) == [1, 1, 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_coroutine_function_on_an_actor_without_a_loop(threads: int) -> None:
    @px.remote(max_concurrency=threads)
    class Plain:
        value = 5

    async def read(self: Any) -> int:
        await asyncio.sleep(0)
        return int(self.value)

    assert px.get(Plain.remote().call(read)) == 5
