"""The table of task options, row by row."""

from __future__ import annotations

import os
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.conformance.tasks import context, stop_at

pytestmark = pytest.mark.usefixtures("session")


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
@pytest.mark.parametrize("num_cpus", [0.25, 1])
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
