"""A task that fails takes its dependents with it, with the original error."""

from __future__ import annotations

import pytest

from parallax.messages import Chunk, Failure, ObjectPut, TasksFinished, TaskSpec
from parallax.messages import Done as DoneRow
from parallax.testing import Cluster, Raised, TaskContext
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, FIRST_ENGINE, Bench


def boom(task: TaskContext) -> Steps:
    yield 0.001
    raise ValueError("original")


def test_the_original_error_goes_down_a_chain_of_ten_thousand() -> None:
    cluster = Cluster(engines=2)
    first = cluster.submit(boom)
    refs = [first]
    for _ in range(10_000):
        refs.append(cluster.submit(0.001, refs[-1]))
    cluster.run()
    for ref in (refs[0], refs[5000], refs[-1]):
        with pytest.raises(Raised, match="original"):
            cluster.result(ref)
    assert sum(cluster.runs.values()) == 1


def test_a_fan_of_dependents_fails_and_the_rest_goes_on() -> None:
    cluster = Cluster(engines=2, checked=True)
    bad, good = cluster.submit(boom), cluster.submit(0.001)
    doomed = [cluster.submit(0.001, bad, good) for _ in range(20)]
    fine = [cluster.submit(0.001, good) for _ in range(20)]
    cluster.run()
    for ref in doomed:
        with pytest.raises(Raised, match="original"):
            cluster.result(ref)
    assert [cluster.result(ref) for ref in fine] == [None] * 20
    job = cluster.hub.machine.jobs[1]
    assert job.state == "failed"
    assert (job.of("f").failed, job.of("f").done, job.pending) == (21, 21, 0)


def test_a_task_submitted_after_the_failure_fails_at_once() -> None:
    cluster = Cluster(engines=1, checked=True)
    bad = cluster.submit(boom)
    cluster.run()
    late = cluster.submit(0.001, bad)
    cluster.run()
    with pytest.raises(Raised, match="original"):
        cluster.result(late)


def test_one_exception_stands_for_all_return_values() -> None:
    bench = Bench()
    template = bench.template(num_returns=3)
    bench.submit(TaskSpec(10, template, b""))
    (task,) = bench.assigned(bench.engines[0])
    failure = Failure("task", "no")
    bench.finish(bench.engines[0], task, failure)
    assert bench.ready() == {10: failure, 11: failure, 12: failure}
    assert bench.machine.jobs[1].of("f").failed == 1


def test_an_exception_of_a_task_without_returns_is_kept_with_its_job() -> None:
    bench = Bench()
    template = bench.template(num_returns=0)
    bench.submit(TaskSpec(10, template, b""))
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, Failure("task", "no"))
    job = bench.machine.jobs[1]
    assert job.state == "failed"
    assert [(call.function, call.failure) for call in job.errors] == [("f", Failure("task", "no"))]


def test_exceptions_are_retried_when_the_engine_says_they_may_be() -> None:
    bench = Bench()
    template = bench.template(max_retries=1, retry_exceptions=True)
    bench.submit(TaskSpec(10, template, b""))
    engine = bench.engines[0]
    (first,) = bench.assigned(engine)
    bench.finish(engine, first, Failure("task", "no"), retriable=True)
    assert bench.ready() == {}
    (second,) = bench.assigned(engine)
    assert (second.id, second.attempt) == (10, 1)
    bench.finish(engine, second, Failure("task", "again"), retriable=True)
    assert bench.ready() == {10: Failure("task", "again")}
    assert bench.machine.jobs[1].of("f").retried == 1


def test_what_no_node_has_is_refused_at_once_with_what_there_is() -> None:
    bench = Bench(cpus=2, license=1)
    template = bench.template(cpus=99, resources={"license": 1.0})
    bench.submit(TaskSpec(10, template, b""))
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert failure.kind == "infeasible"
    assert "num_cpus=99, license=1" in failure.message
    assert "num_cpus=2, license=1" in failure.message


def test_a_result_of_the_wrong_size_costs_the_engine_its_place() -> None:
    bench = Bench()
    template = bench.template(num_returns=2)
    bench.submit(TaskSpec(10, template, b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"only one")
    assert "1 values instead of 2" in bench.dropped[engine]
    bench.die(engine, running=10)
    bench.start_engines()
    (again,) = bench.assigned(bench.engines[0])
    assert (again.id, again.attempt) == (10, 1)


def test_late_and_doubled_results_change_nothing() -> None:
    bench = Bench()
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.say(engine, TasksFinished([DoneRow(10, 7, [b"of another attempt"])]))
    assert bench.ready() == {}
    bench.finish(engine, task, b"first")
    bench.finish(engine, task, b"second")
    bench.say(FIRST_ENGINE + 77, TasksFinished([DoneRow(10, 0, [b"from nobody"])]))
    assert bench.ready() == {10: b"first"}


def test_a_task_or_object_that_is_known_is_not_taken_twice() -> None:
    bench = Bench()
    template = bench.template()
    spec = TaskSpec(10, template, b"")
    bench.submit(spec)
    bench.submit(spec)
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, b"value")
    bench.submit(spec)
    assert bench.assigned(bench.engines[0]) == []
    bench.say(CLIENT, ObjectPut(20, b"one"))
    bench.say(CLIENT, ObjectPut(20, b"two"))
    assert bench.machine.objects.rows[20].value == b"one"


def test_a_chunk_without_items_ends_like_any_task() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([])))
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task)
    assert not bench.machine.tasks.rows
