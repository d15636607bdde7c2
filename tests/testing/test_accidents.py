"""Faults of links and hosts in the simulator: what they do, and that work goes on after them."""

from __future__ import annotations

import pytest

from parallax.testing import Cluster, Emit, Faults, Raised, TaskContext, check_empty
from parallax.testing.programs import Steps

CUT_S = 1.0


def test_a_host_that_is_cut_off_and_comes_back_in_time_has_done_its_work_once() -> None:
    cluster = Cluster(1, 2, checked=True)
    refs = [cluster.submit(0.01, max_retries=0) for _ in range(6)]
    cluster.run(0.005)
    began = cluster.world.now
    cluster.nodes[1].cut_off(began + CUT_S)
    cluster.run()
    assert cluster.world.now >= began + CUT_S
    assert [cluster.result(ref) for ref in refs] == [None] * 6
    assert set(cluster.runs.values()) == {1}


def test_a_host_that_is_taken_for_dead_works_on_and_what_it_says_is_late() -> None:
    cluster = Cluster(1, 2, checked=True)
    refs = [cluster.submit(0.01) for _ in range(2)]
    cluster.run(0.005)
    node = cluster.nodes[1]
    node.cut_off(cluster.world.now + CUT_S)
    node.forsake()
    cluster.run()
    assert cluster.world.now < CUT_S  # the other host has done it
    cluster.run(2 * CUT_S)
    node.vanish()
    assert sorted(cluster.runs.values()) == [1, 2]
    assert [cluster.result(ref) for ref in refs] == [None, None]
    cluster.close()
    check_empty(cluster.hub.machine)


def test_what_must_not_run_twice_fails_with_the_host_that_is_taken_for_dead() -> None:
    cluster = Cluster(1, 2, checked=True)
    refs = [cluster.submit(0.01, max_retries=0) for _ in range(2)]
    cluster.run(0.005)
    cluster.nodes[1].cut_off(cluster.world.now + CUT_S)
    cluster.nodes[1].forsake()
    cluster.run(2 * CUT_S)
    outcomes = []
    for ref in refs:
        try:
            outcomes.append(cluster.result(ref))
        except Raised as raised:
            outcomes.append(raised.kind)
    assert sorted(map(str, outcomes)) == ["None", "node_died"]
    assert set(cluster.runs.values()) == {1}


def test_a_client_that_is_taken_for_dead_is_told_nothing_and_heard_no_more() -> None:
    cluster = Cluster(checked=True)
    keeper = cluster.join()
    other = cluster.join()
    ref = other.submit(0.01)
    cluster.run(0.001)
    other.cut_off(cluster.world.now + CUT_S)
    other.forsake()
    late = other.submit(0.01)
    cluster.run(2 * CUT_S)
    assert late.id not in cluster.runs
    assert not {ref.id, late.id} & set(other.values)
    other.vanish()
    keeper.submit(0.01)
    cluster.run()
    cluster.close()
    check_empty(cluster.hub.machine)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(stalls_per_s=100.0),
        Faults(echo=0.5),
        Faults(reorder=0.5),
        Faults(greetings_per_s=50.0),
        Faults(partitions_per_s=20.0),
    ],
    ids=["stalls", "echo", "reorder", "greetings", "partitions"],
)
def test_work_goes_on_in_spite_of_it(faults: Faults) -> None:
    def items(task: TaskContext) -> Steps:
        for number in range(3):
            yield 0.001
            yield Emit(number)

    cluster = Cluster(2, 2, faults=faults, checked=True, jitter=True)
    cluster.join()
    other = cluster.join()
    refs = [cluster.submit(0.01, max_retries=-1) for _ in range(50)]
    stream = cluster.submit(items, streaming=True, backpressure=1, max_retries=-1)
    other.submit(0.01)
    cluster.run(0.5)
    cluster.faults = Faults()
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [None] * 50
    assert len(cluster.client.streams[stream.id]) == 4
    assert sum(cluster.world.happened.values())
    cluster.run(100.0)
    cluster.close()
    check_empty(cluster.hub.machine)
