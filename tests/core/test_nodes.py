"""Hosts that are lost: their engines, their tasks, the values in their stores."""

from __future__ import annotations

import pytest

from parallax.messages import EnginesWanted, Failure, TaskSpec
from parallax.testing import Cluster, Faults, Large, TaskContext, check_empty
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, FIRST_ENGINE, NODE, Bench, hello

SECOND = 7


def make(task: TaskContext) -> Steps:
    yield 0.01
    return Large(task.node)


def two_nodes(**resources: float) -> Bench:
    bench = Bench(cpus=1)
    bench.join(SECOND, hello("node", CPU=1.0, **resources))
    for message in bench.heard(SECOND, EnginesWanted):
        for number in message.numbers:
            bench.join(FIRST_ENGINE + number, hello("engine", number))
    return bench


def test_tasks_of_a_lost_host_move_on() -> None:
    cluster = Cluster(engines=2, nodes=3, checked=True)
    refs = [cluster.submit(0.1) for _ in range(30)]
    cluster.run(0.15)
    cluster.kill_node(1)
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [None] * 30
    assert cluster.makespan_s < 1.1
    assert sorted(cluster.hub.machine.fleet.nodes) == [0, 2]


def test_values_of_a_lost_host_are_rebuilt() -> None:
    cluster = Cluster(engines=2, nodes=2, checked=True)
    refs = [cluster.submit(make, spread=True) for _ in range(8)]
    cluster.run()
    assert {cluster.result(ref).value for ref in refs} == {0, 1}
    cluster.kill_node(1)
    cluster.run(1.0)
    assert {cluster.result(ref).value for ref in refs} == {0}
    assert sorted(cluster.runs.values()) == [1] * 4 + [2] * 4
    cluster.close()
    check_empty(cluster.hub.machine)


def test_a_task_that_must_not_run_twice_fails_with_its_host() -> None:
    bench = two_nodes()
    template = bench.template(max_retries=0, affinity=1)
    bench.submit(TaskSpec(10, template, b""))
    bench.lose(SECOND)
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert failure.kind == "node_died"
    assert "while its engine 2 ran f" in failure.message
    assert bench.stopped == []


def test_what_only_the_lost_host_could_run_is_refused() -> None:
    bench = two_nodes(license=1.0)
    template = bench.template(resources={"license": 1.0})
    bench.submit(TaskSpec(10, template, b""), TaskSpec(20, template, b""))
    bench.lose(SECOND)
    kinds = {i: v.kind for i, v in bench.ready().items() if isinstance(v, Failure)}
    assert kinds == {10: "infeasible", 20: "infeasible"}
    bench.submit(TaskSpec(30, template, b""))
    assert [v.kind for v in bench.ready().values() if isinstance(v, Failure)] == ["infeasible"]


def test_an_engine_of_a_lost_host_is_sent_away() -> None:
    bench = two_nodes()
    bench.die(bench.engines[1])
    bench.lose(SECOND)
    bench.join(99, hello("engine", 3))
    assert "not wanted" in bench.dropped[99]


def test_the_end_of_the_last_host_is_the_end_of_the_cluster() -> None:
    bench = two_nodes()
    bench.lose(SECOND)
    assert bench.stopped == []
    bench.lose(NODE)
    assert "node agent" in bench.stopped[0]
    bench.lose(CLIENT)


@pytest.mark.parametrize("seed", range(5))
def test_hosts_are_lost_one_after_another(seed: int) -> None:
    cluster = Cluster(
        engines=2,
        nodes=5,
        seed=seed,
        faults=Faults(nodes_lost_per_s=3.0),
        checked=True,
        jitter=True,
    )
    refs = [cluster.submit(make, max_retries=-1) for _ in range(300)]
    cluster.run()
    values = []
    for ref in refs:
        try:
            values.append(cluster.result(ref).value)
        except LookupError:
            cluster.run()
            values.append(cluster.result(ref).value)
    assert len(values) == 300
