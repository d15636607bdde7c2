"""The table of task options, row by row."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until

pytestmark = pytest.mark.usefixtures("session")


@px.remote
def stop_at(gate: Gate) -> int:
    gate.pass_through()
    return os.getpid()


@px.remote
def context() -> Any:
    return px.get_runtime_context()


# ---- reserved while running ---------------------------------------------------------------


@pytest.mark.needs("concurrency")
@pytest.mark.parametrize(
    ("options", "name", "left"),
    [
        ({"num_cpus": 2}, "CPU", 0.0),
        ({"num_cpus": 0.5}, "CPU", 1.5),
        ({"num_cpus": 0}, "CPU", 2.0),
        ({"resources": {"crane": 1.5}}, "crane", 0.5),
    ],
    ids=str,
)
def test_resources_are_reserved_while_the_task_runs(
    options: dict[str, Any], name: str, left: float, gate: Gate
) -> None:
    total = px.cluster_resources()[name]
    ref = stop_at.options(**options).remote(gate)
    gate.wait_for(1)
    wait_until(lambda: px.available_resources()[name] == left)
    gate.open()
    px.get(ref)
    wait_until(lambda: px.available_resources()[name] == total)


@pytest.mark.needs("concurrency", "parallax")
def test_memory_is_reserved_while_the_task_runs(gate: Gate) -> None:
    total = px.cluster_resources()["memory"]
    ref = stop_at.options(memory=1e6).remote(gate)
    gate.wait_for(1)
    wait_until(lambda: px.available_resources()["memory"] == pytest.approx(total - 1e6))
    gate.open()
    px.get(ref)


@pytest.mark.needs("concurrency")
def test_tasks_that_do_not_fit_side_by_side_run_one_after_another(gate: Gate) -> None:
    refs = [stop_at.options(num_cpus=2).remote(gate) for _ in range(3)]
    gate.wait_for(1)
    wait_until(lambda: px.available_resources()["CPU"] == 0)
    assert gate.count() == 1
    gate.open()
    px.get(refs)
    assert gate.count() == 3


@pytest.mark.needs("concurrency")
def test_as_many_run_side_by_side_as_fit(gate: Gate) -> None:
    refs = [stop_at.remote(gate) for _ in range(4)]
    gate.wait_for(2)
    wait_until(lambda: px.available_resources()["CPU"] == 0)
    assert gate.count() == 2
    gate.open()
    px.get(refs)


@pytest.mark.needs("concurrency")
@pytest.mark.parametrize("num_cpus", [0.5, 0])
def test_more_tasks_than_cpus_run_side_by_side_when_they_ask_for_less(
    num_cpus: float, gate: Gate
) -> None:
    @px.remote(num_cpus=num_cpus)
    def stop() -> None:
        gate.pass_through()

    refs = [stop.remote() for _ in range(4)]
    gate.wait_for(4)
    gate.open()
    px.get(refs)


@pytest.mark.needs("concurrency")
@pytest.mark.parametrize(
    "num_cpus",
    [
        pytest.param(
            0.25,
            marks=pytest.mark.xfail(
                strict=True,
                reason="what waits behind a fractional task is not taken back while another "
                "engine could be started for it",
            ),
        ),
        1,
    ],
)
def test_they_do_even_when_they_were_short_before(num_cpus: float, gate: Gate) -> None:
    @px.remote(num_cpus=num_cpus)
    def stop_or_not(gate: Gate | None) -> None:
        if gate is not None:
            gate.pass_through()

    count = int(2 / num_cpus)
    for _ in range(20):
        px.get(stop_or_not.remote(None))
    refs = [stop_or_not.remote(gate) for _ in range(count)]
    try:
        wait_until(lambda: gate.count() == count, timeout_s=3)
    finally:
        gate.open()
        px.get(refs)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"num_cpus": 99}, "99"),
        ({"num_gpus": 1}, "gpu"),
        ({"resources": {"teapot": 1}}, "teapot"),
        ({"memory": 1e14}, "memory"),
    ],
    ids=str,
)
@pytest.mark.needs("parallax")
def test_what_no_node_has_is_refused_with_both_numbers(options: dict[str, Any], asked: str) -> None:
    with pytest.raises(px.errors.UsageError, match=rf"(?i)context asks for .*{asked}.*has .*cpu"):
        px.get(context.options(**options).remote())


def test_the_context_tells_what_is_reserved() -> None:
    options = {"num_cpus": 2, "resources": {"crane": 0.5}}
    assert px.get(context.options(**options).remote()).resources == {"CPU": 2.0, "crane": 0.5}


@pytest.mark.needs("processes")
@pytest.mark.parametrize("num_cpus", [1, 2])
def test_thread_pools_are_limited_to_num_cpus(num_cpus: int) -> None:
    @px.remote(num_cpus=num_cpus)
    def limits() -> set[str | None]:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return {os.environ.get(name) for name in names}

    assert px.get(limits.remote()) == {str(num_cpus)}


# ---- num_returns --------------------------------------------------------------------------


@px.remote
def numbers(count: int) -> Any:
    return list(range(count))


def test_num_returns_gives_so_many_refs() -> None:
    refs = numbers.options(num_returns=3).remote(3)
    assert isinstance(refs, list)
    assert px.get(refs) == [0, 1, 2]


def test_each_of_several_returns_is_an_argument_of_its_own() -> None:
    @px.remote
    def double(x: int) -> int:
        return 2 * x

    _, one, two = numbers.options(num_returns=3).remote(3)
    assert px.get([double.remote(two), double.remote(one)]) == [4, 2]


def test_num_returns_0_gives_none_and_runs_all_the_same(gate: Gate) -> None:
    @px.remote(num_returns=0)
    def effect(gate: Gate) -> int:
        gate.note()
        return 5

    assert effect.remote(gate) is None
    gate.wait_for(1)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_the_number_of_values_must_be_that_of_num_returns(count: int) -> None:
    refs = numbers.options(num_returns=3).remote(count)
    for ref in refs:
        with pytest.raises(ValueError, match=f"3 values.*{count} values"):
            px.get(ref)


@pytest.mark.needs("parallax")
def test_no_sequence_where_several_values_are_due() -> None:
    @px.remote(num_returns=2)
    def five() -> int:
        return 5

    with pytest.raises(px.errors.UsageError, match=r"five has num_returns=2.*int"):
        px.get(five.remote())


def test_an_error_is_that_of_each_return() -> None:
    @px.remote(num_returns=2)
    def fail() -> Any:
        raise ZeroDivisionError

    for ref in fail.remote():
        with pytest.raises(ZeroDivisionError):
            px.get(ref)


# ---- max_retries, retry_exceptions --------------------------------------------------------


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


# ---- where, by which name, for how long ---------------------------------------------------


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD"])
def test_scheduling_strategies(strategy: str) -> None:
    refs = [context.options(scheduling_strategy=strategy).remote() for _ in range(6)]
    assert len(px.get(refs)) == 6


@pytest.mark.needs("parallax")
def test_node_affinity() -> None:
    node = px.nodes()[0]["node"]
    there = context.options(scheduling_strategy=px.NodeAffinity(node))
    assert px.get(there.remote()).node_id == node
    nowhere = context.options(scheduling_strategy=px.NodeAffinity(99))
    with pytest.raises(px.errors.UsageError, match="99"):
        px.get(nowhere.remote())
    soft = context.options(scheduling_strategy=px.NodeAffinity(99, soft=True))
    assert px.get(soft.remote()).node_id == node


@pytest.mark.needs("parallax")
def test_name_is_shown() -> None:
    ref = context.options(name="who am i").remote()
    assert px.get(ref).task_name == "who am i"
    assert px.get(context.remote()).task_name == "context"
    assert {"who am i", "context"} <= {event["name"] for event in px.timeline()}


@pytest.mark.needs("processes")
def test_max_calls_replaces_the_engine() -> None:
    @px.remote(max_calls=2)
    def leak() -> int:
        return os.getpid()

    pids = [px.get(leak.remote()) for _ in range(12)]
    assert all(pids.count(pid) <= 2 for pid in pids)
    assert len(set(pids)) >= 6
    wait_until(lambda: {len(node["engines"]) for node in px.nodes()} == {2})


@pytest.mark.needs("processes")
def test_max_calls_loses_nothing() -> None:
    @px.remote(max_calls=1)
    def same(x: int) -> int:
        return x

    assert px.get([same.remote(i) for i in range(6)]) == list(range(6))


@pytest.mark.needs("parallax")
def test_options_add_up() -> None:
    twice = context.options(name="a", num_cpus=2).options(name="b")
    facts = px.get(twice.remote())
    assert (facts.task_name, facts.resources) == ("b", {"CPU": 2.0})
