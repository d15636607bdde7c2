"""Lost values are rebuilt by the tasks that made them, and what made their arguments before."""

from __future__ import annotations

import pytest

from parallax.messages import (
    Done,
    Failure,
    ObjectMissing,
    ObjectPut,
    ObjectsReady,
    RefsChanged,
    SegmentsFreed,
    Stored,
    TasksFinished,
    TaskSpec,
    TaskStalled,
)
from parallax.testing import Cluster, Large, Raised, TaskContext, check_empty
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, Bench, hello


def grow(task: TaskContext) -> Steps:
    yield 0.001
    (before,) = task.args or [Large(0)]
    return Large(before.value + 1)


def exclaim(task: TaskContext) -> Steps:
    yield 0.001
    return Large(task.args[0].value + "!")


def stored(name: str, creator: int = 0) -> Stored:
    return Stored(name, 1 << 21, creator)


def test_a_chain_of_large_results_is_rebuilt_to_its_root() -> None:
    cluster = Cluster(engines=2, checked=True)
    client = cluster.client
    refs = [cluster.submit(grow)]
    for _ in range(9):
        refs.append(cluster.submit(grow, refs[-1]))
    cluster.run()
    client.drop(*refs[:-1])
    cluster.run(0.1)
    (last,) = cluster.segments  # what nobody refers to was freed at once
    cluster.lose(last)

    with pytest.raises(LookupError):
        cluster.result(refs[-1])
    cluster.run()

    assert cluster.result(refs[-1]) == Large(10)
    assert [cluster.runs[ref.id] for ref in refs] == [2] * 10
    cluster.run(0.1)
    assert len(cluster.segments) == 1
    cluster.close()
    check_empty(cluster.hub.machine)


def test_only_what_is_gone_is_made_anew() -> None:
    cluster = Cluster(engines=2, checked=True)
    first = cluster.submit(grow)
    second = cluster.submit(grow, first)
    third = cluster.submit(grow, second)
    cluster.run()
    cluster.lose(cluster.name_of(third))
    with pytest.raises(LookupError):
        cluster.result(third)
    cluster.run()
    assert cluster.result(third) == Large(3)
    assert [cluster.runs[ref.id] for ref in (first, second, third)] == [1, 1, 2]


def test_a_task_that_stalls_for_a_lost_argument_gets_it_rebuilt() -> None:
    cluster = Cluster(engines=1, checked=True)
    first = cluster.submit(grow)
    cluster.run()
    cluster.lose(cluster.name_of(first))
    second = cluster.submit(grow, first)
    cluster.run()
    assert cluster.result(second) == Large(2)
    assert cluster.runs[first.id] == 2


def test_a_lost_put_cannot_be_rebuilt() -> None:
    cluster = Cluster(engines=1, checked=True)
    put = cluster.client.put(Large("x"))
    made = cluster.submit(exclaim, put)
    cluster.run()
    cluster.lose(cluster.name_of(put))
    with pytest.raises(LookupError):
        cluster.result(put)
    cluster.run()
    with pytest.raises(Raised, match="no task made it"):
        cluster.result(put)
    assert cluster.result(made) == Large("x!")
    dependent = cluster.submit(0.001, put)
    cluster.run()
    with pytest.raises(Raised, match="object_lost"):
        cluster.result(dependent)


def test_rebuilding_costs_retries() -> None:
    bench = Bench()
    template = bench.template(max_retries=1)
    bench.submit(TaskSpec(10, template, b""))
    engine = bench.engines[0]
    for run in range(2):
        (task,) = bench.assigned(engine)
        bench.finish(engine, task, stored(f"seg{run}", engine))
        assert bench.ready() == {10: stored(f"seg{run}", engine)}
        bench.say(CLIENT, ObjectMissing(10, f"seg{run}"))
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert failure.kind == "object_lost"
    assert "no retries left" in failure.message
    counts = bench.machine.jobs[1].of("f")
    assert (counts.done, counts.retried, counts.pending) == (1, 1, 0)


def test_news_of_a_loss_that_was_made_good_already_is_answered_with_the_new_value() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, stored("new", engine))
    bench.ready()
    bench.say(CLIENT, ObjectMissing(10, "old"))
    assert bench.ready() == {10: stored("new", engine)}
    assert bench.assigned(engine) == []


def test_two_tasks_that_stall_for_one_loss_have_it_rebuilt_once() -> None:
    bench = Bench(cpus=2)
    template = bench.template()
    one, two = bench.engines
    bench.submit(TaskSpec(10, template, b""))
    maker = next(peer for peer in (one, two) if bench.machine.peers[peer].engine.queue)  # type: ignore[union-attr]
    (task,) = bench.assigned(maker)
    bench.finish(maker, task, stored("old", maker))
    bench.submit(TaskSpec(20, template, b"", deps=[10]), TaskSpec(30, template, b"", deps=[10]))
    (first,), (second,) = bench.assigned(one), bench.assigned(two)

    bench.say(one, TaskStalled(first.id, first.attempt, [10]))
    remade = bench.assigned(one) or bench.assigned(two)
    (again,) = remade
    assert (again.id, again.attempt) == (10, 1)
    runner = bench.machine.tasks.rows[10].engine
    assert runner is not None
    bench.finish(runner.peer, again, stored("new", runner.peer))
    bench.say(two, TaskStalled(second.id, second.attempt, [10]))  # it had looked for "old"

    assert not any(t.id == 10 for t in bench.machine.tasks.rows.values())
    ids = {t.id: t.values for peer in (one, two) for t in bench.assigned(peer)}
    assert ids == {20: [stored("new", runner.peer)], 30: [stored("new", runner.peer)]}


def test_a_lost_sibling_is_rebuilt_and_the_others_stay_what_they_are() -> None:
    bench = Bench()
    template = bench.template(num_returns=3)
    bench.submit(TaskSpec(10, template, b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, stored("a", engine), stored("b", engine), b"small")
    bench.say(CLIENT, ObjectMissing(11, "b"))
    (again,) = bench.assigned(engine)
    bench.finish(engine, again, stored("a2", engine), stored("b2", engine), b"small")

    rows = bench.machine.objects.rows
    assert [rows[i].value for i in (10, 11, 12)] == [
        stored("a", engine),
        stored("b2", engine),
        b"small",
    ]
    assert ["a2"] in [message.names for message in bench.heard(engine, SegmentsFreed)]
    bench.say(CLIENT, RefsChanged([], [10, 11, 12]))
    assert not rows


def test_a_freed_sibling_stays_freed_when_another_is_rebuilt() -> None:
    bench = Bench()
    template = bench.template(num_returns=2)
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, template, b""), TaskSpec(20, bench.template(), b"", deps=[10]))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, stored("a", engine), stored("b", engine))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, stored("c", engine))
    bench.say(CLIENT, RefsChanged([], [10]))  # only the lineage of 20 needs it now
    bench.say(CLIENT, ObjectMissing(11, "b"))
    (again,) = bench.assigned(engine)
    bench.heard(engine, SegmentsFreed)
    bench.finish(engine, again, stored("a2", engine), stored("b2", engine))
    assert [m.names for m in bench.heard(engine, SegmentsFreed)] == [["a2"]]
    assert bench.machine.objects.rows[10].freed
    bench.say(CLIENT, ObjectMissing(20, "c"))  # now it is needed after all
    (again,) = bench.assigned(engine)
    bench.finish(engine, again, stored("a3", engine), stored("b3", engine))
    (again,) = bench.assigned(engine)
    assert (again.id, again.values) == (20, [stored("a3", engine)])


def test_a_doubled_result_does_not_free_what_the_first_one_brought() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    done = Done(task.id, task.attempt, [stored("seg", engine)])
    bench.say(engine, TasksFinished([done]), TasksFinished([done]))
    assert bench.heard(engine, SegmentsFreed) == []
    assert bench.machine.objects.rows[10].value == stored("seg", engine)


def test_arguments_in_the_store_are_freed_when_their_task_will_never_run_again() -> None:
    bench = Bench()
    template = bench.template()
    bench.submit(TaskSpec(10, template, stored("args", CLIENT)))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, stored("result", engine))
    assert bench.heard(CLIENT, SegmentsFreed) == []  # the result could be lost
    bench.say(CLIENT, RefsChanged([], [10]))
    assert [m.names for m in bench.heard(CLIENT, SegmentsFreed)] == [["args"]]

    bench.submit(TaskSpec(20, template, stored("more", CLIENT)))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, b"small")
    assert [m.names for m in bench.heard(CLIENT, SegmentsFreed)] == [["more"]]


def test_arguments_that_left_the_store_are_named() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), stored("args", CLIENT)))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.say(engine, TaskStalled(task.id, task.attempt, [0]))
    (failure,) = bench.ready().values()
    assert isinstance(failure, Failure)
    assert "the arguments of f left the store" in failure.message


def test_the_function_is_kept_for_as_long_as_a_result_may_be_lost() -> None:
    """The client that defined it is gone, another one holds the result."""
    bench = Bench()
    other = 9
    bench.join(other, hello("client"))
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, stored("seg", engine))
    bench.say(other, RefsChanged([10], []))
    bench.lose(CLIENT)
    assert len(bench.machine.templates.rows) == 1
    bench.say(other, ObjectMissing(10, "seg"))
    (again,) = bench.assigned(engine)
    bench.finish(engine, again, stored("new", engine))
    assert [m.items for m in bench.heard(other, ObjectsReady)] == [[(10, stored("new", engine))]]
    bench.say(other, RefsChanged([], [10]))
    assert not bench.machine.objects.rows
    del task, again
    assert not bench.machine.templates.rows


def test_what_a_lost_value_contained_is_held_until_the_new_one_is_there() -> None:
    bench = Bench()
    bench.say(CLIENT, ObjectPut(5, b"inner"))
    bench.submit(TaskSpec(10, bench.template(), b"", refs=[5]))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, stored("seg", engine), contained={10: [5]})
    bench.say(CLIENT, RefsChanged([], [5]))
    assert bench.machine.objects.rows[5].refs == 2  # the value, and the lineage of the task
    bench.say(CLIENT, ObjectMissing(10, "seg"))
    assert bench.machine.objects.rows[5].refs == 2
    (again,) = bench.assigned(engine)
    bench.finish(engine, again, b"small now")
    assert 5 not in bench.machine.objects.rows
