"""Detached actors: what the journal is told of them, and how it brings them back."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.core.journal import (
    Enlist,
    Entry,
    JournalAttached,
    Journalled,
    Muster,
    Recipe,
    Resume,
    Strike,
)
from parallax.core.outbox import Action, Journal
from parallax.messages import (
    CONSTRUCTOR,
    ActorCreated,
    BlobDefined,
    Failure,
    KillRequested,
    Noted,
    ObjectPut,
    Stored,
    TaskSpec,
    TemplateDefined,
)
from tests.core.actor_bench import NONE, ActorBench
from tests.core.builders import CLIENT, NODE

LARGE = Stored("2-1", 1 << 20, CLIENT)


class JournalBench(ActorBench):
    """A bench of a named pool."""

    def __init__(self, cpus: float = 1) -> None:
        self.orders: list[Journal] = []
        super().__init__(cpus)
        self.handle(JournalAttached(used=False, at=1.0))

    def handle(self, *events: Any) -> list[Action]:
        actions = super().handle(*events)
        orders = [action for action in actions if isinstance(action, Journal)]
        self.orders += [order for order in orders if not isinstance(order.entry, Resume)]
        return actions

    def told(self) -> list[Entry]:
        """What the journal was told since last asked; it has done it."""
        orders, self.orders = self.orders, []
        for order in orders:
            self.handle(Journalled(order.ticket))
        return [order.entry for order in orders]

    def detached(self, name: str = "a", **how: Any) -> int:
        """A detached actor that is up."""
        actor = self.create(name=name, namespace="space", detached=True, **how)
        self.settle()
        return actor


def test_a_detached_actor_is_enlisted_when_it_is_up_and_struck_when_it_is_killed() -> None:
    bench = JournalBench()
    actor = bench.create(name="a", namespace="space", detached=True, restarts=1)
    assert bench.told() == []
    engine = bench.settle()
    (enlist,) = bench.told()
    assert isinstance(enlist, Enlist)
    assert (enlist.recipe.name, enlist.recipe.namespace) == ("a", "space")
    # A restart changes nothing
    bench.die(engine)
    bench.start_engines()
    bench.settle()
    assert bench.told() == []
    bench.say(CLIENT, KillRequested(actor))
    assert bench.told() == [Strike("space", "a")]


@pytest.mark.parametrize("how", [{"name": "a"}, {"detached": True}, {}])
def test_others_are_not(how: dict[str, Any]) -> None:
    bench = JournalBench()
    actor = bench.create(**how)
    bench.settle()
    bench.say(CLIENT, KillRequested(actor))
    assert bench.told() == []


def test_without_a_journal_that_lasts_nothing_is_told() -> None:
    bench = ActorBench()
    bench.create(name="a", detached=True)
    bench.settle()
    assert bench.machine.desk._open == {}


def test_one_that_never_came_up_leaves_the_recipe_of_an_earlier_one() -> None:
    bench = JournalBench()
    bench.create(name="a", detached=True)
    peer, task = bench.begun()
    bench.finish(peer, task, Failure("task", "ValueError"))
    assert bench.told() == []


def test_the_end_of_the_node_is_not_the_end_of_the_recipe() -> None:
    bench = JournalBench()
    bench.detached()
    bench.told()
    bench.lose(NODE)
    assert bench.told() == []


def test_a_crash_without_restarts_is_the_end() -> None:
    bench = JournalBench()
    bench.create(name="a", namespace="space", detached=True)
    engine = bench.settle()
    bench.told()
    bench.die(engine)
    assert bench.told() == [Strike("space", "a")]


@pytest.mark.parametrize("contained", [True, False])
def test_references_cannot_be_enlisted_and_the_user_hears_of_it(contained: bool) -> None:
    bench = JournalBench()
    bench.say(CLIENT, ObjectPut(20, b"inner"), ObjectPut(21, b"outer", [20]))
    bench.detached(deps=[21]) if contained else bench.detached(refs=[20])
    assert bench.told() == []
    (note,) = bench.heard(CLIENT, Noted)
    assert "'a' will not be started anew" in note.text
    assert "references" in note.text


@pytest.mark.parametrize(
    "result", [{"lost": True}, {"failure": Failure("journal", "the disk is full.")}]
)
def test_a_recipe_that_could_not_be_written_is_told_to_the_user(result: dict[str, Any]) -> None:
    bench = JournalBench()
    bench.detached()
    (order,) = bench.orders
    bench.handle(Journalled(order.ticket, **result))
    (note,) = bench.heard(CLIENT, Noted)
    assert note.text.endswith("was lost." if "lost" in result else "the disk is full.")


def enlisted() -> Recipe:
    """The recipe of an actor with all that one can have."""
    bench = JournalBench()
    bench.say(CLIENT, BlobDefined(b"key", b"code"))
    bench.say(CLIENT, ObjectPut(20, b"dep"), ObjectPut(21, LARGE), ObjectPut(22, b"captured"))
    template = TemplateDefined(
        30, "Model", b"key", captured=[22], demand={"CPU": 1.0}, max_retries=5, role=CONSTRUCTOR
    )
    spec = TaskSpec(40, 30, LARGE, [20], [21], 7)
    bench.say(
        CLIENT,
        template,
        ActorCreated(
            1, 0, spec, "a", "space", detached=True, keeps_cpus=True, ordered=False, info=b"info"
        ),
    )
    bench.settle()
    (enlist,) = bench.told()
    assert isinstance(enlist, Enlist)
    return enlist.recipe


def test_a_new_hub_makes_the_actors_before_anybody_is_there() -> None:
    recipe = enlisted()
    assert recipe.blobs == [(b"key", b"code")]
    assert (recipe.args, recipe.deps, recipe.captured) == (LARGE, [b"dep"], [b"captured"])
    # Given a hub that has just started, with the journal of another one
    bench = JournalBench()
    bench.handle(JournalAttached(used=True, at=5.0))
    (order,) = bench.orders
    assert order.entry == Muster()
    bench.orders.clear()
    # When
    bench.handle(Journalled(order.ticket, [recipe]))
    # Then
    peer, task = bench.begun()
    assert (task.args, task.values, task.seed) == (LARGE, [b"dep"], 7)
    bench.finish(peer, task, NONE)
    actor = bench.machine.actors.names["space", "a"]
    assert (actor.detached, actor.keeps_cpus, actor.ordered) == (True, True, False)
    assert actor.info == b"info"
    constructor = actor.constructor
    assert constructor is not None
    assert constructor.retries_left == 5
    (captured,) = constructor.group.template.spec.captured
    assert bench.machine.objects.rows[captured].value == b"captured"
    assert bench.machine.templates.blobs[b"key"].data == b"code"
    # It is like any other: it is called, enlisted, killed, and then nothing of it is left.
    (again,) = bench.told()
    assert isinstance(again, Enlist)
    assert (again.recipe.args, again.recipe.deps) == (recipe.args, recipe.deps)
    bench.call(actor.id)
    bench.finish(peer, *bench.assigned(peer), b"answer")
    bench.say(CLIENT, KillRequested(actor.id))
    assert bench.told() == [Strike("space", "a")]
    bench.lose(CLIENT)
    assert bench.machine.objects.rows == {}
    assert bench.machine.actors.rows == {}
    del actor, constructor
    assert not bench.machine.templates.blobs


def test_a_recipe_that_makes_no_sense_costs_no_other() -> None:
    recipe = enlisted()
    plain = TemplateDefined(30, "f", b"", demand={"CPU": 1.0})
    bad = Recipe("bad", "", plain, [], b"", [], [], -1, False, False, b"")
    bench = JournalBench(cpus=2)
    bench.handle(JournalAttached(used=True, at=5.0))
    bench.handle(Journalled(bench.orders.pop().ticket, [bad, recipe]))
    assert set(bench.machine.actors.names) == {("space", "a")}
    assert any("'bad' cannot be made" in text for job in bench.machine.jobs.all()
               for _, _, text in job.output)  # fmt: skip


def test_a_journal_that_cannot_be_read_stops_nothing() -> None:
    bench = JournalBench()
    bench.handle(JournalAttached(used=True, at=5.0))
    failure = Failure("journal", "it is of version 99")
    bench.handle(Journalled(bench.orders.pop().ticket, failure=failure))
    bench.detached()
    assert len(bench.told()) == 1
