"""`ObjectRef`: what it is, where it may go, and that the last one gone frees the value."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import gc
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.conformance.tasks import fail, same, stop_at

pytestmark = pytest.mark.usefixtures("session")


def test_refs_are_hashable_and_equal_to_copies_of_themselves() -> None:
    one, two = px.put(1), px.put(1)
    assert one != two
    assert len({one, two, copy.copy(one), copy.deepcopy(one)}) == 2


def test_hex_is_the_same_for_the_same_object() -> None:
    one, two = px.put(1), px.put(1)
    assert one.hex() != two.hex()
    assert copy.copy(one).hex() == one.hex()
    assert int(one.hex(), 16)


def test_pickling() -> None:
    ref = same.remote([1])
    back = pickle.loads(pickle.dumps(ref))
    assert back == ref
    assert px.get(back) == [1]


@pytest.mark.needs("parallax")
def test_repr_tells_the_state() -> None:
    ref, bad = same.remote(1), fail.remote()
    px.wait([ref, bad], num_returns=2)
    assert repr(ref) == f"ObjectRef({ref.hex()}, ready)"
    assert repr(bad) == f"ObjectRef({bad.hex()}, failed)"


@pytest.mark.needs("concurrency", "parallax")
def test_repr_of_a_pending_one(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    assert "pending" in repr(ref)
    gate.open()
    px.get(ref)


@pytest.mark.needs("parallax")
def test_a_ref_is_no_iterable() -> None:
    with pytest.raises(TypeError, match="get"):
        iter(px.put([1]))  # type: ignore[call-overload]


def test_await() -> None:
    async def read() -> list[Any]:
        ref = same.remote(2)
        return [await px.put(1), await ref, await ref]

    assert asyncio.run(read()) == [1, 2, 2]


def test_await_raises() -> None:
    async def read() -> None:
        await fail.remote()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(read())


def test_many_awaits_at_once() -> None:
    async def read() -> list[Any]:
        return await asyncio.gather(*[same.remote(i) for i in range(50)])

    assert asyncio.run(read()) == list(range(50))


@pytest.mark.needs("concurrency")
def test_await_does_not_block_the_loop(gate: Gate) -> None:
    async def read() -> list[Any]:
        waiting = asyncio.ensure_future(_await(stop_at.remote(gate)))
        first = await same.remote(0)
        assert not waiting.done()
        gate.open()
        return [first, await waiting]

    async def _await(ref: Any) -> Any:
        return await ref

    assert asyncio.run(read()) == [0, 1]


def test_future() -> None:
    future = same.remote(1).future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(30) == 1
    with pytest.raises(ZeroDivisionError):
        fail.remote().future().result(30)


def test_futures_work_with_the_standard_library() -> None:
    futures = [same.remote(i).future() for i in range(5)]
    done, not_done = concurrent.futures.wait(futures, 30)
    assert sorted(future.result() for future in done) == list(range(5))
    assert not not_done


def test_a_future_keeps_its_value() -> None:
    ref = same.remote([1, 2])
    future = ref.future()
    del ref
    gc.collect()
    px.get(px.put(0))
    assert future.result(30) == [1, 2]


def test_a_ref_in_a_value_keeps_what_it_refers_to() -> None:
    box = px.put([px.put("inner")])
    gc.collect()
    px.get(same.remote(0))
    assert px.get(px.get(box)[0]) == "inner"


def test_refs_in_refs_in_refs() -> None:
    ref = px.put("deep")
    for _ in range(20):
        ref = px.put([ref])
    gc.collect()
    for _ in range(20):
        ref = px.get(ref)[0]
    assert px.get(ref) == "deep"


def test_an_argument_lives_until_its_task_has_ended(gate: Gate) -> None:
    @px.remote
    def add(a: int, b: list[Any]) -> int:
        return a + px.get(b[0])

    refs = [add.remote(same.remote(1), [px.put(2)]) for _ in range(20)]
    gc.collect()
    assert px.get(refs) == [3] * 20


def test_a_captured_ref_lives_as_long_as_its_function() -> None:
    ref = px.put("captured")

    @px.remote
    def read() -> Any:
        return px.get(ref)

    assert px.get(read.remote()) == "captured"


SIZE = 4 << 20


def _held_bytes(session: str) -> int:
    """What the session holds in memory and on disk."""
    if session == "inline":
        return tracemalloc.get_traced_memory()[0]
    (pool,) = [pool for pool in px.pools(embedded=True) if pool.cluster == px.init().cluster]
    usage = pool.snapshot()["object_store"]
    return int(usage["memory_bytes"] + usage["spilled_bytes"])


def _puts() -> None:
    px.put(np.ones(SIZE, np.uint8))


def _results() -> None:
    px.wait([same.remote(np.ones(SIZE, np.uint8))])


def _arguments() -> None:
    px.wait([same.remote(px.put(np.ones(SIZE, np.uint8)))])


def _containers() -> None:
    px.put([px.put(np.ones(SIZE, np.uint8))])


def _views() -> None:
    px.get(px.put(np.ones(SIZE, np.uint8)))


def _errors() -> None:
    px.wait([fail.options(num_returns=1).remote(), px.put(np.ones(SIZE, np.uint8))], num_returns=2)


@pytest.mark.needs("parallax")
@pytest.mark.parametrize("use", [_puts, _results, _arguments, _containers, _views])
def test_the_last_reference_gone_frees_the_value(use: Callable[[], None], session: str) -> None:
    tracemalloc.start()
    try:
        before = _held_bytes(session)
        for _ in range(40):
            use()
        gc.collect()

        def freed() -> bool:
            px.get(px.put(None))
            # Freed memory is kept for what comes next, but not that of many values.
            return _held_bytes(session) - before < 20 * SIZE

        wait_until(freed)
    finally:
        tracemalloc.stop()


@pytest.mark.needs("parallax")
def test_what_the_value_has_is_not_the_refs() -> None:
    ref = px.put("text")
    with pytest.raises(AttributeError, match=r"no attribute 'upper'; .* parallax.get\(ref\)"):
        ref.upper()  # type: ignore[attr-defined]
    assert not hasattr(ref, "upper")
