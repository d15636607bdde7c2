"""The invariants of placement groups notice when they are broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.core.group_records import GroupRecord, GroupState
from parallax.core.machine import Machine
from parallax.core.resources import UNIT
from parallax.messages import GroupRemoved
from parallax.testing import Cluster, InvariantError, check, check_empty

CPU = {"CPU": 1.0}


def busy() -> tuple[Machine, GroupRecord, GroupRecord]:
    """Two nodes, a group with a task in it, and one that waits for room."""
    cluster = Cluster(engines=1, nodes=2)
    placed = cluster.client.group(CPU, strategy="STRICT_SPREAD")
    waits = cluster.client.group(CPU, CPU, strategy="STRICT_SPREAD")
    cluster.submit(10.0, group=placed.id)
    cluster.run(0.001)
    machine = cluster.hub.machine
    check(machine)
    machine.groups.looked_at = machine.timers.now
    machine.groups.is_late = False
    return machine, machine.groups.rows[placed.id], machine.groups.rows[waits.id]


def give_a_cpu_of_a_bundle_away(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    placed.bundles[0].available["CPU"] += 1


def overdraw_a_node(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    node = placed.bundles[0].node
    assert node is not None
    node.available["CPU"] += UNIT


def forget_what_bundles_hold(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    node = placed.bundles[0].node
    assert node is not None
    node.held.clear()


def place_half_a_group(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    free = next(n for n in machine.fleet.nodes.values() if n is not placed.bundles[0].node)
    waits.bundles[0].put(free, free.acquire(waits.bundles[0].demand))


def call_half_a_group_created(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    waits.state = GroupState.CREATED


def let_a_group_wait_beside_room(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    waits.strategy = "PACK"
    del waits.bundles[1]


def run_in_a_group_that_is_over(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    (engine,) = (e for e in machine.fleet.engines.values() if e.queue)
    (bundle,) = placed.bundles
    bundle.lift()
    assert engine.stock is bundle


def outlive_its_owner(machine: Machine, placed: GroupRecord, waits: GroupRecord) -> None:
    waits.owner = 4711


BREAKS = [
    outlive_its_owner,
    give_a_cpu_of_a_bundle_away,
    overdraw_a_node,
    forget_what_bundles_hold,
    place_half_a_group,
    call_half_a_group_created,
    let_a_group_wait_beside_room,
    run_in_a_group_that_is_over,
]


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
def test_a_broken_table_is_noticed(
    spoil: Callable[[Machine, GroupRecord, GroupRecord], None],
) -> None:
    machine, placed, waits = busy()
    spoil(machine, placed, waits)
    with pytest.raises(InvariantError):
        check(machine)


def test_groups_that_are_left_are_noticed() -> None:
    cluster = Cluster(engines=1)
    group = cluster.client.group(CPU, detached=True)
    cluster.run(0.1)
    cluster.close()
    with pytest.raises(InvariantError, match="1 placement groups"):
        check_empty(cluster.hub.machine)
    other = cluster.join()
    other.send(GroupRemoved(group.id))
    cluster.run(0.1)
    other.close()
    cluster.run(1.0)
    check_empty(cluster.hub.machine)
