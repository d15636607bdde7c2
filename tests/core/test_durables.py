"""Durable tasks: what the journal is told of them, and how the next hub goes on."""

from __future__ import annotations

import pytest

from parallax.core.durables import LONGEST_RETRY_S, RETRY_S
from parallax.core.journal import JournalAttached
from parallax.messages import (
    Assignment,
    CancelRequested,
    Failure,
    KeepRequested,
    Noted,
    ObjectPut,
    ObjectsWanted,
    RefsChanged,
    Stored,
    TaskSpec,
)
from parallax.testing import check_empty
from tests.core.builders import CLIENT, Bench, hello
from tests.core.durable_bench import Disk, DurableBench
from tests.core.durable_course import FULL

LARGE = Stored("2-1", 1 << 20, CLIENT)
OTHER = 3


@pytest.fixture
def bench() -> DurableBench:
    return DurableBench()


def begun(bench: Bench) -> tuple[int, Assignment]:
    """The one assignment that was made since last asked, and whose it is."""
    ((peer, task),) = [(peer, task) for peer in bench.engines for task in bench.assigned(peer)]
    return peer, task


def next_pool(bench: DurableBench, cluster: str = "c2") -> DurableBench:
    """The hub is killed: what was not written is gone. The next one starts."""
    return DurableBench(bench.disk, cluster)


def test_a_task_is_in_the_journal_until_its_end_is(bench: DurableBench) -> None:
    task = bench.durable(b"a")
    bench.write()
    assert [one.args for one in bench.disk.tasks.values()] == [b"a"]
    bench.finish(*begun(bench), b"v")
    # Nobody hears of it before it is on disk.
    bench.join(OTHER, hello("client"))
    bench.say(OTHER, RefsChanged([task], []), ObjectsWanted([task]))
    assert bench.ready() == {}
    bench.write()
    assert bench.ready() == bench.ready(OTHER) == {task: b"v"}
    assert bench.disk.is_empty
    bench.say(OTHER, ObjectsWanted([task]))
    assert bench.ready(OTHER) == {task: b"v"}


def test_one_that_had_not_ended_runs_in_the_next_pool(bench: DurableBench) -> None:
    bench.durable(b"a")
    bench.write()
    begun(bench)
    again = next_pool(bench)
    peer, task = begun(again)
    assert task.args == b"a"
    again.finish(peer, task, b"v")
    again.write()
    assert again.disk.is_empty
    assert begun_nothing(next_pool(again, "c3"))


def begun_nothing(bench: Bench) -> bool:
    return not any(bench.assigned(peer) for peer in bench.engines)


def test_what_was_written_of_those_before_is_there_and_they_do_not_run_again(
    bench: DurableBench,
) -> None:
    first = bench.durable(b"a")
    bench.durable(b"b", first)
    bench.finish(*begun(bench), b"v")
    bench.write()
    again = next_pool(bench)
    peer, task = begun(again)
    assert (task.args, task.values) == (b"b", [b"v"])
    again.finish(peer, task, b"w")
    again.write()
    assert again.disk.is_empty


def test_values_of_others_are_written_with_the_tasks_that_take_them(bench: DurableBench) -> None:
    bench.say(CLIENT, ObjectPut(10, b"put"), ObjectPut(11, LARGE), ObjectPut(12, b"captured"))
    bench.submit(TaskSpec(13, bench.template(), b"plain"))
    peer, plain = begun(bench)
    template = bench.template(durable=True, captured=[12])
    bench.durable(LARGE, 10, 13, template=template, refs=[11])  # type: ignore[arg-type]
    bench.write()
    assert sorted(map(repr, bench.disk.values.values())) == sorted(
        map(repr, [LARGE, b"put", b"captured"])
    )
    bench.finish(peer, plain, b"later")
    bench.write()
    again = next_pool(bench)
    peer, task = begun(again)
    assert isinstance(task.args, Stored)
    assert task.values == [b"put", b"later"]
    (captured,) = again.machine.tasks.rows[task.id].group.template.spec.captured
    assert again.machine.objects.rows[captured].value == b"captured"
    again.finish(peer, task, b"w")
    again.write()
    assert again.disk.is_empty
    check_empty_of(again)


def check_empty_of(bench: DurableBench) -> None:
    bench.lose(CLIENT)
    bench.write()
    check_empty(bench.machine)
    assert bench.machine.durables.unfinished == {}
    assert bench.machine.durables.needs == {}


def test_what_only_a_task_that_is_not_durable_could_make_is_lost(bench: DurableBench) -> None:
    bench.submit(TaskSpec(13, bench.template(), b"plain"))
    task = bench.durable(b"a", 13)
    bench.say(CLIENT, KeepRequested(1, task, "name"))
    bench.write()
    again = next_pool(bench)
    again.write()
    kept = again.disk.kept["name"]
    assert isinstance(kept, Failure)
    assert "durable=True" in kept.message
    assert again.disk.is_empty


def test_a_failure_is_passed_on_in_the_next_pool(bench: DurableBench) -> None:
    bench.submit(TaskSpec(13, bench.template(), b"plain"))
    plain = begun(bench)
    first = bench.durable(b"a")
    last = bench.durable(b"b", first, 13)
    bench.say(CLIENT, KeepRequested(1, last, "name"))
    bench.write()
    bench.finish(*plain, b"v")
    no = Failure("task", "no")
    bench.finish(*begun(bench), no)
    bench.write()
    assert bench.disk.kept == {"name": no}
    assert bench.disk.is_empty


def test_names_are_kept_in_the_next_pool(bench: DurableBench) -> None:
    task = bench.durable(b"a")
    bench.say(CLIENT, KeepRequested(1, task, "name"))
    bench.write()
    assert bench.answers() == {1: None}
    again = next_pool(bench)
    assert list(again.machine.keeps.wishes) == ["name"]
    again.finish(*begun(again), b"v")
    again.write()
    assert again.disk.kept == {"name": b"v"}
    assert again.disk.is_empty


def test_the_end_and_what_is_kept_of_it_are_one_transaction(bench: DurableBench) -> None:
    task = bench.durable(b"a")
    bench.say(CLIENT, KeepRequested(1, task, "name"))
    bench.write()
    bench.finish(*begun(bench), b"v")
    assert len(bench.orders) == 1


def test_several_results_have_keys_of_their_own(bench: DurableBench) -> None:
    many = bench.durable(b"a", template=bench.template(durable=True, num_returns=3))
    bench.durable(b"b", many + 2, many)
    bench.finish(*begun(bench), b"0", b"1", b"2")
    bench.write()
    assert sorted(bench.disk.values.values()) == [b"0", b"2"]  # type: ignore[type-var]
    _, task = begun(next_pool(bench))
    assert task.values == [b"2", b"0"]


def test_tasks_without_results_are_durable_too(bench: DurableBench) -> None:
    bench.durable(b"a", template=bench.template(durable=True, num_returns=0))
    bench.write()
    again = next_pool(bench)
    again.finish(*begun(again))
    again.write()
    assert again.disk.is_empty


def test_they_go_on_without_their_client_and_so_does_what_they_submit(bench: DurableBench) -> None:
    bench.durable(b"a")
    bench.durable(b"b")
    engine, task = begun(bench)
    bench.submit(TaskSpec(99, bench.template(peer=engine), b"nested"), peer=engine, parent=task.id)
    bench.say(engine, RefsChanged([], [99]))
    bench.write()
    bench.lose(CLIENT)
    assert {task.args for task in bench.machine.tasks.rows.values()} == {b"a", b"b", b"nested"}


def test_what_tasks_submit_is_part_of_them(bench: DurableBench) -> None:
    bench.durable(b"a")
    engine, task = begun(bench)
    template = bench.template(peer=engine, durable=True)
    bench.submit(TaskSpec(99, template, b"nested"), peer=engine, parent=task.id)
    bench.write()
    assert [one.args for one in bench.disk.tasks.values()] == [b"a"]


def test_cancelled_is_ended(bench: DurableBench) -> None:
    task = bench.durable(b"a")
    bench.durable(b"b", task)
    begun(bench)
    other = bench.durable(b"c", task)
    bench.say(CLIENT, CancelRequested([other]))
    bench.write()
    assert [one.args for one in bench.disk.tasks.values()] == [b"a", b"b"]
    assert list(bench.ready()) == [other]


def test_without_a_journal_that_lasts_it_has_no_effect() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(durable=True), b"a"))
    bench.finish(*begun(bench), b"v")
    assert bench.ready() == {10: b"v"}
    assert bench.machine.desk._open == {}


def test_tasks_that_are_not_durable_cost_nothing(bench: DurableBench) -> None:
    bench.submit(TaskSpec(10, bench.template(), b"a"))
    bench.finish(*begun(bench), b"v")
    assert bench.told() == []
    assert bench.ready() == {10: b"v"}


def test_one_with_references_inside_runs_and_is_not_durable(bench: DurableBench) -> None:
    bench.say(CLIENT, ObjectPut(10, b"inner"))
    bench.durable(b"a", refs=[10])
    assert bench.told() == []
    (note,) = bench.heard(CLIENT, Noted)
    assert "f runs, but is not durable" in note.text
    bench.finish(*begun(bench), b"v")
    assert list(bench.ready().values()) == [b"v"]


def test_one_that_returned_references_runs_again_until_nobody_needs_it(
    bench: DurableBench,
) -> None:
    bench.say(CLIENT, ObjectPut(10, b"inner"))
    first = bench.durable(b"a")
    bench.durable(b"b", first)
    peer, task = begun(bench)
    bench.finish(peer, task, b"v", contained={first: [10]})
    bench.write()
    assert list(bench.ready()) == [first]
    again = next_pool(bench)
    for args in (b"a", b"b"):
        peer, task = begun(again)
        assert task.args == args
        again.finish(peer, task, b"v")
    again.write()
    assert again.disk.is_empty
    # And in the pool where it was, once the other has ended.
    bench.disk = Disk()
    bench.disk.tasks = {}
    bench.finish(*begun(bench), b"w")
    (change,) = bench.changes()
    assert len(change.ends) == 2


def test_a_value_that_was_lost_before_it_was_written_is_made_anew(bench: DurableBench) -> None:
    first = bench.durable(b"a")
    bench.durable(b"b", first)
    bench.write()
    peer, task = begun(bench)
    bench.finish(peer, task, Stored("1-1", 1 << 20, 1))
    bench.disk.gone.add("1-1")
    bench.write()
    assert {one.args for one in bench.disk.tasks.values()} == {b"a", b"b"}
    assert bench.ready() == {}
    again = next_pool(bench)
    _, task = begun(again)
    assert task.args == b"a"


@pytest.mark.parametrize("ended", [True, False])
def test_what_cannot_be_written_is_told_to_the_user_and_written_later(
    bench: DurableBench, ended: bool
) -> None:
    first = bench.durable(b"a")
    second = bench.durable(b"b", first)
    if ended:
        bench.write()
        bench.finish(*begun(bench), b"v")
    bench.write_next(FULL)
    (note,) = bench.heard(CLIENT, Noted)
    assert "will not go on should their pool be killed: the disk is full" in note.text
    if not ended:
        bench.finish(*begun(bench), b"v")
    # Nobody waits for a disk that is full.
    assert list(bench.ready()) == [first]
    bench.wait(RETRY_S)
    bench.write()
    assert [one.args for one in bench.disk.tasks.values()] == [b"b"]
    again = next_pool(bench)
    _, task = begun(again)
    assert (task.args, task.values) == (b"b", [b"v"])
    bench.finish(*begun(bench), b"w")
    bench.write()
    assert list(bench.ready()) == [second]


def test_who_loses_only_the_end_of_a_task_hears_of_it(bench: DurableBench) -> None:
    task = bench.durable(b"a")
    bench.write()
    bench.finish(*begun(bench), b"v")
    bench.write_next(FULL)
    (note,) = bench.heard(CLIENT, Noted)
    assert "the disk is full" in note.text
    assert list(bench.ready()) == [task]
    bench.wait(RETRY_S)
    bench.write()
    assert bench.disk.is_empty


def test_a_value_with_references_cannot_be_written_and_the_user_hears_of_it(
    bench: DurableBench,
) -> None:
    bench.say(CLIENT, ObjectPut(10, b"inner"), ObjectPut(11, b"outer", [10]))
    bench.durable(b"a", 11)
    (note,) = bench.heard(CLIENT, Noted)
    assert "f runs, but is not durable: it takes a value that contains references" in note.text


def test_what_an_earlier_hub_has_left_is_not_replaced_when_it_cannot_be_read() -> None:
    class Unreadable(DurableBench):
        def begin(self) -> None:
            self.handle(JournalAttached(used=True, at=1.0, cluster="c2"))
            self.write_next(FULL)

    bench = Unreadable()
    task = bench.durable(b"a")
    (note,) = bench.heard(CLIENT, Noted)
    assert "will not go on should their pool be killed: the disk is full" in note.text
    bench.finish(*begun(bench), b"v")
    assert bench.ready() == {task: b"v"}
    bench.wait(LONGEST_RETRY_S)
    assert bench.told() == []
