"""Cancelling: what waits never runs, what runs is interrupted, what has ended is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.core.interrupts import TIMEOUT_GRACE_S
from parallax.messages import (
    CancelRequested,
    Chunk,
    EngineUnwanted,
    Failure,
    ItemsReturned,
    ItemUnwanted,
    RefsChanged,
    TaskInterrupted,
    TaskSpec,
    TasksReturned,
    TaskStalled,
)
from parallax.testing import Cluster, Faults, Raised, Ref, TaskContext
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, FIRST_ENGINE, NODE, Bench


def kinds(bench: Bench) -> dict[int, str]:
    return {i: v.kind if isinstance(v, Failure) else "value" for i, v in bench.ready().items()}


def test_pending_tasks_never_run() -> None:
    cluster = Cluster(engines=1, checked=True)
    running = cluster.submit(0.1)
    waiting = cluster.submit(0.1, running)
    ready = cluster.submit(0.1)
    cluster.run(0.01)
    cluster.client.cancel(waiting, ready)
    cluster.run()
    for ref in (waiting, ready):
        with pytest.raises(Raised, match="cancelled"):
            cluster.result(ref)
        assert not cluster.runs[ref.id]
    assert cluster.result(running) is None
    assert cluster.hub.machine.jobs[1].state == "cancelled"


def test_a_running_task_is_interrupted_and_its_engine_goes_on() -> None:
    cluster = Cluster(engines=1, checked=True)
    long, next_one = cluster.submit(100.0), cluster.submit(0.1)
    cluster.run(0.01)
    cluster.client.cancel(long)
    cluster.run()
    assert cluster.makespan_s < 1.0
    assert cluster.result(next_one) is None
    assert cluster.nodes[0].started == 1


def test_what_ignores_its_interrupt_is_killed_by_force_or_after_its_grace() -> None:
    for how in ({"force": True}, {"grace_s": 0.5}):
        cluster = Cluster(engines=1, faults=Faults(stubborn=1.0), checked=True)
        long, other = cluster.submit(100.0), cluster.submit(0.1)
        cluster.run(0.01)
        cluster.client.cancel(long, **how)  # type: ignore[arg-type]
        cluster.run()
        assert cluster.makespan_s < 2.0
        assert cluster.result(other) is None
        assert cluster.nodes[0].started == 2


def test_without_force_a_task_may_ignore_it_but_its_result_is_not_used() -> None:
    cluster = Cluster(engines=1, faults=Faults(stubborn=1.0), checked=True)
    long = cluster.submit(5.0)
    cluster.run(0.01)
    cluster.client.cancel(long)
    cluster.run()
    assert cluster.makespan_s > 4.0
    with pytest.raises(Raised, match="cancelled"):
        cluster.result(long)


def test_force_on_a_task_that_only_waits_at_its_engine_kills_nobody() -> None:
    bench = Bench()
    template = bench.template()
    engine = bench.engines[0]
    bench.submit(TaskSpec(1, template, b""))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"", duration_s=1e-5)
    bench.submit(*(TaskSpec(i, template, b"") for i in range(10, 30)))
    queued = [task.id for task in bench.assigned(engine)]
    assert len(queued) > 1
    bench.say(CLIENT, CancelRequested([queued[1]], force=True))
    assert bench.heard(NODE, EngineUnwanted) == []
    assert [m.task for m in bench.heard(engine, TaskInterrupted)] == [queued[1]]
    bench.ready()
    bench.say(engine, TasksReturned([queued[1]]))
    assert kinds(bench) == {queued[1]: "cancelled"}


def test_an_ended_task_is_left_alone() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, b"value")
    bench.say(CLIENT, CancelRequested([10], force=True), CancelRequested([4711]))
    assert bench.ready() == {10: b"value"}


def test_a_cancelled_task_that_stalls_or_comes_back_does_not_run_again() -> None:
    for answer in ("stalled", "returned"):
        bench = Bench()
        bench.submit(TaskSpec(10, bench.template(), b""))
        engine = bench.engines[0]
        (task,) = bench.assigned(engine)
        bench.say(CLIENT, CancelRequested([10]))
        if answer == "stalled":
            bench.say(engine, TaskStalled(10, task.attempt, []))
        else:
            bench.say(engine, TasksReturned([10]))
        assert kinds(bench) == {10: "cancelled"}
        assert bench.assigned(engine) == []


def parent(task: TaskContext) -> Steps:
    yield [task.submit(100.0), task.submit(grandparent)]


def grandparent(task: TaskContext) -> Steps:
    yield [task.submit(100.0) for _ in range(3)]


@pytest.mark.parametrize("recursive", [True, False])
def test_nested_tasks_are_cancelled_with_their_parent_when_asked(recursive: bool) -> None:
    cluster = Cluster(engines=4, checked=True)
    root = cluster.submit(parent)
    cluster.run(1.0)
    assert len(cluster.hub.machine.tasks.rows) == 6
    cluster.client.cancel(root, recursive=recursive)
    cluster.run()
    cluster.run(0.1)
    assert bool(cluster.hub.machine.tasks.rows) != recursive


def test_what_a_cancelled_task_still_submits_is_cancelled_too() -> None:
    bench = Bench(cpus=2)
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = next(p for p in bench.engines if bench.assigned(p))
    nested = bench.template(peer=engine)
    bench.say(CLIENT, CancelRequested([10]))
    bench.submit(TaskSpec(engine << 40 | 1, nested, b""), peer=engine, parent=10)
    assert list(bench.machine.tasks.rows) == [10]


def test_dependents_of_a_cancelled_task_are_cancelled() -> None:
    cluster = Cluster(engines=1, checked=True)
    first = cluster.submit(1.0)
    second = cluster.submit(0.1, first)
    cluster.run(0.01)
    cluster.client.cancel(first)
    cluster.run()
    with pytest.raises(Raised, match="cancelled"):
        cluster.result(second)


def test_the_clock_of_a_task_with_a_timeout_starts_when_it_begins() -> None:
    cluster = Cluster(engines=1, checked=True)
    blocker = cluster.submit(1.0)
    quick = cluster.submit(0.2, timeout_s=0.5)
    slow = cluster.submit(10.0, timeout_s=0.5)
    cluster.run()
    assert cluster.result(blocker) is None
    assert cluster.result(quick) is None
    with pytest.raises(Raised, match=r"longer than its timeout_s=0\.5"):
        cluster.result(slow)
    assert cluster.makespan_s < 2.0


def test_what_ignores_its_timeout_is_killed() -> None:
    cluster = Cluster(engines=1, faults=Faults(stubborn=1.0), checked=True)
    slow = cluster.submit(100.0, timeout_s=0.5)
    cluster.run()
    with pytest.raises(Raised, match="timeout"):
        cluster.result(slow)
    assert 0.5 + TIMEOUT_GRACE_S < cluster.makespan_s < 3.0


def test_clocks_of_ended_tasks_do_not_pile_up() -> None:
    cluster = Cluster(engines=2, checked=True)
    for _ in range(500):
        cluster.submit(0.001, timeout_s=3600.0)
    cluster.run()
    assert len(cluster.hub.machine.timers) < 10


# ---- items of a chunk -----------------------------------------------------------------------


def test_an_item_is_cancelled_alone() -> None:
    cluster = Cluster(engines=1, checked=True)
    blocker = cluster.submit(0.1)
    items = cluster.client.map([0.001] * 5)
    cluster.run(0.01)
    cluster.client.cancel(items[2])
    cluster.run()
    assert cluster.result(blocker) is None
    with pytest.raises(Raised, match="cancelled"):
        cluster.result(items[2])
    assert [cluster.runs[ref.id] for ref in items] == [1, 1, 0, 1, 1]
    counts = cluster.hub.machine.jobs[1].of("f")
    assert (counts.done, counts.cancelled, counts.pending) == (5, 1, 0)


def test_cancelling_every_item_cancels_the_chunk() -> None:
    bench = Bench()
    template = bench.template()
    bench.submit(TaskSpec(1, template, b""))
    bench.submit(TaskSpec(10, template, Chunk([b"0", b"1", b"2"])))
    bench.say(CLIENT, CancelRequested([10, 11, 12]))
    assert set(kinds(bench).values()) == {"cancelled"}
    assert list(bench.machine.tasks.rows) == [1]


def test_a_running_chunk_with_every_item_cancelled_can_be_killed() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0", b"1"])))
    engine = bench.engines[0]
    bench.assigned(engine)
    bench.say(CLIENT, CancelRequested([10, 11], grace_s=0.5))
    bench.wait(1.0)
    assert [m.number for m in bench.heard(NODE, EngineUnwanted)] == [engine - FIRST_ENGINE]


def test_an_item_that_was_cancelled_while_it_ran_stays_cancelled() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0", b"1", b"2"])))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, CancelRequested([11]))
    assert [m.object_id for m in bench.heard(engine, TaskInterrupted)] == [11]
    bench.finish(engine, task, b"a", b"b")  # the third was not begun
    assert kinds(bench) == {10: "value", 11: "cancelled"}
    (rest,) = bench.assigned(engine)
    assert rest.id == 12
    bench.finish(engine, rest, b"c")
    counts = bench.machine.jobs[1].of("f")
    assert (counts.done, counts.cancelled, counts.pending) == (2, 1, 0)


def test_an_item_cancelled_and_dropped_before_its_chunk_ends() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0", b"1"])))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, CancelRequested([10]), RefsChanged([], [10]), CancelRequested([10]))
    bench.finish(engine, task, b"a", b"b")
    assert bench.ready()[11] == b"b"
    assert list(bench.machine.objects.rows) == [11]


def test_cancelling_one_ref_of_many_cancels_the_task() -> None:
    cluster = Cluster(engines=1, checked=True)
    refs = cluster.client.submit_many(100.0, num_returns=3)
    cluster.run(0.01)
    cluster.client.cancel(Ref(refs[1].id))
    cluster.run()
    for ref in refs:
        with pytest.raises(Raised, match="cancelled"):
            cluster.result(ref)


def test_an_item_that_ignores_its_interrupt_is_killed_and_the_others_run_elsewhere() -> None:
    for how in ({"force": True}, {"grace_s": 0.5}):
        cluster = Cluster(engines=1, faults=Faults(stubborn=1.0), checked=True)
        items = cluster.client.map([0.001, 0.001, 100.0, 0.001], max_retries=1)
        cluster.run(0.005)
        cluster.client.cancel(items[2], **how)  # type: ignore[arg-type]
        cluster.run()
        assert cluster.makespan_s < 2.0
        assert [cluster.result(items[i]) for i in (0, 1, 3)] == [None] * 3
        assert [cluster.runs[ref.id] for ref in items] == [2, 2, 1, 1]
        assert cluster.nodes[0].started == 2
        counts = cluster.hub.machine.jobs[1].of("f")
        assert (counts.done, counts.cancelled, counts.retried) == (3, 1, 0)


def test_no_engine_is_killed_for_an_item_that_does_not_run() -> None:
    cluster = Cluster(engines=1, faults=Faults(stubborn=1.0), checked=True)
    items = cluster.client.map([0.5, *[0.001] * 5])
    cluster.run(0.001)
    cluster.client.cancel(items[3], force=True)
    cluster.run()
    assert [cluster.runs[ref.id] for ref in items] == [1, 1, 1, 0, 1, 1]
    assert cluster.nodes[0].started == 1


def chunk_of(bench: Bench, **options: Any) -> int:
    """An engine that runs a chunk of three items."""
    bench.submit(TaskSpec(10, bench.template(**options), Chunk([b"0", b"1", b"2"])))
    (engine,) = bench.engines
    bench.assigned(engine)
    return engine


def looks(bench: Bench) -> list[tuple[int, int]]:
    return [(m.number + FIRST_ENGINE, m.object_id) for m in bench.heard(NODE, ItemUnwanted)]


def test_the_node_is_asked_again_until_the_item_is_over() -> None:
    bench = Bench()
    engine = chunk_of(bench)
    bench.say(CLIENT, CancelRequested([11], grace_s=0.5))
    assert looks(bench) == []
    bench.wait(0.5)
    assert looks(bench) == [(engine, 11)]
    for seconds in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        bench.wait(seconds / 2)
        assert looks(bench) == []
        bench.wait(seconds / 2 + 1e-9)
        assert looks(bench) == [(engine, 11)]
    bench.say(engine, ItemsReturned(10, 0, 1))  # it had not begun
    bench.wait(6.0)
    assert looks(bench) == []


def test_whoever_else_is_hit_by_the_kill_pays_no_retry() -> None:
    bench = Bench()
    engine = chunk_of(bench, max_retries=1)
    bench.say(CLIENT, CancelRequested([11], force=True))
    bench.ready()
    bench.die(engine, running=12)  # 11 ended just in time
    rows = bench.machine.tasks.rows
    assert {i: rows[i].retries_left for i in rows} == {10: 1, 12: 1}
    assert bench.machine.jobs[1].of("f").retried == 0


def test_what_may_not_run_twice_does_not_even_then() -> None:
    bench = Bench()
    engine = chunk_of(bench, max_retries=0)
    bench.say(CLIENT, CancelRequested([11], force=True))
    bench.die(engine, running=11)
    assert kinds(bench) == {10: "engine_died", 11: "cancelled"}
    assert list(bench.machine.tasks.rows) == [12]
