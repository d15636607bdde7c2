"""What a job has returned, and its failed tasks run again."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import parallax as px
from tests.conformance.gates import Gate
from tests.conformance.tasks import fail, same, stop_at

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]

NOTHING = {"pending": 0, "running": 0, "done": 0, "failed": 0, "cancelled": 0, "retried": 0}


def test_results_in_the_order_of_submission() -> None:
    @px.remote(num_returns=2)
    def pair(x: int) -> tuple[int, int]:
        return x, -x

    with px.job("results") as job:
        refs = [same.remote(0), *same.map([1, 2]), *pair.remote(3), same.remote("x" * 100_000)]
    *numbers, text = job.results()
    assert numbers == [0, 1, 2, 3, -3]
    assert len(text) == 100_000
    assert px.job_of(refs[0]).results()[:3] == [0, 1, 2]


def test_results_of_nothing() -> None:
    with px.job("nothing") as job:
        pass
    assert job.results() == []


def test_results_wait_and_raise_as_get_does(gate: Gate) -> None:
    with px.job("failing") as job:
        refs = [same.remote(1), fail.remote(KeyError("k"))]
    with pytest.raises(KeyError):
        job.results()
    px.wait(refs, num_returns=2)


@pytest.mark.needs("concurrency")
def test_results_with_a_timeout(gate: Gate) -> None:
    with px.job("slow") as job:
        ref = stop_at.remote(gate)
    with pytest.raises(px.errors.GetTimeoutError):
        job.results(timeout=0)
    gate.open()
    assert job.results() == [1]
    px.get(ref)


def test_results_that_nobody_has_a_ref_to() -> None:
    with px.job("dropped") as job:
        same.remote(1)
    job.wait()
    gc.collect()
    px.get(same.remote(0))
    with pytest.raises(px.errors.ObjectLostError, match="reference"):
        job.results()


@px.remote
def fail_while_closed(gate: Gate, x: Any) -> Any:
    if not gate.is_open():
        raise RuntimeError("closed")
    return x


def test_retry_failed(gate: Gate) -> None:
    with px.job("healed") as job:
        good = same.remote(1)
        bad = fail_while_closed.remote(gate, 2)
        dependent = same.remote(bad)
        items = fail_while_closed.options(name="items").map([gate] * 3, [10, 20, 30], chunk=3)
    assert job.wait()
    assert job.counts == {**NOTHING, "done": 1, "failed": 5}
    gate.open()
    refs = job.retry_failed()
    assert px.get(refs) == [2, 2, 10, 20, 30]
    assert job.wait()
    assert job.state == "done"
    assert job.counts == {**NOTHING, "done": 6, "retried": 5}
    assert job.errors() == []
    assert job.results() == [1, 2, 2, 10, 20, 30]
    # The refs to what failed stay what they are.
    assert px.get(good) == 1
    for ref in (bad, dependent, items[0]):
        with pytest.raises(RuntimeError, match="closed"):
            px.get(ref)


def test_retry_failed_may_fail_again(gate: Gate) -> None:
    with px.job("stubborn") as job:
        first = fail_while_closed.remote(gate, 1)
    assert job.wait()
    for _ in range(2):
        (ref,) = job.retry_failed()
        with pytest.raises(RuntimeError, match="closed"):
            px.get(ref)
        assert job.wait()
        assert job.state == "failed"
    gate.open()
    assert px.get(job.retry_failed()) == [1]
    assert job.wait()
    assert job.counts == {**NOTHING, "done": 1, "retried": 3}
    assert repr(first)


def test_retry_failed_with_large_arguments(gate: Gate) -> None:
    @px.remote
    def total(gate: Gate, array: Any) -> float:
        return float(fail_while_closed.function(gate, array).sum())

    kept = px.put(np.ones(200_000))
    with px.job("large") as job:
        refs = [total.remote(gate, kept), total.remote(gate, np.ones(200_000))]
    px.wait(refs, num_returns=2)
    gate.open()
    one, two = job.retry_failed()
    assert px.get(one) == 200_000
    # Nobody but the failed task had the other array.
    with contextlib.suppress(px.errors.ObjectLostError):
        assert px.get(two) == 200_000


def test_streaming_tasks_that_failed_stay_as_they_are(gate: Gate) -> None:
    @px.remote
    def items(gate: Gate) -> Iterator[int]:
        yield fail_while_closed.function(gate, 1)

    with px.job("streams") as job:
        generator = items.remote(gate)
        single = fail_while_closed.remote(gate, 2)
        (last,) = generator
    assert job.wait()
    assert job.counts["failed"] == 2
    gate.open()
    assert px.get(job.retry_failed()) == [2]
    assert job.retry_failed() == []
    assert job.counts == {**NOTHING, "failed": 1, "done": 1, "retried": 1}
    for ref in (last, single):
        with pytest.raises(RuntimeError, match="closed"):
            px.get(ref)


def test_retry_failed_of_several_returns_and_of_none(gate: Gate) -> None:
    @px.remote
    def pair(gate: Gate) -> tuple[int, int]:
        return fail_while_closed.function(gate, 1), 2

    with px.job("shapes") as job:
        pair.options(num_returns=2).remote(gate)
        pair.options(num_returns=0).remote(gate)
    assert job.wait()
    gate.open()
    refs = job.retry_failed()
    assert px.get(refs) == [1, 2]
    assert job.wait()
    assert job.counts == {**NOTHING, "done": 2, "retried": 2}


def test_retry_of_nothing() -> None:
    with px.job("fine") as job:
        px.get(same.remote(1))
    assert job.retry_failed() == []
