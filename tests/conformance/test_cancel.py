"""`cancel`: pending tasks never run, running ones stop, finished ones are left alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.conformance.tasks import fail, same, stop_at

pytestmark = pytest.mark.usefixtures("session")


@px.remote
def note(gate: Gate, *_: Any) -> None:
    gate.note("ran")


def cancelled(ref: Any) -> bool:
    with pytest.raises(px.errors.TaskCancelledError):
        px.get(ref)
    return "cancelled" in repr(ref)


def test_a_finished_task_is_left_alone() -> None:
    ref = same.remote(1)
    px.wait([ref])
    px.cancel(ref)
    px.cancel(ref, force=True)
    assert px.get(ref) == 1


def test_a_failed_task_is_left_alone() -> None:
    ref = fail.remote()
    px.wait([ref])
    px.cancel(ref)
    with pytest.raises(ZeroDivisionError):
        px.get(ref)


def test_what_was_put_is_left_alone() -> None:
    ref = px.put(1)
    px.cancel(ref)
    assert px.get(ref) == 1


@pytest.mark.parametrize("wrong", [1, None, [1], "ref"])
def test_cancel_of_something_else_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="ObjectRef"):
        px.cancel(wrong)


@pytest.mark.needs("concurrency")
def test_a_pending_task_never_runs(gate: Gate) -> None:
    blockers = [stop_at.remote(gate) for _ in range(2)]
    gate.wait_for(2)
    ref = note.remote(gate)
    px.cancel(ref)
    assert cancelled(ref)
    gate.open()
    px.get(blockers)
    px.get([same.remote(i) for i in range(10)])
    assert gate.count("ran") == 0


@pytest.mark.needs("concurrency")
def test_a_task_that_waits_for_an_argument_never_runs(gate: Gate) -> None:
    slow = stop_at.remote(gate)
    ref = note.remote(gate, slow)
    px.cancel(ref)
    assert cancelled(ref)
    gate.open()
    assert px.get(slow) == 1
    assert gate.count("ran") == 0


@pytest.mark.needs("concurrency")
def test_a_running_task_gets_a_keyboard_interrupt(gate: Gate) -> None:
    @px.remote
    def clean_up(gate: Gate) -> None:
        try:
            gate.pass_through()
        except KeyboardInterrupt:
            gate.note("interrupted")
            raise

    ref = clean_up.remote(gate)
    gate.wait_for(1)
    px.cancel(ref)
    assert cancelled(ref)
    gate.wait_for(1, "interrupted")


@pytest.mark.needs("concurrency", "parallax")
def test_a_task_that_swallows_the_interrupt_is_cancelled_all_the_same(gate: Gate) -> None:
    @px.remote
    def swallow(gate: Gate) -> int:
        try:
            gate.pass_through()
        except KeyboardInterrupt:
            gate.note("swallowed")
        return 5

    ref = swallow.remote(gate)
    gate.wait_for(1)
    px.cancel(ref)
    assert cancelled(ref)
    gate.wait_for(1, "swallowed")


@pytest.mark.needs("concurrency", "parallax")
def test_a_running_task_sees_that_it_is_canceled(gate: Gate) -> None:
    @px.remote
    def look(gate: Gate) -> None:
        facts = px.get_runtime_context()
        assert not facts.is_canceled()
        try:
            gate.pass_through()
        except KeyboardInterrupt:
            if facts.is_canceled():
                gate.note("seen")

    ref = look.remote(gate)
    gate.wait_for(1)
    px.cancel(ref)
    gate.wait_for(1, "seen")
    assert cancelled(ref)


@pytest.mark.needs("concurrency")
def test_the_engine_goes_on(gate: Gate) -> None:
    refs = [stop_at.remote(gate) for _ in range(2)]
    gate.wait_for(2)
    for ref in refs:
        px.cancel(ref)
    assert px.get([same.remote(i) for i in range(20)]) == list(range(20))
    assert all(cancelled(ref) for ref in refs)


@pytest.mark.needs("concurrency")
def test_dependents_are_cancelled_with_it(gate: Gate) -> None:
    slow = stop_at.remote(gate)
    ref = same.remote(same.remote(slow))
    px.cancel(slow)
    assert cancelled(ref)


@pytest.mark.needs("processes")
def test_force_kills_the_engine_of_a_task_that_ignores_interrupts(gate: Gate) -> None:
    @px.remote
    def ignore(gate: Gate) -> None:
        gate.note(f"pid{os.getpid()}")
        while True:
            try:
                time.sleep(30)
            except KeyboardInterrupt:
                gate.note("ignored")

    ref = ignore.remote(gate)
    gate.wait_for(1, "pid*")
    px.cancel(ref)
    gate.wait_for(1, "ignored")
    px.cancel(ref, force=True)
    assert cancelled(ref)
    assert px.get([same.remote(i) for i in range(10)]) == list(range(10))
    assert gate.count("pid*") == 1


@pytest.mark.needs("concurrency")
@pytest.mark.parametrize("recursive", [True, False])
def test_recursive_cancels_what_it_has_submitted(recursive: bool, gate: Gate) -> None:
    @px.remote
    def outer(gate: Gate) -> None:
        child = stop_at.remote(gate)
        gate.note("submitted")
        px.get(child)

    with px.job("family") as job:
        ref = outer.remote(gate)
    gate.wait_for(1)
    px.cancel(ref, recursive=recursive)
    assert cancelled(ref)
    if not recursive:
        wait_until(lambda: job.counts["cancelled"] == 1)
        assert job.counts["running"] == 1, job.counts
    gate.open()
    assert job.wait(30)
    assert job.counts["cancelled"] == (2 if recursive else 1)
    assert job.counts["done"] == (0 if recursive else 1)


@pytest.mark.needs("concurrency")
def test_cancelling_twice_does_no_harm(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    gate.wait_for(1)
    for force in (False, False, True):
        px.cancel(ref, force=force)
    assert cancelled(ref)
    assert px.get(same.remote(1)) == 1


@pytest.mark.needs("concurrency", "parallax")
def test_one_item_of_a_map(gate: Gate) -> None:
    @px.remote
    def stop(i: int) -> int:
        gate.pass_through()
        return i

    refs = stop.map(range(6), chunk=3)
    gate.wait_for(1)
    px.cancel(refs[1])
    assert cancelled(refs[1])
    gate.open()
    assert px.get(refs[:1] + refs[2:]) == [0, 2, 3, 4, 5]


@pytest.mark.needs("concurrency")
def test_all_returns_of_a_task_are_cancelled(gate: Gate) -> None:
    @px.remote(num_returns=2)
    def pair(gate: Gate) -> tuple[int, int]:
        gate.pass_through()
        return 1, 2

    one, two = pair.remote(gate)
    gate.wait_for(1)
    px.cancel(two)
    assert cancelled(one)
    assert cancelled(two)


@pytest.mark.needs("concurrency")
def test_a_cancelled_task_is_not_retried(gate: Gate) -> None:
    ref = stop_at.options(retry_exceptions=True).remote(gate)
    gate.wait_for(1)
    px.cancel(ref)
    assert cancelled(ref)
    px.get([same.remote(i) for i in range(10)])
    assert gate.count() == 1


@pytest.mark.needs("concurrency")
def test_a_stream_is_cancelled_while_it_runs(gate: Gate) -> None:
    @px.remote
    def stream(gate: Gate) -> Iterator[int]:
        yield 1
        gate.pass_through()
        yield 2

    generator = stream.remote(gate)
    first = next(generator)
    gate.wait_for(1)
    px.cancel(generator)
    (last,) = generator
    assert px.get(first) == 1
    assert cancelled(last)


@pytest.mark.needs("parallax")
def test_a_task_cannot_outrun_its_own_cancellation(session: str) -> None:
    @px.remote
    def cancel_job() -> int:
        px.jobs()[0].cancel()
        return 1

    with px.job("suicide"):
        ref = cancel_job.remote()
    assert cancelled(ref)
