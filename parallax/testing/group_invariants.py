"""What must hold of placement groups after every batch of events.

That no bundle is overdrawn, and that what bundles have is missing at their nodes, is checked with
the nodes (`parallax.testing.invariants`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from parallax.core.group_records import Bundle, GroupRecord, GroupState
from parallax.core.machine import Machine
from parallax.core.packing import STRICT_PACK, STRICT_SPREAD, pack
from parallax.core.resources import NodeRecord, Stock
from parallax.core.states import TaskState


def groups(machine: Machine) -> Iterator[str]:
    """Says everything that does not hold."""
    fleet, table = machine.fleet, machine.groups
    for group in table.rows.values():
        yield from _one(machine, group)
    emptied = {id(shape) for group in table.waiting.values() for shape in group.emptied}
    for stock in [*fleet.nodes.values(), *_bundles(machine)]:
        reserved = stock.reserved
        if reserved is not None and not reserved.count and id(reserved) not in emptied:
            yield f"{stock} is emptied for a shape that has no ready tasks"
    for engine in fleet.engines.values():
        stock = engine.stock
        if isinstance(stock, Bundle) and (stock.node is not engine.node or engine.shape is None):
            yield f"engine {engine.number}: takes from a bundle that is not there"
        if engine.shape is None and engine.stock is not engine.node:
            yield f"engine {engine.number}: has no lease, and takes from {engine.stock}"
    for task in machine.tasks.rows.values():
        group = task.group.template.shape.group  # type: ignore[assignment]
        ready = task.state is TaskState.READY and not task.is_call
        if ready and group is not None and group.failure is not None:
            yield f"task {task.id:x}: ready to run, and {group.failure.message}"
    for actor in machine.actors.rows.values():
        if actor.engine is not None and actor.constructor is not None:
            home = actor.constructor.group.template.shape.group
            if home is not None and home.state is GroupState.REMOVED:
                yield f"actor {actor.id:x}: lives in a group that was removed"


def bundles_on(machine: Machine, node: NodeRecord) -> list[Bundle]:
    """The bundles that are there."""
    return [bundle for bundle in _bundles(machine) if bundle.node is node]


def _bundles(machine: Machine) -> list[Bundle]:
    return [bundle for group in machine.groups.rows.values() for bundle in group.bundles]


def _one(machine: Machine, group: GroupRecord) -> Iterator[str]:
    who = group.title
    placed = Counter(bundle.node.number for bundle in group.bundles if bundle.node is not None)
    missing = len(group.unplaced)
    if group.owner and group.owner not in machine.peers:
        yield f"{who}: is there, and client {group.owner}, with which it ends, is not"
    waits = group.id in machine.groups.waiting
    if waits != (group.state in (GroupState.PENDING, GroupState.RESCHEDULING)):
        yield f"{who}: waits={waits}, yet it is {group.state}"
    if group.state is GroupState.CREATED and missing:
        yield f"{who}: created, and {missing} bundles are nowhere"
    if group.state in (GroupState.PENDING, GroupState.INFEASIBLE) and placed:
        yield f"{who}: {group.state}, yet it has bundles: all or nothing"
    if set(placed) - set(machine.fleet.nodes):
        yield f"{who}: has bundles on nodes that are not there"
    if group.strategy == STRICT_SPREAD and max(placed.values(), default=0) > 1:
        yield f"{who}: not spread: {placed}"
    if group.strategy == STRICT_PACK and len(placed) > 1:
        yield f"{who}: not packed: {placed}"
    if group.emptied and not waits:
        yield f"{who}: nodes are emptied for it, though it does not wait"
    looked = machine.groups.looked_at == machine.timers.now
    if waits and looked and not machine.groups.is_late:
        yield from _room(machine, group)


def _room(machine: Machine, group: GroupRecord) -> Iterator[str]:
    nodes = machine.fleet.nodes.values()
    free = [node for node in nodes if node.reserved is None]
    hosts = {node: Stock(node.available, node.gpu_free) for node in free}
    used = [hosts[b.node] for b in group.bundles if b.node is not None and b.node in hosts]
    demands = [bundle.demand for bundle in group.unplaced]
    if pack(demands, group.strategy, hosts.values(), used) is not None:
        yield f"{group.title}: waits, although there is room for it"
