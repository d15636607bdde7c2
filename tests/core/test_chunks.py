"""Chunks: several calls in one task, each ending once."""

from __future__ import annotations

import pytest

from parallax.messages import (
    Chunk,
    Failure,
    ObjectMissing,
    ObjectPut,
    RefsChanged,
    Stored,
    TaskSpec,
)
from parallax.testing import Cluster, Faults, Raised, TaskContext, check_empty
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, Bench


def answer(number: int):  # type: ignore[no-untyped-def]
    def program(task: TaskContext) -> Steps:
        yield 0.0001
        if number == 13:
            raise ValueError("unlucky")
        return number

    return program


def test_each_item_has_its_own_end() -> None:
    cluster = Cluster(engines=2, checked=True)
    refs = cluster.client.map([answer(n) for n in range(20)])
    cluster.run()
    for number, ref in enumerate(refs):
        if number == 13:
            with pytest.raises(Raised, match="unlucky"):
                cluster.result(ref)
        else:
            assert cluster.result(ref) == number
    assert set(cluster.runs.values()) == {1}
    counts = cluster.hub.machine.jobs[1].of("f")
    assert (counts.done, counts.failed, counts.pending) == (19, 1, 0)


def test_a_slow_chunk_is_shared_with_idle_engines() -> None:
    cluster = Cluster(engines=4, checked=True)
    refs = cluster.client.map([0.1] * 20)
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [None] * 20
    assert cluster.makespan_s < 0.75


def test_items_behind_one_that_takes_long_are_shared_while_it_runs() -> None:
    cluster = Cluster(engines=2, checked=True)
    refs = cluster.client.map([0.001, 1.0, *[0.05] * 10])
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == [None] * 12
    assert cluster.makespan_s < 1.1
    assert set(cluster.runs.values()) == {1}


def test_what_was_given_back_is_queued_in_its_order_and_keeps_its_arguments() -> None:
    bench = Bench()
    bench.say(CLIENT, ObjectPut(5, b"shared"))
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0", b"1", b"2"]), [5], [5], 100))
    bench.say(CLIENT, RefsChanged([], [5]))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"a")
    for number, piece in enumerate(bench.assigned(engine), 1):
        assert (piece.id, piece.args) == (10 + number, Chunk([str(number).encode()]))
        assert (piece.deps, piece.values, piece.seed) == ([5], [b"shared"], 100 + number)
        bench.finish(engine, piece, b"b")
    assert bench.ready() == {10: b"a", 11: b"b", 12: b"b"}
    assert 5 not in bench.machine.objects.rows


def test_a_chunk_that_gives_back_its_first_item_may_be_told_twice() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0", b"1"])))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task)
    bench.finish(engine, task)
    ids = [(piece.id, piece.attempt) for piece in bench.assigned(engine)]
    assert ids == [(10, 1), (11, 1)]


def test_the_last_exception_is_retried_and_those_before_are_final() -> None:
    bench = Bench()
    template = bench.template(max_retries=1, retry_exceptions=True)
    bench.submit(TaskSpec(10, template, Chunk([b"0", b"1", b"2"])))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    final, passing = Failure("task", "final"), Failure("task", "passing")
    bench.finish(engine, task, final, passing, retriable=True)
    assert bench.ready() == {10: final}
    rows = bench.machine.tasks.rows
    assert {i: rows[i].retries_left for i in rows} == {11: 0, 12: 1}
    assert bench.machine.jobs[1].of("f").retried == 1


def test_more_values_than_items_cost_the_engine_its_place() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0"])), TaskSpec(11, bench.template(), b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"a", b"for another task")
    assert "2 values instead of 1" in bench.dropped[engine]
    assert bench.ready() == {}


def test_large_items_are_rebuilt_with_their_chunk() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0", b"1", b"2"])))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, Stored("a", 1, engine), Stored("b", 1, engine))
    (rest,) = bench.assigned(engine)
    bench.finish(engine, rest, Stored("c", 1, engine))
    bench.ready()
    bench.say(CLIENT, ObjectMissing(11, "b"))
    (again,) = bench.assigned(engine)
    assert (again.id, again.args) == (10, Chunk([b"0", b"1"]))
    bench.finish(engine, again, Stored("a2", 1, engine), Stored("b2", 1, engine))
    assert bench.ready() == {11: Stored("b2", 1, engine)}
    counts = bench.machine.jobs[1].of("f")
    assert (counts.done, counts.pending, counts.retried) == (3, 0, 1)
    bench.say(CLIENT, RefsChanged([], [10, 11, 12]))
    assert not bench.machine.objects.rows


@pytest.mark.parametrize("seed", range(6))
def test_items_end_once_each_under_fire(seed: int) -> None:
    faults = Faults(crashes_per_s=20.0, duplicate=0.1, slow_engines=0.2)
    cluster = Cluster(engines=3, seed=seed, faults=faults, checked=True, jitter=True)
    chunks = [
        cluster.client.map([answer(n) for n in range(k)], max_retries=-1)
        for k in (1, 2, 12, 50, 50)
    ]
    cluster.run()
    for chunk in chunks:
        for number, ref in enumerate(chunk):
            if number != 13:
                assert cluster.result(ref) == number
    counts = cluster.hub.machine.jobs[1].of("f")
    assert (counts.done, counts.failed, counts.pending) == (113, 2, 0)
    cluster.close()
    check_empty(cluster.hub.machine)
