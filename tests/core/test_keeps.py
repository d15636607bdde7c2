"""Keeping results: what the journal is told, and when clients hear of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.journal import Entry, Forget, Journalled, Keep, Promise, Recall
from parallax.core.outbox import Action, Journal
from parallax.messages import (
    Answered,
    Failure,
    ForgetRequested,
    KeepRequested,
    ObjectPut,
    RecallRequested,
    RefsChanged,
    Stored,
    TaskSpec,
)
from tests.core.builders import CLIENT, Bench, hello

OTHER = 3


class KeepingBench(Bench):
    """A bench that collects what the journal is told."""

    def __init__(self) -> None:
        self.orders: list[Journal] = []
        super().__init__()

    def handle(self, *events: Any) -> list[Action]:
        actions = super().handle(*events)
        self.orders += [action for action in actions if isinstance(action, Journal)]
        return actions

    def told(self) -> list[Entry]:
        """What the journal was told and has not done yet."""
        return [order.entry for order in self.orders]

    def done(self, answer: Any = None, **result: Any) -> None:
        """The journal does the first thing that it was told."""
        self.handle(Journalled(self.orders.pop(0).ticket, answer, **result))

    def answers(self, peer: int = CLIENT) -> dict[int, Any]:
        return {message.request: message.answer for message in self.heard(peer, Answered)}


@pytest.fixture
def bench() -> KeepingBench:
    return KeepingBench()


def test_a_value_is_acknowledged_when_it_is_on_disk_and_then_needs_no_memory(
    bench: KeepingBench,
) -> None:
    bench.say(CLIENT, ObjectPut(10, b"v"), KeepRequested(1, 10, "a"))
    bench.say(CLIENT, RefsChanged([], [10]))
    assert bench.told() == [Keep("a", "", b"v")]
    assert bench.answers() == {}
    assert bench.machine.objects.rows[10].value == b"v"
    bench.done()
    assert bench.answers() == {1: None}
    assert bench.machine.objects.rows == {}
    assert bench.machine.keeps.wishes == {}


def test_a_task_that_has_not_ended_is_promised_and_outlives_its_client(
    bench: KeepingBench,
) -> None:
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, KeepRequested(1, 10, "a"))
    assert bench.told() == [Promise("a", "work")]
    bench.done()
    assert bench.answers() == {1: None}
    bench.lose(CLIENT)
    bench.finish(engine, task, b"v")
    assert bench.told() == [Keep("a", "work", b"v")]
    bench.done()
    assert bench.machine.objects.rows == {}


def test_who_asks_early_is_answered_when_it_is_on_disk(bench: KeepingBench) -> None:
    engine = bench.engines[0]
    bench.join(OTHER, hello("client"))
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, KeepRequested(1, 10, "a"))
    bench.done()
    bench.say(OTHER, RecallRequested(5, "a"), RecallRequested(6, "a", wait=False))
    assert bench.answers(OTHER) == {6: {"pending": True}}
    bench.finish(engine, task, b"v")
    bench.say(OTHER, RecallRequested(7, "a", wait=False))
    assert bench.answers(OTHER) == {}
    bench.done()
    assert bench.told() == [Recall("a"), Recall("a")]
    bench.done({"value": b"v"})
    bench.done({"value": b"v"})
    assert bench.answers(OTHER) == {5: {"value": b"v"}, 7: {"value": b"v"}}


def test_a_failure_is_kept_as_such(bench: KeepingBench) -> None:
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, KeepRequested(1, 10, "a"))
    failure = Failure("task", "ValueError")
    bench.finish(engine, task, failure)
    assert bench.told()[1] == Keep("a", "work", failure)


@pytest.mark.parametrize("ready", [True, False])
def test_what_contains_references_is_refused(bench: KeepingBench, ready: bool) -> None:
    bench.say(CLIENT, ObjectPut(9, b"inner"))
    if ready:
        bench.say(CLIENT, ObjectPut(10, b"v", [9]), KeepRequested(1, 10, "a"))
        assert bench.answers()[1]["failure"].kind == "usage"
        assert bench.told() == []
    else:
        engine = bench.engines[0]
        bench.submit(TaskSpec(10, bench.template(), b""))
        (task,) = bench.assigned(engine)
        bench.say(CLIENT, KeepRequested(1, 10, "a"))
        bench.finish(engine, task, b"v", contained={10: [9]})
        kept = bench.told()[1]
        assert isinstance(kept, Keep)
        assert isinstance(kept.value, Failure)
        assert "contains references" in kept.value.message


def test_what_is_not_there_is_refused(bench: KeepingBench) -> None:
    bench.say(CLIENT, KeepRequested(1, 10, "a"))
    assert bench.answers()[1]["failure"].kind == "object_lost"
    assert bench.told() == []


def test_the_last_wish_for_a_name_counts(bench: KeepingBench) -> None:
    bench.say(CLIENT, ObjectPut(10, b"old"), ObjectPut(11, b"new"))
    bench.say(CLIENT, KeepRequested(1, 10, "a"), RecallRequested(2, "a"))
    bench.say(CLIENT, KeepRequested(3, 11, "a"))
    assert bench.told() == [Keep("a", "", b"old"), Keep("a", "", b"new")]
    bench.done()
    assert bench.answers() == {1: None}
    bench.done()
    assert bench.answers() == {3: None}
    bench.done({"value": b"new"})
    assert bench.answers() == {2: {"value": b"new"}}


@pytest.mark.parametrize("lost", [True, False])
def test_what_is_forgotten_while_it_is_written_was_kept_till_then(
    bench: KeepingBench, lost: bool
) -> None:
    bench.say(CLIENT, ObjectPut(10, Stored("a-1", 1 << 20, CLIENT)), KeepRequested(1, 10, "a"))
    bench.say(CLIENT, ForgetRequested(2, "a"), RefsChanged([], [10]))
    assert bench.machine.objects.rows == {}
    bench.done(lost=lost)
    bench.done()
    assert bench.answers() == {1: None, 2: None}


def test_a_promise_that_is_forgotten_is_kept_no_more(bench: KeepingBench) -> None:
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, KeepRequested(1, 10, "a"), RecallRequested(2, "a"))
    bench.say(CLIENT, ForgetRequested(3, "a"))
    bench.done()
    assert bench.told() == [Forget("a")]
    bench.done()
    answers = bench.answers()
    assert "forgotten before" in answers.pop(2)["failure"].message
    assert answers == {1: None, 3: None}
    bench.finish(engine, task, b"v")
    assert bench.told() == []


def test_a_promise_that_cannot_be_written_is_none(bench: KeepingBench) -> None:
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, KeepRequested(1, 10, "a"))
    full = Failure("journal", "the disk is full")
    bench.done(failure=full)
    assert bench.answers() == {1: {"failure": full}}
    bench.finish(engine, task, b"v")
    assert bench.told() == []


def test_a_value_that_cannot_be_written_is_refused_to_all_who_wait(bench: KeepingBench) -> None:
    bench.say(CLIENT, ObjectPut(10, b"v"), KeepRequested(1, 10, "a"), RecallRequested(2, "a"))
    full = Failure("journal", "the disk is full")
    bench.done(failure=full)
    assert bench.answers() == {1: {"failure": full}, 2: {"failure": full}}
    assert bench.machine.keeps.wishes == {}


def test_a_value_that_is_lost_before_it_was_written_is_rebuilt(bench: KeepingBench) -> None:
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, Stored("a-1", 1 << 20, 1))
    bench.say(CLIENT, KeepRequested(1, 10, "a"))
    bench.done(lost=True)
    (again,) = bench.assigned(engine)
    assert bench.answers() == {}
    bench.finish(engine, again, Stored("a-2", 1 << 20, 1))
    assert bench.told() == [Keep("a", "work", Stored("a-2", 1 << 20, 1))]
    bench.done()
    assert bench.answers() == {1: None}


def test_who_kept_a_value_that_was_lost_hears_when_what_replaced_it_is_on_disk(
    bench: KeepingBench,
) -> None:
    bench.say(CLIENT, ObjectPut(10, Stored("a-1", 1 << 20, CLIENT)), ObjectPut(20, b"v"))
    bench.say(CLIENT, KeepRequested(1, 10, "a"), KeepRequested(2, 20, "a"))
    bench.done(lost=True)
    assert bench.answers() == {}  # nothing is on disk
    bench.done()
    assert bench.answers() == {2: None, 1: None}


@pytest.mark.parametrize("forgets", [False, True])
def test_who_kept_a_value_that_is_being_rebuilt_hears_when_the_name_is_for_something_else(
    bench: KeepingBench, forgets: bool
) -> None:
    engine = bench.engines[0]
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(engine)
    bench.finish(engine, task, Stored("a-1", 1 << 20, 1))
    bench.say(CLIENT, KeepRequested(1, 10, "a"))
    bench.done(lost=True)
    if forgets:
        bench.say(CLIENT, ForgetRequested(2, "a"))
    else:
        bench.say(CLIENT, ObjectPut(20, b"v"), KeepRequested(2, 20, "a"))
    assert bench.answers() == {}
    bench.done()
    assert bench.answers() == {2: None, 1: None}


def test_a_value_that_nobody_can_rebuild_is_kept_as_lost(bench: KeepingBench) -> None:
    bench.say(CLIENT, ObjectPut(10, Stored("a-1", 1 << 20, 1)), KeepRequested(1, 10, "a"))
    bench.done(lost=True)
    (kept,) = bench.told()
    assert isinstance(kept, Keep)
    assert isinstance(kept.value, Failure)
    assert kept.value.kind == "object_lost"


def test_answers_to_clients_that_are_gone_hurt_nobody(bench: KeepingBench) -> None:
    bench.join(OTHER, hello("client"))
    bench.say(OTHER, ObjectPut(10, b"v"), KeepRequested(1, 10, "a"), RecallRequested(2))
    bench.lose(OTHER)
    bench.done()
    bench.done([])
    assert bench.machine.objects.rows == {}


FULL = Failure("journal", "the disk is full")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["keep", "recall", "look", "forget", "finish", "fail", "write",
                             "full", "lose"]),
            st.integers(0, 2),
            st.sampled_from("ab"),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_each_request_is_answered_once_and_nothing_is_held_for_ever(
    course: list[tuple[str, int, str]],
) -> None:
    """Clients keep, recall and forget a few names, while tasks and the journal fail."""
    bench = KeepingBench()
    engine = bench.engines[0]
    template = bench.template()
    pending = []
    for number in range(3):
        bench.submit(TaskSpec(10 + number, template, b""))
    requests = 0
    answered: list[int] = []

    def work(result: Stored | Failure | None) -> None:
        pending.extend(bench.assigned(engine))
        if pending and result is not None:
            bench.finish(engine, pending.pop(0), result)

    for step, (what, number, name) in enumerate(course):
        requests += what in ("keep", "recall", "look", "forget")
        if what == "keep":
            bench.say(CLIENT, KeepRequested(requests, 10 + number, name))
        elif what in ("recall", "look"):
            bench.say(CLIENT, RecallRequested(requests, name, wait=what == "recall"))
        elif what == "forget":
            bench.say(CLIENT, ForgetRequested(requests, name))
        elif what == "finish":
            work(Stored(f"1-{step}", 1 << 20, 1))
        elif what == "fail":
            work(Failure("task", "no"))
        elif bench.orders:
            is_value = isinstance(bench.orders[0].entry, Keep)
            lost = what == "lose" and is_value and isinstance(bench.orders[0].entry.value, Stored)
            bench.done(failure=FULL if what == "full" else None, lost=lost)
        answered += bench.answers()
    # In the end all tasks end, and the journal works again.
    for step in range(100, 200):
        work(Stored(f"1-{step}", 1 << 20, 1))
        if bench.orders:
            bench.done()
        answered += bench.answers()
    assert sorted(answered) == list(range(1, requests + 1))
    assert bench.machine.keeps.wishes == {}
    assert bench.machine.keeps._waiting == {}
    bench.say(CLIENT, RefsChanged([], [10, 11, 12]))
    assert bench.machine.objects.rows == {}
