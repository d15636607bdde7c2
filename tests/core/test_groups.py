"""Placement groups: reserved all or nothing, used, removed, and lost with their hosts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from parallax.core.group_records import GroupState
from parallax.core.machine import Machine
from parallax.core.packing import MAX_BACKTRACKS, STRATEGIES, pack
from parallax.core.resources import UNIT, Demand, NodeRecord
from parallax.messages import (
    CONSTRUCTOR,
    ActorCreated,
    Failure,
    GroupCreated,
    GroupRemoved,
    TaskSpec,
)
from parallax.testing import Client, Cluster, Raised, Ref, TaskContext, check_empty
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, Bench, hello

CPU = {"CPU": 1.0}
GPU = {"CPU": 1.0, "GPU": 1.0}


def where(task: TaskContext) -> Steps:
    yield 0.01
    return task.node


def places(cluster: Cluster, group: Ref) -> list[int]:
    """The nodes of the bundles, -1 for those that are nowhere."""
    bundles = cluster.hub.machine.groups.rows[group.id].bundles
    return [bundle.node.number if bundle.node else -1 for bundle in bundles]


def is_ready(client: Client, group: Ref) -> bool:
    return group.id in client.values


def kind_of(client: Client, ref: Ref) -> str:
    value = client.values[ref.id]
    return value.kind if isinstance(value, Failure) else "value"


def available(cluster: Cluster, name: str = "CPU") -> float:
    return sum(n.available.get(name, 0) for n in cluster.hub.machine.fleet.nodes.values()) / UNIT


# ---- which bundle goes where ----------------------------------------------------------------


def hosts(*amounts: dict[str, float]) -> list[NodeRecord]:
    return [NodeRecord(number, 0, "host", each) for number, each in enumerate(amounts)]


def packed(strategy: str, bundles: list[dict[str, float]], nodes: list[NodeRecord]) -> Any:
    found = pack([Demand(bundle) for bundle in bundles], strategy, nodes)
    return None if found is None else [nodes.index(host) for host, _ in found]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("PACK", [{0, 1}, {0, 2}, {1, 2}]),
        ("SPREAD", [{0, 1, 2}]),
        ("STRICT_PACK", None),
        ("STRICT_SPREAD", [{0, 1, 2}]),
    ],
)
def test_strategies_choose_few_hosts_or_many(strategy: str, expected: Any) -> None:
    found = packed(strategy, [CPU] * 3, hosts({"CPU": 2}, {"CPU": 2}, {"CPU": 2}))
    assert (found is None) == (expected is None)
    assert found is None or set(found) in expected


def test_what_only_one_host_has_is_not_taken_by_a_bundle_that_could_be_elsewhere() -> None:
    nodes = hosts({"CPU": 1, "GPU": 1}, {"CPU": 1})
    for strategy in ("PACK", "SPREAD", "STRICT_SPREAD"):
        found = packed(strategy, [CPU, GPU], nodes)
        assert found == [1, 0]
        for node, bundle in zip((nodes[1], nodes[0]), (CPU, GPU), strict=True):
            node.release(Demand(bundle), [0] if "GPU" in bundle else [])


def test_a_wrong_turn_is_taken_back() -> None:
    """The largest host is the only one for either of the large bundles, but not for both."""
    nodes = hosts({"CPU": 6}, {"CPU": 5})
    assert packed("PACK", [{"CPU": 3}, {"CPU": 3}, {"CPU": 3}, {"CPU": 2}], nodes) == [0, 0, 1, 1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_group_that_does_not_fit_takes_nothing(strategy: str) -> None:
    nodes = hosts({"CPU": 2, "GPU": 1}, {"CPU": 2})
    before = [dict(node.available) for node in nodes]
    assert packed(strategy, [CPU, GPU, GPU], nodes) is None
    assert packed(strategy, [{"CPU": 1.5}] * 3, nodes) is None
    assert [node.available for node in nodes] == before
    assert nodes[0].gpu_free == {0: UNIT}


def test_a_contrived_group_costs_a_bounded_time() -> None:
    """Sums that add up, and a puzzle without a solution."""
    nodes = hosts(*[{"CPU": 10, "widget": 10}] * 10)
    bundles = [{"CPU": 5.1, "widget": 0.1}] * 11
    assert packed("PACK", bundles, nodes) is None
    assert MAX_BACKTRACKS < 10_000


# ---- reserving ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_group_is_ready_at_once_where_there_is_room(strategy: str) -> None:
    cluster = Cluster(engines=4, nodes=4, checked=True)
    group = cluster.client.group(CPU, CPU, CPU, strategy=strategy)
    cluster.run()
    assert cluster.result(group) == b"" or cluster.result(group) is None
    nodes = places(cluster, group)
    assert len(set(nodes)) == (3 if "SPREAD" in strategy else 1)
    assert available(cluster) == 13


def test_a_group_waits_without_holding_anything_until_all_of_it_fits() -> None:
    cluster = Cluster(engines=2, nodes=1, checked=True)
    busy = cluster.submit(1.0)
    cluster.run(0.01)
    group = cluster.client.group(CPU, CPU)
    cluster.run(0.01)
    assert not is_ready(cluster.client, group)
    assert available(cluster) == 1
    meanwhile = cluster.submit(0.01)
    cluster.run(0.02)
    assert meanwhile.id in cluster.client.values
    cluster.run()
    assert busy.id in cluster.client.values
    assert places(cluster, group) == [0, 0]


def test_groups_that_want_the_same_take_turns_instead_of_blocking_each_other() -> None:
    cluster = Cluster(engines=1, nodes=4, checked=True)
    groups = [cluster.client.group(CPU, CPU, CPU, strategy="SPREAD") for _ in range(5)]
    for _ in groups:
        cluster.run(0.1)
        ready = [group for group in groups if is_ready(cluster.client, group)]
        (running,) = [g for g in ready if g.id in cluster.hub.machine.groups.rows]
        cluster.client.remove_group(running)
    cluster.run()


def test_small_groups_do_not_wait_behind_one_that_has_no_room_yet() -> None:
    cluster = Cluster(engines=4, checked=True)
    cluster.submit(1.0)
    cluster.run(0.01)
    large = cluster.client.group({"CPU": 4.0})
    small = cluster.client.group(CPU)
    cluster.run(0.05)
    assert (is_ready(cluster.client, large), is_ready(cluster.client, small)) == (False, True)


@pytest.mark.parametrize("bundles", [[{"CPU": 4.0}], [{"CPU": 2.0}, {"CPU": 2.0}]])
def test_a_group_does_not_starve_among_tasks(bundles: list[dict[str, float]]) -> None:
    cluster = Cluster(engines=4, seed=1, checked=True)
    for _ in range(150):
        cluster.submit(0.013)
        cluster.submit(0.007)
    cluster.run(0.1)
    group = cluster.client.group(*bundles)
    cluster.run(0.5)
    assert is_ready(cluster.client, group)
    cluster.client.remove_group(group)
    cluster.run()


@pytest.mark.parametrize(
    ("bundles", "strategy"),
    [
        ([{"CPU": 3.0}], "PACK"),
        ([CPU] * 5, "PACK"),
        ([CPU] * 3, "STRICT_PACK"),
        ([CPU] * 3, "STRICT_SPREAD"),
        ([CPU, {"crane": 1.0}], "SPREAD"),
    ],
)
def test_a_group_that_could_never_be_placed_says_so(
    bundles: list[dict[str, float]], strategy: str
) -> None:
    cluster = Cluster(engines=2, nodes=2, checked=True)
    group = cluster.client.group(*bundles, strategy=strategy)
    task = cluster.submit(0.1, num_cpus=0.5, group=group.id)
    cluster.run()
    for ref in (group, task):
        with pytest.raises(
            Raised, match=r"could never hold all at once \(node 0: num_cpus=2; node 1"
        ):
            cluster.result(ref)


def test_a_group_that_comes_before_the_first_node_waits_for_it() -> None:
    bench = Bench(cpus=1)
    bench.machine = Machine()
    bench.join(CLIENT, hello("client"))
    bench.say(CLIENT, GroupCreated(1, 10, [CPU], "PACK"), GroupCreated(1, 11, [CPU] * 3, "PACK"))
    assert bench.ready() == {}
    bench.join(77, hello("node", CPU=2.0))
    values = bench.ready()
    assert type(values[10]) is bytes
    assert type(values[11]) is Failure


def test_idle_clusters_with_a_waiting_group_do_not_wake_up() -> None:
    cluster = Cluster(engines=2, checked=True)
    held = cluster.client.group(CPU, CPU)
    cluster.client.group(CPU, CPU)
    cluster.run(1.0)
    batches = cluster.hub.batches
    cluster.run(1000.0)
    assert cluster.hub.batches - batches < 10
    cluster.client.remove_group(held)
    cluster.run()


# ---- using ----------------------------------------------------------------------------------


def test_tasks_run_where_their_bundles_are() -> None:
    cluster = Cluster(engines=4, nodes=4, resources={"GPU": 1.0}, checked=True)
    group = cluster.client.group(*[GPU] * 4, strategy="STRICT_SPREAD")
    refs = [cluster.submit(where, group=group.id, bundle=i % 4, num_gpus=1) for i in range(8)]
    cluster.run()
    nodes = places(cluster, group)
    assert [cluster.result(ref) for ref in refs] == nodes * 2


def test_tasks_of_a_group_take_no_more_than_it_has() -> None:
    cluster = Cluster(engines=8, checked=True)
    group = cluster.client.group(CPU, CPU)
    for _ in range(10):
        cluster.submit(1.0, group=group.id)
    cluster.run()
    assert 5.0 <= cluster.makespan_s < 5.3


def test_tasks_outside_leave_to_the_group_what_is_its_own() -> None:
    cluster = Cluster(engines=2, checked=True)
    group = cluster.client.group(CPU)
    for _ in range(10):
        cluster.submit(1.0)
    inside = cluster.submit(0.1, group=group.id)
    cluster.run(0.5)
    assert inside.id in cluster.client.values
    cluster.run()
    assert cluster.makespan_s >= 10.0


def test_a_full_group_keeps_nobody_from_the_rest_of_the_cluster() -> None:
    cluster = Cluster(engines=4, checked=True)
    group = cluster.client.group(CPU, CPU)
    for bundle in (0, 1):
        cluster.submit(5.0, group=group.id, bundle=bundle)
    outside = [cluster.submit(0.1) for _ in range(4)]
    cluster.run(0.5)
    assert all(ref.id in cluster.client.values for ref in outside)
    cluster.run()


def test_a_large_demand_does_not_starve_among_small_ones_of_its_group() -> None:
    cluster = Cluster(engines=4, seed=1, checked=True)
    group = cluster.client.group({"CPU": 2.0})
    for _ in range(200):
        cluster.submit(0.01, group=group.id)
    large = cluster.submit(0.01, num_cpus=2, group=group.id)
    cluster.run(0.5)
    assert large.id in cluster.client.values
    cluster.run()


def test_short_tasks_that_wait_in_a_bundle_are_taken_back_for_another() -> None:
    cluster = Cluster(engines=2, checked=True)
    group = cluster.client.group(CPU, CPU)
    for _ in range(2):
        cluster.submit(0.0001, group=group.id)
    cluster.run()
    refs = [cluster.submit(work, group=group.id) for work in [2.0, *[0.0001] * 50]]
    cluster.run(0.5)
    assert sum(ref.id in cluster.client.values for ref in refs) == 50
    cluster.run()


def test_a_task_that_waits_lends_its_bundle_to_the_tasks_that_it_waits_for() -> None:
    def parent(task: TaskContext) -> Steps:
        yield task.submit(0.1, group=group.id)
        return "done"

    cluster = Cluster(engines=1, checked=True)
    group = cluster.client.group(CPU)
    ref = cluster.submit(parent, group=group.id)
    cluster.run()
    assert cluster.result(ref) == "done"


@pytest.mark.parametrize("capture", [False, True])
def test_what_a_task_submits_runs_in_its_group_only_if_it_is_captured(capture: bool) -> None:
    def parent(task: TaskContext) -> Steps:
        children = [task.submit(grandparent) for _ in range(2)]
        yield children
        return "done"

    def grandparent(task: TaskContext) -> Steps:
        yield task.submit(0.1)

    cluster = Cluster(engines=1, nodes=2, checked=True)
    group = cluster.client.group(CPU)
    outside = cluster.client.group(CPU)  # the rest of the cluster is taken
    ref = cluster.submit(parent, group=group.id, capture=capture)
    cluster.run(5.0)
    assert (ref.id in cluster.client.values) == capture
    cluster.client.remove_group(outside)
    cluster.run()


def test_a_group_that_a_task_has_made_ends_with_the_program() -> None:
    bench = Bench(cpus=2)
    bench.submit(TaskSpec(20, bench.template(), b""), job=1)
    engine = next(peer for peer in bench.engines if bench.assigned(peer))
    bench.say(engine, GroupCreated(1, 30, [CPU], "PACK"))
    assert bench.machine.groups.rows[30].owner == CLIENT
    bench.lose(CLIENT)
    assert bench.machine.groups.rows == {}
    bench.say(engine, GroupCreated(1, 31, [CPU], "PACK"))  # it has come too late for that
    bench.lose(engine)
    assert bench.machine.groups.rows == {}


def test_captured_actors_take_from_the_group() -> None:
    bench = Bench(cpus=2)
    bench.say(CLIENT, GroupCreated(1, 10, [{"CPU": 2.0}], "PACK"))
    bench.submit(TaskSpec(20, bench.template(group=10, capture=True), b""))
    engine = next(peer for peer in bench.engines if bench.assigned(peer))
    made = bench.template(role=CONSTRUCTOR)
    bench.say(CLIENT, ActorCreated(1, 20, TaskSpec(30, made, b"")))
    (bundle,) = bench.machine.groups.rows[10].bundles
    assert bundle.available["CPU"] == 0
    assert len([peer for peer in bench.engines if bench.assigned(peer)]) == 1
    bench.die(engine, 20)


def test_a_captured_task_that_asks_for_more_than_the_group_has_fails() -> None:
    def parent(task: TaskContext) -> Steps:
        yield task.submit(0.1, num_cpus=2)

    cluster = Cluster(engines=2, checked=True)
    group = cluster.client.group(CPU)
    ref = cluster.submit(parent, group=group.id, capture=True)
    cluster.run()
    with pytest.raises(Raised, match="asks for num_cpus=2, for which no bundle"):
        cluster.result(ref)


def test_actors_live_in_their_bundle_and_keep_it() -> None:
    cluster = Cluster(engines=2, nodes=3, checked=True)
    group = cluster.client.group(CPU, CPU, strategy="STRICT_SPREAD")
    actors = [
        cluster.client.actor(group=group.id, bundle=bundle, keeps_cpus=True) for bundle in (0, 1)
    ]
    refs = [cluster.client.call(actor, where) for actor in actors]
    cluster.run()
    assert [cluster.result(ref) for ref in refs] == places(cluster, group)
    bundles = cluster.hub.machine.groups.rows[group.id].bundles
    assert [bundle.available["CPU"] for bundle in bundles] == [0, 0]


def test_gpus_of_a_bundle_are_those_of_its_tasks() -> None:
    bench = Bench(cpus=4, GPU=4)
    bench.say(CLIENT, GroupCreated(1, 10, [{"CPU": 2, "GPU": 2}, {"CPU": 1, "GPU": 0.5}], "PACK"))
    bundles = bench.machine.groups.rows[10].bundles
    mine, half = (set(bundle.gpus) for bundle in bundles)
    assert len(mine) == 2
    assert len(half) == 1
    assert not mine & half
    one = bench.template(resources={"GPU": 1.0}, group=10)
    part = bench.template(resources={"GPU": 0.5}, group=10, bundle=1)
    plain = bench.template(cpus=0, resources={"GPU": 1.0})
    bench.submit(*(TaskSpec(20 + i, one, b"") for i in range(3)), TaskSpec(30, part, b""))
    bench.submit(TaskSpec(40, plain, b""))
    gpus = {task.id: set(task.gpus) for peer in bench.engines for task in bench.assigned(peer)}
    assert gpus[20] | gpus[21] == mine
    assert gpus[30] == half
    assert 22 not in gpus  # two GPUs, two tasks
    assert not gpus.get(40, set()) & (mine | half)


# ---- the end --------------------------------------------------------------------------------


def test_removing_a_group_ends_what_runs_and_waits_there_and_nothing_else() -> None:
    cluster = Cluster(engines=4, checked=True)
    client = cluster.client
    group = client.group(CPU, {"CPU": 1.0, "GPU": 0.0})
    running = cluster.submit(100.0, group=group.id)
    actor = client.actor(group=group.id, bundle=1, keeps_cpus=True, restarts=-1)
    served = client.call(actor, 0.001)
    waiting = [cluster.submit(100.0, group=group.id) for _ in range(3)]
    outside = cluster.submit(1.0)
    late = cluster.submit(0.1, outside, group=group.id)
    cluster.run(0.5)
    call = client.call(actor, 100.0)
    cluster.run(0.1)
    client.remove_group(group)
    cluster.run()
    assert kind_of(client, served) == kind_of(client, outside) == "value"
    assert {kind_of(client, ref) for ref in (running, late, *waiting)} == {"group_removed"}
    assert kind_of(client, call) == "actor_died"
    with pytest.raises(Raised, match=r"placement group \w+ in which it lived is gone"):
        cluster.result(call)
    cluster.run(1.0)
    assert available(cluster) == 4
    after = cluster.submit(0.1, group=group.id)
    cluster.run()
    assert kind_of(client, after) == "group_removed"
    cluster.close()
    check_empty(cluster.hub.machine)


def test_a_group_is_given_back_before_its_engines_have_ended_but_what_they_hold() -> None:
    bench = Bench(cpus=4, GPU=2)
    bench.say(CLIENT, GroupCreated(1, 10, [{"CPU": 3, "GPU": 2}], "PACK"))
    template = bench.template(resources={"GPU": 1.0}, group=10)
    bench.submit(TaskSpec(20, template, b""))
    (node,) = bench.machine.fleet.nodes.values()
    (engine,) = [e for e in bench.machine.fleet.engines.values() if e.queue]
    bench.say(CLIENT, GroupRemoved(10))
    assert node.available == {"CPU": 3 * UNIT, "GPU": UNIT}
    bench.die(engine.peer, 20)
    assert node.available == {"CPU": 4 * UNIT, "GPU": 2 * UNIT}


def test_a_group_that_waits_can_be_removed() -> None:
    cluster = Cluster(engines=1, checked=True)
    cluster.client.group(CPU)
    waiting = cluster.client.group(CPU)
    task = cluster.submit(0.1, group=waiting.id)
    cluster.run(0.1)
    cluster.client.remove_group(waiting)
    cluster.run()
    assert kind_of(cluster.client, waiting) == kind_of(cluster.client, task) == "group_removed"


@pytest.mark.parametrize("detached", [False, True])
def test_groups_end_with_their_client_unless_they_are_detached(detached: bool) -> None:
    cluster = Cluster(engines=2, checked=True)
    cluster.client.group(CPU, detached=detached)
    other = cluster.join()
    cluster.run(0.1)
    cluster.client.close()
    task = other.submit(0.1, num_cpus=2)
    cluster.run(1.0)
    assert (task.id in other.values) != detached
    if detached:
        (number,) = cluster.hub.machine.groups.rows
        other.remove_group(Ref(number))
        cluster.run()


# ---- lost hosts -----------------------------------------------------------------------------


def test_bundles_of_a_lost_host_are_placed_again_and_their_tasks_retried() -> None:
    cluster = Cluster(engines=2, nodes=4, checked=True)
    group = cluster.client.group(*[CPU] * 3, strategy="STRICT_SPREAD")
    refs = [cluster.submit(where, group=group.id, bundle=bundle % 3) for bundle in range(60)]
    cluster.run(0.05)
    before = places(cluster, group)
    cluster.kill_node(before[1])
    cluster.run()
    after = places(cluster, group)
    assert after[::2] == before[::2]
    assert after[1] not in before
    assert {cluster.result(ref) for ref in refs} <= {*before, *after}
    assert cluster.result(refs[-2]) == after[1]


def test_bundles_of_a_lost_host_wait_for_room_and_the_others_go_on() -> None:
    cluster = Cluster(engines=1, nodes=3, checked=True)
    group = cluster.client.group(CPU, CPU, strategy="STRICT_SPREAD")
    cluster.run()
    busy = cluster.submit(1.0)
    cluster.run(0.1)
    lost = places(cluster, group)[0]
    cluster.kill_node(lost)
    refs = [cluster.submit(0.1, group=group.id, bundle=bundle) for bundle in (0, 1)]
    cluster.run(0.5)
    state = cluster.hub.machine.groups.rows[group.id].state
    assert state is GroupState.RESCHEDULING
    assert [ref.id in cluster.client.values for ref in refs] == [False, True]
    cluster.run()
    assert busy.id in cluster.client.values
    assert cluster.hub.machine.groups.rows[group.id].state is GroupState.CREATED


def test_a_group_that_could_not_be_placed_again_says_so() -> None:
    cluster = Cluster(engines=1, nodes=2, checked=True)
    group = cluster.client.group(CPU, CPU, strategy="STRICT_SPREAD")
    cluster.run()
    cluster.kill_node(0)
    task = cluster.submit(0.1, group=group.id)
    cluster.run()
    with pytest.raises(Raised, match="could never hold all at once"):
        cluster.result(task)
    assert available(cluster) == 1


# ---- many -----------------------------------------------------------------------------------


def test_hundreds_of_groups_on_a_hundred_hosts() -> None:
    cluster = Cluster(engines=4, nodes=100, resources={"GPU": 1.0}, seed=3)
    client = cluster.client
    done = Counter[int]()
    groups = []
    for number in range(300):
        strategy = STRATEGIES[number % 4]
        group = client.group(GPU, CPU, strategy=strategy)
        groups.append(group)
        client.submit(0.05, group=group.id, bundle=0, num_gpus=1)
    while len(done) < 300:
        cluster.run(0.2)
        for group in groups:
            if is_ready(client, group) and not done[group.id]:
                done[group.id] += 1
                client.remove_group(group)
    cluster.run(1.0)
    assert available(cluster) == 400
    assert cluster.hub.machine.groups.rows == {}
