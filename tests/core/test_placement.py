"""Which task runs where, and when: prefetch, taking back, turns, starvation, affinity."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from parallax.core.placement import PREFETCH_S
from parallax.messages import EnginesWanted, Failure, Stored, TaskSpec, TasksRecalled
from parallax.testing import Cluster, Large, Raised, TaskContext
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, NODE, Bench, hello

# ---- prefetch -------------------------------------------------------------------------------


@pytest.mark.parametrize("duration_s", [1e-5, 1e-4, 1e-3, 1e-2])
def test_engines_are_given_so_much_work_ahead(duration_s: float) -> None:
    bench = Bench(cpus=1)
    template = bench.template()
    engine = bench.engines[0]
    bench.submit(TaskSpec(1, template, b""))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"", duration_s=duration_s)
    bench.submit(*(TaskSpec(i, template, b"") for i in range(10, 10_000)))
    queued = len(bench.assigned(engine))
    assert 1 <= queued <= 256
    assert (queued - 1) * duration_s <= PREFETCH_S
    assert queued == 256 or (queued + 2) * duration_s > PREFETCH_S


def test_nothing_is_queued_behind_a_task_of_unknown_duration() -> None:
    bench = Bench(cpus=1)
    template = bench.template()
    bench.submit(*(TaskSpec(i, template, b"") for i in range(10, 20)))
    assert len(bench.assigned(bench.engines[0])) == 1


def test_the_last_tasks_are_shared_fairly() -> None:
    cluster = Cluster(engines=4)
    for _ in range(3):
        cluster.submit(0.0005)
    cluster.run()
    began = cluster.world.now
    for _ in range(40):
        cluster.submit(0.0005)
    cluster.run()
    assert cluster.world.now - began < 2 * 40 * 0.0005 / 4


@pytest.mark.parametrize("seed", range(10))
def test_long_tasks_among_short_ones_cost_little(seed: int) -> None:
    """Four of 0.2 s among 200 of 5 ms in any order, on two engines."""
    cluster = Cluster(engines=2, seed=seed)
    works = [0.2] * 4 + [0.005] * 200
    if seed > 1:
        random.Random(seed).shuffle(works)
    for work in works if seed != 1 else reversed(works):
        cluster.submit(work)
    cluster.run()
    assert cluster.makespan_s <= 1.15 * sum(works) / 2


def test_what_waits_behind_a_task_that_became_long_is_taken_back() -> None:
    bench = Bench(cpus=2)
    template = bench.template()
    one, two = bench.engines
    bench.submit(TaskSpec(1, template, b""), TaskSpec(2, template, b""))
    for engine in (one, two):
        (task,) = bench.assigned(engine)
        bench.finish(engine, task, b"", duration_s=1e-5)
    bench.submit(*(TaskSpec(i, template, b"") for i in range(10, 30)))
    mine, theirs = bench.assigned(one), bench.assigned(two)
    while theirs:  # this engine is quick, the other one is not
        for task in theirs:
            bench.finish(two, task, b"", duration_s=1e-5)
        theirs = bench.assigned(two)
    bench.wait(0.01)
    (recall,) = bench.heard(one, TasksRecalled)
    assert recall.ids == [task.id for task in mine[1:]]
    assert bench.heard(one, TasksRecalled) == []  # it has been asked


def test_idle_clusters_do_not_wake_up() -> None:
    cluster = Cluster(engines=4, checked=True)
    for _ in range(100):
        cluster.submit(0.001)
    cluster.run()
    batches = cluster.hub.batches
    cluster.run(1000.0)
    assert cluster.hub.batches - batches < 10


# ---- turns ----------------------------------------------------------------------------------


def test_a_second_job_does_not_wait_for_the_first() -> None:
    cluster = Cluster(engines=2, seed=1)
    large, small = cluster.join(), cluster.join()
    for _ in range(5000):
        large.submit(0.001)
    cluster.run(0.2)
    refs = [small.submit(0.001) for _ in range(100)]
    cluster.run(0.2)
    assert all(ref.id in small.values for ref in refs)


def test_tiny_tasks_of_another_shape_do_not_wait_for_a_flood() -> None:
    cluster = Cluster(engines=2, seed=1)
    for _ in range(5000):
        cluster.submit(0.001)
    cluster.run(0.2)
    refs = [cluster.submit(0.001, num_cpus=0.5) for _ in range(100)]
    cluster.run(0.3)
    assert all(ref.id in cluster.client.values for ref in refs)


@pytest.mark.parametrize("flood", ["tasks", "chains"])
def test_a_large_demand_does_not_starve_among_small_ones(flood: str) -> None:
    cluster = Cluster(engines=2, seed=1)
    for _ in range(2):
        ref = cluster.submit(0.01)
        for _ in range(200):
            ref = cluster.submit(0.01, ref) if flood == "chains" else cluster.submit(0.01)
    large = cluster.submit(0.01, num_cpus=2)
    cluster.run(0.5)
    assert large.id in cluster.client.values
    cluster.run()
    assert cluster.makespan_s < 1.25 * 402 * 0.01 / 2


def test_large_demands_of_other_resources_do_not_starve_either() -> None:
    cluster = Cluster(engines=4, resources={"GPU": 2.0}, seed=1, checked=True)
    for _ in range(200):
        cluster.submit(0.01, num_gpus=1)
    large = cluster.submit(0.01, num_gpus=2)
    cluster.run(0.5)
    assert large.id in cluster.client.values
    cluster.run()


def test_emptying_a_node_is_no_deadlock_for_those_who_wait_there() -> None:
    """The parents keep their GPU while they wait for children that need one, too."""

    def parent(task: TaskContext) -> Steps:
        yield 0.2
        yield task.submit(0.01, num_gpus=1)

    cluster = Cluster(engines=4, resources={"GPU": 2.0}, seed=1, checked=True)
    cluster.submit(parent, num_gpus=1)
    cluster.run(0.05)
    cluster.submit(0.01, num_gpus=2)
    cluster.run()


def test_nor_when_what_is_missing_is_a_whole_gpu_where_there_are_two_halves() -> None:
    def parent(task: TaskContext) -> Steps:
        yield 0.3
        for _ in range(3):
            yield task.submit(0.01)

    cluster = Cluster(engines=4, resources={"GPU": 2.0}, seed=1, checked=True)
    cluster.submit(parent, num_gpus=0.5)
    cluster.submit(0.05, num_gpus=0.5)  # beside the first parent, so that the second is elsewhere
    cluster.submit(parent, num_gpus=0.5)
    whole = cluster.submit(0.01, num_gpus=1)
    cluster.run()
    assert cluster.result(whole) is None


# ---- nodes ----------------------------------------------------------------------------------


def where(task: TaskContext) -> Steps:
    yield 0.05
    return task.node


def test_spread_tasks_go_to_different_nodes() -> None:
    cluster = Cluster(engines=4, nodes=4, checked=True)
    refs = [cluster.submit(where, spread=True) for _ in range(8)]
    cluster.run()
    assert Counter(cluster.result(ref) for ref in refs) == {0: 2, 1: 2, 2: 2, 3: 2}


def test_a_task_goes_to_the_node_it_is_bound_to_and_waits_for_it() -> None:
    cluster = Cluster(engines=1, nodes=3, checked=True)
    refs = [cluster.submit(where, affinity=2) for _ in range(4)]
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [2] * 4


def test_a_bond_to_a_node_that_is_not_there_is_refused_unless_it_is_soft() -> None:
    cluster = Cluster(engines=1, nodes=2, checked=True)
    hard = cluster.submit(where, affinity=7)
    soft = cluster.submit(where, affinity=7, affinity_soft=True)
    cluster.run()
    with pytest.raises(Raised, match="on node 7"):
        cluster.result(hard)
    assert cluster.result(soft) in (0, 1)


def test_a_soft_bond_to_a_node_that_could_never_run_it_is_none() -> None:
    bench = Bench(cpus=1)
    bench.join(7, hello("node", CPU=4.0))
    bench.start_engines()
    bench.start_engines()
    for number in [n for m in bench.heard(7, EnginesWanted) for n in m.numbers]:
        bench.join(100 + number, hello("engine", number))
    template = bench.template(cpus=2, affinity=0, affinity_soft=True)
    bench.submit(TaskSpec(10, template, b""))
    (task,) = [task for peer in bench.engines for task in bench.assigned(peer)]
    assert task.id == 10


def test_large_arguments_draw_their_tasks() -> None:
    def make(task: TaskContext) -> Steps:
        yield 0.001
        return Large(task.node)

    def same_place(task: TaskContext) -> Steps:
        yield 0.01
        return task.node == task.args[0].value

    cluster = Cluster(engines=4, nodes=4, seed=2, checked=True)
    made = [cluster.submit(make, spread=True) for _ in range(16)]
    cluster.run()
    used = [cluster.submit(same_place, ref) for ref in made]
    cluster.run()
    assert sum(cluster.result(ref) for ref in used) >= 14


def test_tasks_wait_for_the_first_node_instead_of_failing() -> None:
    from parallax.core.machine import Machine, PeerJoined, Received
    from parallax.core.outbox import Send
    from parallax.messages import ObjectsReady, TasksSubmitted, TemplateDefined

    machine = Machine()
    machine.handle([PeerJoined(CLIENT, hello("client"))], 0.0)
    specs = [TaskSpec(10, 1, b""), TaskSpec(20, 2, b"")]
    machine.handle(
        [
            Received(CLIENT, TemplateDefined(1, "f", b"", demand={"CPU": 1.0})),
            Received(CLIENT, TemplateDefined(2, "g", b"", demand={"CPU": 8.0})),
            Received(CLIENT, TasksSubmitted(1, 0, specs)),
        ],
        0.0,
    )
    assert machine.ready.count == 2
    actions = machine.handle([PeerJoined(NODE, hello("node", CPU=1.0))], 0.0)
    told = [a for a in actions if isinstance(a, Send) and a.peer == CLIENT]
    (message,) = told[0].messages
    assert isinstance(message, ObjectsReady)
    (object_id, failure) = message.items[0]
    assert object_id == 20
    assert isinstance(failure, Failure)
    assert machine.ready.count == 1


def test_tasks_that_ask_for_fractions_of_a_cpu_get_more_engines_within_a_bound() -> None:
    cluster = Cluster(engines=2, checked=True)
    for _ in range(200):
        cluster.submit(0.05, num_cpus=0)
    cluster.run()
    assert cluster.nodes[0].most == 8
    cluster.run(20.0)
    assert len(cluster.engines) == 2


def test_tasks_without_a_cpu_do_not_keep_others_from_theirs() -> None:
    cluster = Cluster(engines=2, checked=True)
    for _ in range(50):
        cluster.submit(10.0, num_cpus=0)
    cluster.run(1.0)
    quick = cluster.submit(0.01)
    cluster.run(1.0)
    assert quick.id in cluster.client.values


def test_the_gpus_of_a_task_are_its_own() -> None:
    bench = Bench(cpus=4, GPU=2)
    half = bench.template(resources={"GPU": 0.5})
    whole = bench.template(resources={"GPU": 1.0})
    bench.submit(TaskSpec(1, half, b""), TaskSpec(2, half, b""), TaskSpec(3, whole, b""))
    gpus = {task.id: task.gpus for peer in bench.engines for task in bench.assigned(peer)}
    assert gpus[1] == gpus[2] != gpus[3]
    assert sorted(gpus[1] + gpus[3]) == [0, 1]


def test_stored_arguments_are_handed_over_by_name() -> None:
    bench = Bench()
    template = bench.template()
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, template, b""), TaskSpec(20, template, b"", deps=[10, 10]))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, Stored("seg", 1 << 21, engine))
    (task,) = bench.assigned(engine)
    assert task.values == [Stored("seg", 1 << 21, engine)] * 2
