"""Tasks that wait for tasks: never a deadlock, and never absurdly many engines."""

from __future__ import annotations

import pytest

from parallax.messages import EnginesWanted, TaskBlocked, TaskSpec, TasksRecalled, TaskUnblocked
from parallax.testing import Cluster, Raised, TaskContext
from parallax.testing.programs import Program, Steps
from tests.core.builders import NODE, Bench


def child(task: TaskContext) -> Steps:
    yield 0.001
    return 1


def parent(task: TaskContext) -> Steps:
    return (yield task.submit(child))


def family(task: TaskContext) -> Steps:
    return sum((yield [task.submit(child, num_cpus=0.5) for _ in range(10)]))


def fibonacci(n: int) -> Program:
    def program(task: TaskContext) -> Steps:
        if n < 2:
            yield 0.0005
            return n
        one, other = yield [task.submit(fibonacci(n - 1)), task.submit(fibonacci(n - 2))]
        return one + other

    return program


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_200_parents_need_few_engines(cpus: int) -> None:
    cluster = Cluster(engines=cpus, seed=cpus)
    refs = [cluster.submit(parent) for _ in range(200)]
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [1] * 200
    assert cluster.nodes[0].most <= 3 * cpus


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_parents_of_another_shape_than_their_children_need_few_engines(cpus: int) -> None:
    cluster = Cluster(engines=cpus, seed=cpus)
    refs = [cluster.submit(family) for _ in range(100)]
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [10] * 100
    assert cluster.nodes[0].most <= 4 * cpus


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_recursion_needs_an_engine_a_level_and_cpu(cpus: int) -> None:
    cluster = Cluster(engines=cpus, seed=cpus)
    root = cluster.submit(fibonacci(12))
    cluster.run()
    assert cluster.result(root) == 144
    assert cluster.nodes[0].most <= 14 + 8 * (cpus - 1)


def test_engines_that_are_not_needed_any_more_end() -> None:
    cluster = Cluster(engines=2, checked=True)
    root = cluster.submit(fibonacci(7))
    cluster.run()
    assert cluster.result(root) == 13
    assert cluster.nodes[0].most > 2
    cluster.run(30.0)
    assert len(cluster.engines) == 2


def test_nested_work_is_not_slower_than_flat() -> None:
    def slow_parent(task: TaskContext) -> Steps:
        yield [task.submit(0.05) for _ in range(4)]

    cluster = Cluster(engines=2)
    for _ in range(50):
        cluster.submit(slow_parent)
    cluster.run()
    assert cluster.makespan_s < 1.1 * (50 * 4 * 0.05 / 2)


def test_errors_of_nested_tasks_arrive_at_the_parent() -> None:
    def bad(task: TaskContext) -> Steps:
        yield 0.001
        raise ValueError("below")

    def careful(task: TaskContext) -> Steps:
        try:
            yield task.submit(bad)
        except Raised as error:
            return error.kind

    cluster = Cluster(engines=1, checked=True)
    caught, passed = cluster.submit(careful), cluster.submit(lambda task: (yield task.submit(bad)))
    cluster.run()
    assert cluster.result(caught) == "raised"
    with pytest.raises(Raised, match="below"):
        cluster.result(passed)


def test_refs_of_nested_tasks_may_leave_their_parent() -> None:
    def hand_over(task: TaskContext) -> Steps:
        yield 0.001
        return [task.submit(child), task.put("put")]

    cluster = Cluster(engines=2, checked=True)
    outer = cluster.submit(hand_over)
    cluster.run()
    inner, put = cluster.result(outer)
    cluster.client.drop(outer)
    cluster.client.want(inner, put)
    cluster.run()
    assert cluster.result(inner) == 1
    assert cluster.result(put) == "put"


def test_the_parent_of_a_task_that_is_queued_behind_it_gets_it_elsewhere() -> None:
    bench = Bench(cpus=1)
    template = bench.template()
    engine = bench.engines[0]
    bench.submit(TaskSpec(1, template, b""))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"", duration_s=1e-5)
    bench.submit(*(TaskSpec(i, template, b"") for i in range(10, 30)))
    head, *behind = [task.id for task in bench.assigned(engine)]
    bench.say(engine, TaskBlocked(head))
    assert [m.ids for m in bench.heard(engine, TasksRecalled)] == [behind]
    assert sum(len(m.numbers) for m in bench.heard(NODE, EnginesWanted)) == 1


def test_a_blocked_task_keeps_all_but_its_cpu() -> None:
    bench = Bench(cpus=2, GPU=1)
    bench.submit(TaskSpec(10, bench.template(cpus=2, resources={"GPU": 1.0}), b""))
    engine = next(p for p in bench.engines if bench.assigned(p))
    node = bench.machine.fleet.nodes[0]
    assert node.available == {"CPU": 0, "GPU": 0}
    bench.say(engine, TaskBlocked(10), TaskBlocked(10))
    assert node.available == {"CPU": 20_000, "GPU": 0}
    bench.say(engine, TaskUnblocked(10), TaskUnblocked(10))
    assert node.available == {"CPU": 0, "GPU": 0}


def test_the_cpu_of_a_task_is_kept_for_it_once_its_nested_tasks_have_ended() -> None:
    bench, first, second = nested_pair()
    (inner,) = bench.assigned(second)
    bench.finish(second, inner, b"")
    assert bench.assigned(second) == []
    assert bench.machine.fleet.nodes[0].available == {"CPU": 0}
    bench.say(first, TaskUnblocked(10))
    bench.wait(10.0)
    assert bench.machine.fleet.nodes[0].available == {"CPU": 0}


def test_a_task_that_waits_for_something_else_does_not_keep_its_cpu_for_long() -> None:
    bench, first, second = nested_pair()
    (inner,) = bench.assigned(second)
    bench.finish(second, inner, b"")
    bench.wait(0.1)
    assert [t.id for t in bench.assigned(second)] == [30]
    bench.say(first, TaskUnblocked(10))


def nested_pair() -> tuple[Bench, int, int]:
    """Task 10 waits on the first engine for a nested task on the second; 30 wants that CPU."""
    bench = Bench(cpus=1)
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""), TaskSpec(30, template, b""))
    first = bench.engines[0]
    bench.assigned(first)
    nested = bench.template(peer=first)
    bench.submit(TaskSpec(first << 40 | 1, nested, b""), peer=first, parent=10)
    bench.say(first, TaskBlocked(10))
    bench.start_engines()
    return bench, first, bench.engines[1]


def test_a_task_that_ends_while_it_is_blocked_gives_everything_back() -> None:
    bench = Bench(cpus=1)
    bench.submit(TaskSpec(10, bench.template(), b""), TaskSpec(20, bench.template(), b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.say(engine, TaskBlocked(10))
    bench.finish(engine, task, b"")
    assert [t.id for t in bench.assigned(engine)] == [20]
    assert bench.machine.fleet.nodes[0].available == {"CPU": 0}


def test_a_resumed_task_may_overdraw_but_nothing_is_placed_until_that_is_over() -> None:
    bench = Bench(cpus=1)
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""))
    first = bench.engines[0]
    (parent_task,) = bench.assigned(first)
    bench.say(first, TaskBlocked(10))
    bench.submit(TaskSpec(20, template, b""), TaskSpec(30, template, b""))
    bench.start_engines()
    second = bench.engines[1]
    (inner,) = bench.assigned(second)
    bench.say(first, TaskUnblocked(10))
    assert bench.machine.fleet.nodes[0].available == {"CPU": -10_000}
    bench.finish(second, inner, b"")
    assert bench.assigned(second) == []  # the first engine has the CPU
    bench.finish(first, parent_task, b"")
    assert [t.id for t in bench.assigned(first) + bench.assigned(second)] == [30]
