"""The simulator as its users see it."""

from __future__ import annotations

import doctest

import pytest

import parallax.testing.cluster
from parallax.testing import (
    Cluster,
    Emit,
    Faults,
    InvariantError,
    Large,
    Raised,
    Ref,
    StuckError,
    TaskContext,
    check_counts,
)
from parallax.testing.programs import Steps, refs_in


def test_the_example_of_its_module_runs() -> None:
    assert doctest.testmod(parallax.testing.cluster).failed == 0


def test_tasks_take_the_time_they_say() -> None:
    cluster = Cluster(engines=4)
    for _ in range(40):
        cluster.submit(1.0)
    cluster.run()
    assert 10.0 <= cluster.makespan_s < 10.1


def test_programs_compute_wait_and_return() -> None:
    def square(task: TaskContext) -> Steps:
        yield 0.01
        return task.args[0] ** 2

    def total(task: TaskContext) -> Steps:
        numbers = [task.put(n) for n in range(4)]
        return sum((yield [task.submit(square, number) for number in numbers]))

    cluster = Cluster(engines=2, checked=True)
    ref = cluster.submit(total)
    cluster.run()
    assert cluster.result(ref) == 0 + 1 + 4 + 9


def test_several_clients_and_return_values() -> None:
    def pair(task: TaskContext) -> Steps:
        yield 0.01
        return ["a", Large("b")]

    cluster = Cluster()
    other = cluster.join()
    one, two = other.submit_many(pair, num_returns=2)
    cluster.run()
    assert other.result(one) == "a"
    assert other.result(two) == Large("b")
    assert cluster.client is not other or len(cluster.clients) == 1


def test_streams() -> None:
    def numbers(task: TaskContext) -> Steps:
        for number in range(3):
            yield 0.01
            yield Emit(number)

    cluster = Cluster()
    stream = cluster.submit(numbers, streaming=True)
    cluster.run()
    *items, end = cluster.client.streams[stream.id]
    assert [cluster.result(Ref(i)) for i in items] == [0, 1, 2]
    assert end == 0


def test_what_is_not_ready_has_no_result() -> None:
    cluster = Cluster()
    ref = cluster.submit(1.0)
    with pytest.raises(KeyError):
        cluster.result(ref)


def test_a_wait_that_never_ends_is_noticed() -> None:
    def wait_for_itself(task: TaskContext) -> Steps:
        yield Ref(1 << 60)

    cluster = Cluster(engines=1)
    cluster.submit(wait_for_itself)
    cluster.run(1.0)  # the hub says that nobody knows such an object
    with pytest.raises(Raised, match="object_lost"):
        cluster.result(Ref(next(iter(cluster.client.held))))

    cluster = Cluster(engines=1)
    cluster.submit(1.0)
    cluster.nodes[0].die()
    with pytest.raises(StuckError, match="1 objects pending"):
        cluster.run()


def test_slow_engines_are_slow() -> None:
    cluster = Cluster(engines=1, faults=Faults(slow_engines=1.0))
    cluster.submit(1.0)
    cluster.run()
    assert 10.0 <= cluster.makespan_s < 10.1


def test_time_passes_without_tasks() -> None:
    cluster = Cluster()
    began = cluster.world.now
    cluster.run(100.0)
    assert cluster.world.now == began + 100.0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_decides_everything(seed: int) -> None:
    def run() -> tuple[float, int, int]:
        faults = Faults(crashes_per_s=5.0, slow_engines=0.3)
        cluster = Cluster(engines=3, seed=seed, faults=faults, jitter=True)
        for _ in range(50):
            cluster.submit(0.02, max_retries=-1)
        cluster.run()
        return cluster.makespan_s, cluster.hub.batches, cluster.nodes[0].started

    assert run() == run()


def test_the_simulator_notices_a_value_that_is_freed_under_its_reader() -> None:
    cluster = Cluster(checked=True)
    ref = cluster.client.put(Large("x"))
    cluster.run(0.1)
    cluster.free(cluster.name_of(ref))
    with pytest.raises(InvariantError, match="freed under its reader"):
        cluster.result(ref)
    with pytest.raises(InvariantError, match="freed twice"):
        cluster.free(cluster.name_of(ref))


def test_calls_that_end_too_seldom_or_too_often_are_noticed() -> None:
    cluster = Cluster()
    cluster.submit(0.01)
    cluster.run()
    check_counts(cluster.hub.machine, 1)
    with pytest.raises(InvariantError, match="2 calls were submitted, 1 have ended"):
        check_counts(cluster.hub.machine, 2)


def test_references_are_found_wherever_they_are() -> None:
    assert refs_in([Ref(1), (Ref(2), [Ref(3)]), "x", Large([Ref(4)]), None, 5]) == [1, 2, 3, 4]
