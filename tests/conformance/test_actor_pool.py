"""ActorPool: work for a fixed set of actors."""

from __future__ import annotations

from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate

pytestmark = pytest.mark.usefixtures("session")


@px.remote
class Worker:
    def double(self, x: int) -> int:
        return 2 * x

    def fail(self, x: int) -> int:
        raise ZeroDivisionError(x)

    def stop_at(self, gate: Gate, name: str) -> str:
        gate.pass_through(name)
        return name


def double(actor: Any, x: int) -> Any:
    return actor.double.remote(x)


def pool_of(count: int) -> px.ActorPool[Any]:
    return px.ActorPool([Worker.remote() for _ in range(count)])


def test_map_keeps_the_order() -> None:
    assert list(pool_of(2).map(double, range(20))) == [2 * x for x in range(20)]


def test_map_unordered_has_all() -> None:
    assert sorted(pool_of(2).map_unordered(double, range(20))) == [2 * x for x in range(20)]


def test_submit_and_get_next() -> None:
    pool = pool_of(1)
    for x in range(3):
        pool.submit(double, x)
    assert not pool.has_free()
    assert [pool.get_next() for _ in range(3)] == [0, 2, 4]
    assert pool.has_free()
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()


def test_results_in_order_and_out_of_order() -> None:
    pool = pool_of(1)
    for x in range(4):
        pool.submit(double, x)
    assert pool.get_next_unordered() == 0
    assert pool.get_next() == 2
    assert sorted([pool.get_next_unordered(), pool.get_next()]) == [4, 6]


@pytest.mark.needs("concurrency")
def test_the_first_to_end_comes_first_when_order_is_of_no_matter(tmp_path: Any) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "quick").mkdir()
    slow, quick = Gate(str(tmp_path / "slow")), Gate(str(tmp_path / "quick"))
    quick.open()
    pool = pool_of(2)
    pool.submit(lambda actor, gate: actor.stop_at.remote(gate, "slow"), slow)
    pool.submit(lambda actor, gate: actor.stop_at.remote(gate, "quick"), quick)
    assert pool.get_next_unordered() == "quick"
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0)
    slow.open()
    assert pool.get_next() == "slow"


def test_a_call_that_fails_leaves_the_pool_as_good_as_before() -> None:
    pool = pool_of(1)
    pool.submit(lambda actor, x: actor.fail.remote(x), 1)
    pool.submit(double, 1)
    with pytest.raises(ZeroDivisionError):
        pool.get_next()
    assert pool.get_next() == 2


def test_push_and_pop_idle() -> None:
    pool = pool_of(1)
    actor = pool.pop_idle()
    assert actor is not None
    assert pool.pop_idle() is None
    pool.submit(double, 4)
    pool.push(actor)
    assert pool.get_next() == 8
    with pytest.raises(ValueError, match="already"):
        pool.push(actor)


def test_map_forgets_what_was_submitted_before() -> None:
    pool = pool_of(1)
    pool.submit(lambda actor, x: actor.fail.remote(x), 1)
    assert list(pool.map(double, [1])) == [2]


def test_mistakes() -> None:
    pool = pool_of(1)
    with pytest.raises(TypeError, match="handles"):
        px.ActorPool([5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="returns the ref"):
        pool.submit(lambda actor, x: x, 1)  # type: ignore[arg-type,return-value]
    assert pool.has_free()
    assert "1 actors, 1 idle" in repr(pool)


def test_a_value_that_cannot_be_submitted_holds_up_no_other() -> None:
    def submit(actor: Any, x: int) -> Any:
        if x in (1, 2):
            raise ValueError(x)
        return double(actor, x)

    pool = pool_of(1)
    for x in range(5):
        pool.submit(submit, x)
    got: list[Any] = []
    while pool.has_next():
        try:
            got.append(pool.get_next())
        except ValueError as error:
            got.append(error.args)
    assert sorted(got, key=str) == [(1,), (2,), 0, 6, 8]
    assert pool.has_free()


def test_a_ref_that_is_returned_twice() -> None:
    pool = pool_of(2)
    ref = px.get(Worker.remote().call(lambda self: px.put(1)))
    pool.submit(lambda actor, x: ref, 0)
    with pytest.raises(px.errors.UsageError, match="a call of its own"):
        pool.submit(lambda actor, x: ref, 1)
    assert [pool.get_next(), pool.has_next(), pool.has_free()] == [1, False, True]
