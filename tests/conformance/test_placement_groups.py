"""Placement groups: all or nothing, for tasks and actors, until they are removed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until

pytestmark = pytest.mark.usefixtures("session")
Make = Any


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes groups that are removed after the test, whose resources then are free again."""
    made: list[px.PlacementGroup] = []

    def one(*args: Any, **kwargs: Any) -> px.PlacementGroup:
        made.append(px.placement_group(*args, **kwargs))
        return made[-1]

    yield one
    for group in made:
        px.remove_placement_group(group)
    wait_until(lambda: px.available_resources() == px.cluster_resources())


@px.remote
def double(x: int) -> int:
    return 2 * x


@px.remote
def meet(gate: Gate) -> int:
    gate.pass_through()
    return os.getpid()


@px.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def wait(self, gate: Gate) -> None:
        gate.pass_through()


# ---- reserving ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK"])
def test_a_group_reserves_its_bundles(make: Make, strategy: str) -> None:
    group = make([{"CPU": 1}, {"CPU": 0.5, "crane": 2}], strategy=strategy)
    assert group.wait(30)
    assert px.get(group.ready()) is None
    assert px.available_resources()["CPU"] == 0.5
    assert px.available_resources()["crane"] == 0
    assert px.cluster_resources()["CPU"] == 2
    px.remove_placement_group(group)
    wait_until(lambda: px.available_resources()["crane"] == 2)


def test_what_a_group_says_of_itself(make: Make) -> None:
    group = make([{"CPU": 1}, {"crane": 1}], "SPREAD", name="twins")
    assert group.bundle_specs == [{"CPU": 1}, {"crane": 1}]
    assert group.bundle_count == 2
    assert (
        repr(group) == f"<placement group twins {group.id} SPREAD [{{'CPU': 1}}, {{'crane': 1}}]>"
    )
    assert group.wait(30)
    row = px.placement_group_table(group)
    assert row["placement_group_id"] == group.id
    assert (row["name"], row["strategy"], row["state"]) == ("twins", "SPREAD", "CREATED")
    assert row["bundles"] == [
        {"resources": {"CPU": 1}, "available": {"CPU": 1}, "node": 0},
        {"resources": {"crane": 1}, "available": {"crane": 1}, "node": 0},
    ]
    assert row in px.placement_group_table()
    assert "twins" in px.placement_group_table()._repr_html_()


def test_a_group_travels(make: Make) -> None:
    @px.remote(num_cpus=0)
    def inside(group: px.PlacementGroup) -> int:
        assert group.wait(30)
        return px.get(double.options(scheduling_strategy=group).remote(4))

    group = make([{"CPU": 1}])
    assert px.get(inside.remote(group)) == 8
    copy = pickle.loads(pickle.dumps(group))
    assert copy == group
    assert hash(copy) == hash(group)
    assert copy != make([{"CPU": 1}])


@pytest.mark.needs("concurrency")
def test_a_group_waits_until_all_of_it_fits(make: Make, gate: Gate) -> None:
    ref = meet.remote(gate)
    gate.wait_for(1)
    group = make([{"CPU": 1}, {"CPU": 1}])
    assert not group.wait(0.05)
    assert px.placement_group_table(group)["state"] == "PENDING"
    with pytest.raises(px.errors.GetTimeoutError):
        px.get(group.ready(), timeout=0)
    gate.open()
    px.get(ref)
    assert group.wait(30)


@pytest.mark.parametrize(
    ("bundles", "strategy"),
    [([{"CPU": 3}], "PACK"), ([{"CPU": 1}] * 2, "STRICT_SPREAD"), ([{"ladder": 1}], "PACK")],
)
def test_a_group_that_could_never_be_placed_says_so(
    bundles: list[dict[str, float]], strategy: Any
) -> None:
    with pytest.raises(px.errors.UsageError, match=rf"{len(bundles)} bundles .* num_cpus=2"):
        px.placement_group(bundles, strategy).wait()


@pytest.mark.parametrize(
    ("bundles", "options", "message"),
    [
        ([], {}, "has 1 to 1,000 bundles, not 0"),
        ({"CPU": 1}, {}, "must be a list of dicts"),
        ([1], {}, "bundle 0 is 1"),
        ([{"CPU": 1}, {"CPU": -1}], {}, "bundle 1: CPU=-1 must be a number"),
        ([{"CPU": 0}], {}, "reserves nothing"),
        ([{"GPU": 1.5}], {}, "must be a whole number"),
        ([{"CPU": 1}], {"strategy": "TOGETHER"}, "strategy='TOGETHER' must be one of PACK"),
        ([{"CPU": 1}], {"lifetime": "long"}, "lifetime='long'"),
        ([{"CPU": 1}], {"name": 3}, "name=3"),
    ],
)
def test_wrong_groups_fail_where_they_are_written(
    bundles: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(px.errors.UsageError, match=message):
        px.placement_group(bundles, **options)


# ---- using ----------------------------------------------------------------------------------


def test_tasks_run_in_it(make: Make) -> None:
    group = make([{"CPU": 1}, {"CPU": 1}])
    in_second = px.PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=1)
    refs = [
        double.options(scheduling_strategy=group).remote(1),
        double.options(scheduling_strategy=in_second).remote(2),
        *double.options(scheduling_strategy=group).map(range(50)),
    ]
    assert px.get(refs) == [2, 4, *range(0, 100, 2)]


@pytest.mark.needs("concurrency")
def test_a_group_keeps_its_place_beside_others(make: Make, gate: Gate) -> None:
    group = make([{"CPU": 1}])
    assert group.wait(30)
    outside = [meet.remote(gate) for _ in range(3)]
    gate.wait_for(1)
    assert px.get(double.options(scheduling_strategy=group).remote(3)) == 6
    assert gate.count() == 1  # one CPU is left to the others
    gate.open()
    px.get(outside)


@pytest.mark.needs("concurrency")
def test_captured_children_run_in_it_too(make: Make) -> None:
    @px.remote
    def parent() -> int:
        return px.get(double.remote(5))

    group = make([{"CPU": 1}])
    rest = make([{"CPU": 1}])
    assert rest.wait(30)
    strategy = px.PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    assert px.get(parent.options(scheduling_strategy=strategy).remote(), timeout=30) == 10


def test_actors_live_in_it(make: Make) -> None:
    group = make([{"CPU": 1}, {"CPU": 1}])
    strategies = [px.PlacementGroupSchedulingStrategy(group, index) for index in (0, 1)]
    actors = [Counter.options(scheduling_strategy=s, num_cpus=1).remote() for s in strategies]
    assert px.get([actor.add.remote() for actor in actors for _ in range(2)]) == [1, 2, 1, 2]


def test_more_than_a_bundle_has_is_refused_where_it_is_written(make: Make) -> None:
    group = make([{"CPU": 1}, {"CPU": 0.5, "crane": 1}])
    second = px.PlacementGroupSchedulingStrategy(group, 1)
    for options in (
        {"num_cpus": 2, "scheduling_strategy": group},
        {"num_cpus": 1, "scheduling_strategy": second},
        {"num_cpus": 1, "resources": {"crane": 1}, "scheduling_strategy": group},
    ):
        with pytest.raises(px.errors.UsageError, match="is more than"):
            double.options(**options)
    with pytest.raises(px.errors.UsageError, match="is more than bundle 1 "):
        Counter.options(scheduling_strategy=second)
    with pytest.raises(px.errors.UsageError, match="from 0 to 1, or -1"):
        double.options(scheduling_strategy=px.PlacementGroupSchedulingStrategy(group, 2))
    with pytest.raises(px.errors.UsageError, match="placement_group='x' must be"):
        double.options(scheduling_strategy=px.PlacementGroupSchedulingStrategy("x"))  # type: ignore[arg-type]


# ---- the end --------------------------------------------------------------------------------


def test_a_removed_group_runs_nothing_any_more() -> None:
    group = px.placement_group([{"CPU": 1}])
    actor = Counter.options(scheduling_strategy=group).remote()
    assert px.get(actor.add.remote()) == 1
    px.remove_placement_group(group)
    px.remove_placement_group(group)
    with pytest.raises(px.errors.PlacementGroupRemovedError, match=group.id):
        px.get(double.options(scheduling_strategy=group).remote(1))
    with pytest.raises(px.errors.ActorDiedError, match=group.id):
        px.get(actor.add.remote())
    assert px.placement_group_table(group)["state"] == "REMOVED"


@pytest.mark.needs("concurrency")
def test_removing_a_group_ends_what_runs_there(gate: Gate) -> None:
    group = px.placement_group([{"CPU": 1}, {"CPU": 1}])
    task = meet.options(scheduling_strategy=group).remote(gate)
    actor = Counter.options(scheduling_strategy=group, num_cpus=1, max_restarts=-1).remote()
    call = actor.wait.remote(gate)
    gate.wait_for(2)
    waiting = meet.options(scheduling_strategy=group).remote(gate)
    px.remove_placement_group(group)
    for ref in (task, waiting):
        with pytest.raises(px.errors.TaskCancelledError, match=f"placement group {group.id}"):
            px.get(ref)
    with pytest.raises(px.errors.ActorDiedError, match=f"placement group {group.id}"):
        px.get(call)
    wait_until(lambda: px.available_resources() == px.cluster_resources())
    assert px.get(double.remote(1)) == 2


@pytest.mark.needs("concurrency")
def test_a_group_that_waits_can_be_removed(make: Make) -> None:
    assert make([{"CPU": 2}]).wait(30)
    waiting = px.placement_group([{"CPU": 1}])
    px.remove_placement_group(waiting)
    with pytest.raises(px.errors.PlacementGroupRemovedError, match=waiting.id):
        waiting.wait()


def test_only_groups_can_be_removed() -> None:
    with pytest.raises(TypeError, match="takes a placement group, not int"):
        px.remove_placement_group(3)  # type: ignore[arg-type]
