"""`wait` and `as_completed`."""

from __future__ import annotations

import pytest

import parallax as px
from tests.conformance.gates import Gate
from tests.conformance.tasks import fail, same, stop_at

pytestmark = pytest.mark.usefixtures("session")


def test_wait_keeps_the_order_and_returns_at_most_num_returns() -> None:
    refs = [same.remote(i) for i in range(5)]
    px.get(refs)
    for count in range(1, 6):
        ready, rest = px.wait(refs, num_returns=count)
        assert ready == refs[:count]
        assert rest == refs[count:]


def test_one_is_what_is_waited_for_by_default() -> None:
    refs = [px.put(1), px.put(2)]
    assert px.wait(refs) == (refs[:1], refs[1:])


def test_both_are_lists() -> None:
    ready, rest = px.wait((px.put(1),))
    assert isinstance(ready, list)
    assert rest == []


@pytest.mark.needs("concurrency")
def test_what_is_not_ready_is_the_rest(gate: Gate) -> None:
    slow, quick = stop_at.remote(gate), same.remote(1)
    assert px.wait([slow, quick]) == ([quick], [slow])
    assert px.wait([slow, quick], num_returns=2, timeout=0.01) == ([quick], [slow])
    gate.open()
    assert px.wait([slow, quick], num_returns=2) == ([slow, quick], [])


@pytest.mark.needs("concurrency")
def test_timeout_0_polls(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    assert px.wait([ref], timeout=0) == ([], [ref])
    gate.open()
    px.get(ref)
    assert px.wait([ref], timeout=0) == ([ref], [])


def test_an_error_is_ready_too() -> None:
    ref = fail.remote()
    assert px.wait([ref]) == ([ref], [])


@pytest.mark.parametrize("fetch_local", [True, False])
def test_fetch_local(fetch_local: bool) -> None:
    ref = same.remote("x" * 200_000)
    ready, _ = px.wait([ref], fetch_local=fetch_local)
    assert len(px.get(ready)[0]) == 200_000


def test_a_bare_ref_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="list"):
        px.wait(px.put(1))


def test_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        px.wait([1])
    with pytest.raises(TypeError):
        px.wait(5)


def test_an_empty_list_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        px.wait([])


def test_duplicates_are_a_value_error() -> None:
    ref = px.put(1)
    with pytest.raises(ValueError, match="duplicates"):
        px.wait([ref, ref])


@pytest.mark.parametrize("count", [0, -1, 3])
def test_num_returns_out_of_range_is_a_value_error(count: int) -> None:
    refs = [px.put(1), px.put(2)]
    with pytest.raises(ValueError, match=f"num_returns={count}"):
        px.wait(refs, num_returns=count)


@pytest.mark.needs("parallax")
def test_a_negative_timeout_is_a_value_error() -> None:
    with pytest.raises(px.errors.UsageError, match="timeout"):
        px.wait([px.put(1)], timeout=-1)


def test_as_completed_yields_each_ref_once() -> None:
    refs = [same.remote(i) for i in range(20)]
    done = list(px.as_completed(refs))
    assert sorted(px.get(done)) == list(range(20))
    assert set(done) == set(refs)


def test_as_completed_with_duplicates_errors_and_nothing() -> None:
    ref, bad = same.remote(1), fail.remote()
    assert set(px.as_completed([ref, bad, ref])) == {ref, bad}
    assert list(px.as_completed([])) == []


@pytest.mark.needs("concurrency")
def test_as_completed_yields_the_first_to_finish_first(gate: Gate) -> None:
    slow, quick = stop_at.remote(gate), same.remote(1)
    order = px.as_completed([slow, quick])
    assert next(order) == quick
    gate.open()
    assert list(order) == [slow]


@pytest.mark.needs("concurrency", "parallax")
def test_as_completed_with_a_timeout(gate: Gate) -> None:
    slow, quick = stop_at.remote(gate), same.remote(1)
    order = px.as_completed([slow, quick], timeout=0.3)
    with pytest.raises(px.errors.GetTimeoutError, match="1 refs"):
        assert list(order) == [quick]
    gate.open()
    px.get(slow)


def test_as_completed_of_something_else() -> None:
    with pytest.raises(TypeError):
        px.as_completed([1])
