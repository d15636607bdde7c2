"""What waits behind a task that has become long is taken back when another engine could run it."""

from __future__ import annotations

import pytest

from parallax.core.fleet import START_TIMEOUT_S
from parallax.core.recall import SWEEP_S
from parallax.messages import EnginesWanted, TaskSpec, TasksRecalled, TasksReturned
from parallax.testing import Cluster, TaskContext
from parallax.testing.programs import Steps
from tests.core.builders import NODE, Bench


def warm(cluster: Cluster, **options: float) -> None:
    """Let the function be known as one that takes no time."""
    for _ in range(20):
        cluster.submit(0.0001, **options)
        cluster.run()


@pytest.mark.parametrize("num_cpus", [0, 0.25, 0.5])
def test_tasks_of_less_than_a_cpu_get_engines_even_when_they_were_short_before(
    num_cpus: float,
) -> None:
    cluster = Cluster(engines=2, checked=True)
    warm(cluster, num_cpus=num_cpus)
    count = int(2 / num_cpus) if num_cpus else 8
    for _ in range(count):
        cluster.submit(10.0, num_cpus=num_cpus)
    cluster.run(0.5)
    engines = cluster.hub.machine.fleet.engines.values()
    assert [len(engine.queue) for engine in engines] == [1] * count


def test_the_cpu_of_a_task_that_waits_is_room_for_what_another_engine_has_queued() -> None:
    def waits(task: TaskContext) -> Steps:
        yield task.submit(10.0, num_cpus=0)

    cluster = Cluster(engines=2, checked=True)
    warm(cluster)
    for work in (waits, *[10.0] * 4):
        cluster.submit(work)
    cluster.run(0.5)
    fleet = cluster.hub.machine.fleet
    running = [e for e in fleet.engines.values() if e.queue and not e.blocked]
    assert len(running) == 3  # two with a CPU each, and the nested one without
    assert fleet.nodes[0].available["CPU"] == 0


def stuck(num_cpus: float) -> Bench:
    """One CPU and one engine, which has a task that became long, and others behind it."""
    bench = Bench(cpus=1)
    template = bench.template(cpus=num_cpus)
    (engine,) = bench.engines
    bench.submit(TaskSpec(1, template, b""))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"", duration_s=1e-5)
    bench.heard(NODE, EnginesWanted)
    bench.submit(*(TaskSpec(i, template, b"") for i in range(10, 14)))
    return bench


def test_it_is_left_alone_as_long_as_its_engine_moves() -> None:
    bench = stuck(0.25)
    (engine,) = bench.engines
    while tasks := bench.assigned(engine):
        for task in tasks:
            bench.wait(SWEEP_S / 2)
            bench.finish(engine, task, b"", duration_s=1e-5)
    assert bench.heard(engine, TasksRecalled) == []


def test_an_engine_is_started_for_what_was_taken_back() -> None:
    bench = stuck(0.25)
    (engine,) = bench.engines
    behind = [task.id for task in bench.assigned(engine)[1:]]
    assert behind
    bench.start_engines()
    bench.wait(SWEEP_S)
    bench.wait(SWEEP_S)
    (recall,) = bench.heard(engine, TasksRecalled)
    assert recall.ids == behind
    bench.say(engine, TasksReturned(behind, recalled=True))
    bench.start_engines()
    others = [peer for peer in bench.engines if peer != engine]
    assert {task.id for peer in others for task in bench.assigned(peer)} == {11, 12, 13}


def test_where_there_is_no_room_nothing_is_taken_back_and_nobody_wakes_up() -> None:
    bench = stuck(1)
    (engine,) = bench.engines
    assert len(bench.assigned(engine)) > 1
    bench.wait(SWEEP_S)
    bench.wait(SWEEP_S)
    assert bench.heard(engine, TasksRecalled) == []
    assert bench.machine.next_deadline() == START_TIMEOUT_S  # the oldest of all timers
