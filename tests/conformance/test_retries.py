"""`max_retries` and `retry_exceptions`: what runs again, and how often; `timeout_s`."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.conformance.tasks import context, stop_at

pytestmark = pytest.mark.usefixtures("session")


@px.remote
def die(gate: Gate, times: int) -> int:
    gate.note()
    if gate.count() <= times:
        os._exit(3)
    return px.get_runtime_context().attempt_number


@pytest.mark.needs("processes")
def test_a_crash_is_retried(gate: Gate) -> None:
    assert px.get(die.remote(gate, 2)) == 2
    assert gate.count() == 3


@pytest.mark.needs("processes", "parallax")
@pytest.mark.parametrize(
    ("options", "attempts"), [({"max_retries": 0}, 1), ({"max_retries": 1}, 2)]
)
def test_a_crash_without_retries_left(options: dict[str, Any], attempts: int, gate: Gate) -> None:
    with pytest.raises(px.errors.EngineDiedError, match=r"die.*exit code 3"):
        px.get(die.options(**options).remote(gate, 100))
    assert gate.count() == attempts


@pytest.mark.needs("processes", "parallax")
def test_a_crash_is_retried_3_times_by_default(gate: Gate) -> None:
    with pytest.raises(px.errors.EngineDiedError):
        px.get(die.remote(gate, 100))
    assert gate.count() == 4


@pytest.mark.needs("processes", "parallax")
def test_a_kill_is_named_by_its_signal() -> None:
    @px.remote(max_retries=0)
    def kill() -> None:
        os.kill(os.getpid(), 9)

    with pytest.raises(px.errors.EngineDiedError, match="SIGKILL"):
        px.get(kill.remote())


@pytest.mark.needs("processes")
def test_a_crash_leaves_other_tasks_alone(gate: Gate) -> None:
    other = stop_at.remote(gate)
    gate.wait_for(1)
    with pytest.raises(px.errors.ParallaxError):
        px.get(die.options(max_retries=0).remote(Gate(gate.folder + "-2"), 100))
    gate.open()
    assert isinstance(px.get(other), int)
    assert gate.count() == 1


@px.remote
def fail(gate: Gate, times: int, error: type[Exception] = ValueError) -> int:
    gate.note()
    if gate.count() <= times:
        raise error(gate.count())
    return px.get_runtime_context().attempt_number


def test_exceptions_are_not_retried_by_default(gate: Gate) -> None:
    with pytest.raises(ValueError, match="1"):
        px.get(fail.remote(gate, 100))
    assert gate.count() == 1


@pytest.mark.parametrize(
    "types", [True, [ValueError], (KeyError, ValueError), [Exception]], ids=repr
)
def test_retry_exceptions_runs_it_again(types: Any, gate: Gate) -> None:
    assert px.get(fail.options(retry_exceptions=types).remote(gate, 2)) == 2
    assert gate.count() == 3


def test_retry_exceptions_of_other_types_do_not(gate: Gate) -> None:
    with pytest.raises(KeyError):
        px.get(fail.options(retry_exceptions=[ValueError]).remote(gate, 2, KeyError))
    assert gate.count() == 1


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_max_retries_bounds_them(max_retries: int, gate: Gate) -> None:
    options = {"retry_exceptions": True, "max_retries": max_retries}
    with pytest.raises(ValueError, match=str(max_retries + 1)):
        px.get(fail.options(**options).remote(gate, 100))
    assert gate.count() == max_retries + 1


def test_no_limit(gate: Gate) -> None:
    options = {"retry_exceptions": True, "max_retries": -1}
    assert px.get(fail.options(**options).remote(gate, 7)) == 7


def test_each_attempt_gets_its_arguments_anew(gate: Gate) -> None:
    @px.remote(retry_exceptions=True)
    def pop(items: list[int], gate: Gate) -> int:
        gate.note()
        last = items.pop()
        if gate.count() < 3:
            raise ValueError
        return last

    assert px.get(pop.remote([1, 2, 3], gate)) == 3


# ---- timeout_s ----------------------------------------------------------------------------


@pytest.mark.needs("concurrency", "parallax")
def test_timeout_cancels_the_attempt(gate: Gate) -> None:
    ref = stop_at.options(timeout_s=0.2).remote(gate)
    with pytest.raises(px.errors.TaskTimeoutError, match=r"stop_at.*0\.2"):
        px.get(ref)
    with pytest.raises(TimeoutError):
        px.get(ref)
    assert px.get(context.remote()).task_name == "context"


@pytest.mark.needs("processes", "parallax")
def test_timeout_of_a_task_that_ignores_interrupts(gate: Gate) -> None:
    @px.remote(timeout_s=0.1)
    def ignore(gate: Gate) -> None:
        while True:
            try:
                gate.pass_through()
            except KeyboardInterrupt:
                gate.note("ignored")

    with pytest.raises(px.errors.TaskTimeoutError):
        px.get(ignore.remote(gate))
    assert gate.count("ignored") == 1
    assert px.get(context.remote()).task_name == "context"


@pytest.mark.needs("concurrency", "parallax")
def test_timeout_cancels_what_the_task_has_submitted(gate: Gate) -> None:
    @px.remote(timeout_s=0.2)
    def outer(gate: Gate) -> int:
        return px.get(stop_at.remote(gate))

    with px.job("late") as job:
        ref = outer.remote(gate)
    with pytest.raises(px.errors.TaskTimeoutError):
        px.get(ref)
    assert job.wait(30)
    assert (job.counts["failed"], job.counts["cancelled"]) == (1, 1)


@pytest.mark.needs("concurrency", "parallax")
def test_the_clock_starts_with_the_task(gate: Gate) -> None:
    # Given both CPUs busy, a task waits for longer than its timeout.
    holders = [stop_at.remote(gate) for _ in range(2)]
    gate.wait_for(2)
    submitted_at = time.monotonic()
    ref = context.options(timeout_s=0.1).remote()
    wait_until(lambda: time.monotonic() > submitted_at + 0.2)
    gate.open()
    assert px.get(ref).task_name == "context"
    px.get(holders)


@pytest.mark.needs("parallax")
def test_a_task_in_time_is_left_alone() -> None:
    assert px.get(context.options(timeout_s=30).remote()).attempt_number == 0
