"""Engines that die: who pays, who moves on, and what the caller is told."""

from __future__ import annotations

import pytest

from parallax.core.fleet import START_TIMEOUT_S
from parallax.core.liveness import MAX_FAILED_STARTS
from parallax.core.obituaries import describe_status
from parallax.messages import (
    CancelRequested,
    Chunk,
    Done,
    EngineExited,
    EnginesWanted,
    EngineUnwanted,
    Failure,
    MemoryPressed,
    RefsChanged,
    SegmentsFreed,
    Stored,
    TaskBlocked,
    TasksFinished,
    TaskSpec,
)
from parallax.testing import Cluster, Faults, Raised, TaskContext
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, FIRST_ENGINE, NODE, Bench, hello


def prefetched(bench: Bench, *specs: TaskSpec, template: int) -> int:
    """Submit so that all of them are queued at the one engine."""
    engine = bench.engines[0]
    bench.submit(TaskSpec(1, template, b""))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"", duration_s=1e-5)
    bench.submit(*specs, *(TaskSpec(9000 + i, template, b"") for i in range(4 * len(specs))))
    bench.ready()
    return engine


def test_only_the_culprit_pays() -> None:
    bench = Bench()
    template = bench.template(max_retries=0)
    engine = prefetched(
        bench, TaskSpec(10, template, b""), TaskSpec(20, template, b""), template=template
    )
    assert [task.id for task in bench.assigned(engine)][:2] == [10, 20]
    bench.die(engine, running=10, status=-11)
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert failure.kind == "engine_died"
    assert "killed by SIGSEGV" in failure.message
    bench.start_engines()
    assert bench.assigned(bench.engines[0])[0].id == 20


def test_the_culprit_is_retried_as_often_as_it_may() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(max_retries=2), b""))
    for attempt in range(3):
        assert bench.ready() == {}
        engine = bench.engines[0]
        (task,) = bench.assigned(engine)
        assert task.attempt == attempt
        bench.die(engine, running=10)
        bench.start_engines()
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert "after 3 attempts" in failure.message


def test_what_was_over_before_the_culprit_does_not_pay_but_may_not_run_twice() -> None:
    bench = Bench()
    template = bench.template(max_retries=1)
    specs = [TaskSpec(i, template, b"") for i in (10, 20, 30)]
    engine = prefetched(bench, *specs, template=template)
    assert [task.id for task in bench.assigned(engine)][:3] == [10, 20, 30]
    bench.die(engine, running=20)
    rows = bench.machine.tasks.rows
    assert [(rows[i].attempt, rows[i].retries_left) for i in (10, 20, 30)] == [
        (1, 1),
        (1, 0),
        (0, 1),
    ]
    bench.start_engines()
    again = bench.assigned(bench.engines[0])
    assert [task.id for task in again][:3] == [10, 20, 30]  # in their order, before the others


def test_results_that_come_before_the_end_of_the_link_count_however_late_it_is() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(max_retries=0), b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.say(NODE, EngineExited(engine - FIRST_ENGINE, -9, 10))
    bench.wait(0.5)
    bench.finish(engine, task, b"just in time")
    bench.lose(engine)
    assert bench.ready() == {10: b"just in time"}
    assert engine - FIRST_ENGINE not in bench.machine.fleet.engines


def test_a_link_that_a_child_holds_open_keeps_an_engine_unburied_for_a_second_at_most() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(max_retries=0), b""))
    engine = bench.engines[0]
    bench.assigned(engine)
    bench.say(NODE, EngineExited(engine - FIRST_ENGINE, -9, 10))
    assert bench.ready() == {}
    bench.wait(1.1)
    assert list(bench.ready()) == [10]


def test_results_that_arrive_after_the_burial_are_freed() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.die(engine, running=10)
    bench.say(engine, TasksFinished([Done(10, task.attempt, [Stored("late", 1, engine)])]))
    assert bench.ready() == {}
    assert [m.names for m in bench.heard(NODE, SegmentsFreed)] == [["late"]]


@pytest.mark.parametrize("lost_first", [True, False])
def test_the_connection_and_the_process_may_end_in_either_order(lost_first: bool) -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    bench.assigned(engine)
    if lost_first:
        bench.lose(engine)
        assert bench.machine.fleet.engines  # not buried before its node says how it ended
    bench.say(NODE, EngineExited(engine - FIRST_ENGINE, -9, 10))
    bench.lose(engine)
    bench.say(NODE, EngineExited(engine - FIRST_ENGINE, -9, 10))
    bench.wait(1.0)
    bench.start_engines()
    (again,) = bench.assigned(bench.engines[0])
    assert (again.id, again.attempt) == (10, 1)


def test_a_blocked_engine_that_dies_gives_back_what_it_held() -> None:
    bench = Bench(cpus=1)
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    bench.assigned(engine)
    bench.say(engine, TaskBlocked(10))
    bench.die(engine, running=10)
    node = bench.machine.fleet.nodes[0]
    assert node.available == node.total
    bench.start_engines()
    assert [task.id for task in bench.assigned(bench.engines[0])] == [10]


def test_a_task_cancelled_while_its_engine_dies_is_cancelled() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    bench.assigned(engine)
    bench.say(CLIENT, CancelRequested([10]))
    bench.die(engine, running=10)
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert failure.kind == "cancelled"


def test_an_item_that_kills_its_engine_pays_alone() -> None:
    bench = Bench()
    template = bench.template(max_retries=0)
    bench.submit(TaskSpec(10, template, Chunk([b"0", b"1", b"2", b"3"])))
    engine = bench.engines[0]
    bench.assigned(engine)
    bench.die(engine, running=12)
    ready = bench.ready()
    assert sorted(ready) == [10, 11, 12]  # begun, and not to be begun again
    bench.start_engines()
    (rest,) = bench.assigned(bench.engines[0])
    assert (rest.id, rest.args) == (13, Chunk([b"3"]))
    bench.finish(bench.engines[0], rest, b"fine")
    counts = bench.machine.jobs[1].of("f")
    assert (counts.failed, counts.done, counts.pending) == (3, 1, 0)


def test_items_of_a_chunk_that_lost_its_engine_go_on_one_by_one() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(max_retries=2), Chunk([b"0", b"1", b"2"])))
    engine = bench.engines[0]
    bench.assigned(engine)
    bench.die(engine, running=11)
    rows = bench.machine.tasks.rows
    assert {i: rows[i].retries_left for i in sorted(rows)} == {10: 2, 11: 1, 12: 2}


def test_children_of_a_dead_task_are_cancelled_unless_somebody_else_wants_them() -> None:
    bench = Bench(cpus=2)
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""))
    parent = next(p for p in bench.engines if bench.assigned(p))
    nested = bench.template(peer=parent)
    bench.submit(
        TaskSpec(parent << 40 | 1, nested, b""),
        TaskSpec(parent << 40 | 2, nested, b"", deps=[parent << 40 | 1]),
        TaskSpec(parent << 40 | 3, nested, b"", deps=[parent << 40 | 1]),
        peer=parent,
        parent=10,
    )
    bench.say(CLIENT, RefsChanged([parent << 40 | 3], []))
    bench.die(parent, running=10)
    left = [i & 0xFF for i in bench.machine.tasks.rows]
    assert sorted(left) == [1, 3, 10]


def test_memory_pressure_ends_the_newest_task_that_may_be_retried() -> None:
    bench = Bench(cpus=3)
    precious, cheap = bench.template(max_retries=0), bench.template(max_retries=1)
    began = {}
    for number, template in ((10, cheap), (20, cheap), (30, precious)):
        bench.now += 1.0
        bench.submit(TaskSpec(number, template, b""))
        began[number] = next(p for p in bench.engines if bench.assigned(p))
    for _ in range(2):
        bench.say(NODE, MemoryPressed(1, 100))
    unwanted = [m.number + FIRST_ENGINE for m in bench.heard(NODE, EngineUnwanted)]
    assert unwanted == [began[20]]  # once, until it has ended
    bench.die(began[20], running=20)
    assert bench.machine.tasks.rows[20].retries_left == 0
    bench.say(NODE, MemoryPressed(1, 100))
    unwanted = [m.number + FIRST_ENGINE for m in bench.heard(NODE, EngineUnwanted)]
    assert unwanted == [began[10]]


def test_a_task_stopped_for_memory_says_so() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(max_retries=0), b""))
    engine = bench.engines[0]
    bench.say(NODE, MemoryPressed(1, 100))
    bench.die(engine, running=10)
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert failure.kind == "out_of_memory"
    assert "Use less memory" in failure.message


def test_an_engine_is_replaced_after_max_calls() -> None:
    bench = Bench()
    template = bench.template(max_calls=2)
    bench.submit(*(TaskSpec(i, template, b"") for i in (10, 20, 30)))
    engine = bench.engines[0]
    for _ in range(2):
        (task,) = bench.assigned(engine)
        bench.finish(engine, task, b"")
    assert bench.assigned(engine) == []
    assert [m.number for m in bench.heard(NODE, EngineUnwanted)] == [engine - FIRST_ENGINE]
    bench.start_engines()  # its successor need not wait for its end
    successor = bench.engines[-1]
    assert [task.id for task in bench.assigned(successor)] == [30]
    bench.die(engine)
    assert bench.engines == [successor]


def test_engines_that_cannot_start_end_the_cluster_when_there_is_none() -> None:
    bench = Bench()
    bench.die(bench.engines[0])
    for _ in range(MAX_FAILED_STARTS):
        bench.wait(10.0)
        (wanted,) = bench.heard(NODE, EnginesWanted)
        bench.say(NODE, EngineExited(wanted.numbers[0], 1, 0, "no module named x"))
    assert bench.stopped == ["engines cannot start (exit code 1). no module named x"]


def test_engines_that_fail_together_have_failed_once() -> None:
    bench = Bench(cpus=MAX_FAILED_STARTS + 1)
    for engine in bench.engines:
        bench.say(NODE, EngineExited(engine - FIRST_ENGINE, -9, 0))
    wanted = bench.heard(NODE, EnginesWanted)
    for engine in bench.engines:
        bench.lose(engine)
    assert not bench.machine.fleet.engines
    for number in [number for message in wanted for number in message.numbers]:
        bench.say(NODE, EngineExited(number, 1, 0, "out of processes"))
    assert bench.stopped == []
    bench.wait(10.0)
    bench.start_engines()
    assert len(bench.engines) == MAX_FAILED_STARTS + 1


def test_engines_that_cannot_start_are_tried_again_after_longer_and_longer_rests() -> None:
    bench = Bench(cpus=2)
    bench.die(bench.engines[0])
    tries = 0
    for _ in range(1000):
        for wanted in bench.heard(NODE, EnginesWanted):
            bench.say(NODE, EngineExited(wanted.numbers[0], 1, 0))
            tries += 1
        bench.wait(0.01)
    assert 5 <= tries <= 15
    assert bench.stopped == []


def test_an_engine_that_hangs_before_its_hello_is_given_up() -> None:
    bench = Bench()
    bench.die(bench.engines[0])
    (wanted,) = bench.heard(NODE, EnginesWanted)
    bench.wait(START_TIMEOUT_S + 1)
    assert [m.number for m in bench.heard(NODE, EngineUnwanted)] == wanted.numbers
    bench.say(NODE, EngineExited(wanted.numbers[0], -9, 0))
    bench.join(77, hello("engine", wanted.numbers[0]))
    assert "not wanted" in bench.dropped[77]


def test_an_engine_that_was_given_up_comes_too_late_even_before_its_end_is_told() -> None:
    """It has not long to live: what it got would fail with it."""
    bench = Bench()
    bench.die(bench.engines[0])
    bench.submit(TaskSpec(10, bench.template(max_retries=0), b""))
    (wanted,) = bench.heard(NODE, EnginesWanted)
    bench.wait(START_TIMEOUT_S + 1)
    bench.join(77, hello("engine", wanted.numbers[0]))
    assert "not wanted" in bench.dropped[77]
    assert bench.assigned(77) == []
    bench.say(NODE, EngineExited(wanted.numbers[0], -9, 0))
    bench.wait(10.0)
    bench.start_engines()
    assert [task.id for task in bench.assigned(bench.engines[0])] == [10]


def test_the_end_of_the_owner_is_the_end_of_the_cluster() -> None:
    bench = Bench(owner=True)
    bench.lose(CLIENT)
    assert bench.stopped == ["its owner is gone"]


def test_exit_statuses_as_people_read_them() -> None:
    assert describe_status(-9) == "killed by SIGKILL"
    assert describe_status(-250) == "killed by signal 250"
    assert describe_status(3) == "exit code 3"


def crash_once(task: TaskContext) -> Steps:
    yield 0.001
    if not task.attempt:
        task.crash()
    return "survived"


def crash_always(task: TaskContext) -> Steps:
    yield 0.001
    task.crash()


def test_crashing_tasks_do_not_disturb_the_others() -> None:
    cluster = Cluster(engines=2, checked=True)
    once = [cluster.submit(crash_once) for _ in range(3)]
    always = cluster.submit(crash_always, max_retries=2)
    others = [cluster.submit(0.002, max_retries=0) for _ in range(50)]
    cluster.run()
    assert [cluster.result(ref) for ref in once] == ["survived"] * 3
    with pytest.raises(Raised, match="after 3 attempts"):
        cluster.result(always)
    assert [cluster.result(ref) for ref in others] == [None] * 50
    assert {cluster.runs[ref.id] for ref in others} == {1}


def test_a_pool_under_fire_ends_its_work() -> None:
    cluster = Cluster(engines=4, seed=3, faults=Faults(crashes_per_s=20.0), checked=True)
    refs = [cluster.submit(0.01, max_retries=-1) for _ in range(300)]
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [None] * 300
