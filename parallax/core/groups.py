"""The table of placement groups: reserved all or nothing, and given back when they are removed.

    PENDING ──(room for all bundles)──► CREATED ──(a node is lost)──► RESCHEDULING ──► CREATED ...
       │                                   │
       │ no cluster of these nodes could   │ removed, or its owner has left
       ▼ ever place it                     ▼
    INFEASIBLE                          REMOVED      both: what was to run in it fails

A bundle is a `Stock` of its own. It takes its resources from its node once, when it is placed; what
runs in the group takes from the bundle. All bundles of a group are placed in one step, so groups
that wait hold nothing and cannot block one another.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container, Iterable

from parallax.core.actors import ActorTable
from parallax.core.cancels import Cancels
from parallax.core.group_records import Bundle, GroupRecord, GroupState, describe_bundles, removed
from parallax.core.jobs import JobTable
from parallax.core.objects import ObjectTable
from parallax.core.packing import STRATEGIES, pack
from parallax.core.placement import PATIENCE_S, Placement
from parallax.core.ready import Shape
from parallax.core.records import PeerRecord, TaskRecord
from parallax.core.resources import UNIT, Demand, NodeRecord, Stock, describe
from parallax.core.tasks import TaskTable
from parallax.core.templates import TemplateTable
from parallax.core.timers import Timers
from parallax.errors import ProtocolError
from parallax.messages import Failure, GroupCreated, GroupRemoved

REST_S = 0.005
"""Between two looks for room for groups that wait: each visits every node."""
PLAN_AGAIN_S = 1.0
"""Nodes that are emptied for a group are chosen anew after so long."""
MAX_BUNDLES = 1000
REMEMBERED = 100
"""Groups that have ended and can still be seen."""


class GroupTable:
    """All placement groups."""

    def __init__(
        self,
        placement: Placement,
        templates: TemplateTable,
        tasks: TaskTable,
        actors: ActorTable,
        cancels: Cancels,
        objects: ObjectTable,
        jobs: JobTable,
        peers: Container[int],
        timers: Timers,
    ) -> None:
        self.rows: dict[int, GroupRecord] = {}
        """Those that were not removed."""
        self.waiting: dict[int, GroupRecord] = {}
        """Those of them that wait for room, the oldest first."""
        self.ended: deque[GroupRecord] = deque(maxlen=REMEMBERED)
        self.looked_at = -1.0
        """When all that wait were tried last."""
        self.is_late = False
        """Something has changed since then."""
        self._fleet = placement.fleet
        self._placement = placement
        self._tasks = tasks
        self._actors = actors
        self._cancels = cancels
        self._objects = objects
        self._jobs = jobs
        self._peers = peers
        self._timers = timers
        self._looks_at = -1.0
        self._planned_at = -PLAN_AGAIN_S
        templates.groups = self.rows

    # ---- what clients say -----------------------------------------------------------------

    def created(self, peer: PeerRecord, message: GroupCreated, now: float) -> None:
        """Accept a group. One that is known already was sent twice and is ignored.

        It ends with the client whose job it belongs to, unless it is detached. The peer that asks
        holds the object that is ready when the group is.

        Raises:
            ProtocolError: an amount, or the strategy, makes no sense.
        """
        if message.id in self.rows or self._objects.known(message.id):
            return
        if message.strategy not in STRATEGIES:
            raise ProtocolError(f"{message.strategy!r} is no strategy of placement groups")
        if not 0 < len(message.bundles) <= MAX_BUNDLES:
            raise ProtocolError(f"a placement group has no {len(message.bundles)} bundles")
        job = self._jobs.get(message.job)
        owner = job.owner if job is not None and job.owner in self._peers else peer.number
        try:
            group = GroupRecord(
                message.id,
                message.name,
                message.bundles,
                message.strategy,
                0 if message.detached else owner,
                message.value,
            )
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        self.rows[group.id] = self.waiting[group.id] = group
        self._objects.promise(group.id, peer)
        self._refuse([group])
        self.looked_at = -1.0

    def removed(self, peer: PeerRecord, message: GroupRemoved, now: float) -> None:
        """End a group and all that runs in it. One that is not there was removed already."""
        group = self.rows.get(message.group)
        if group is not None:
            self._end(group, "it was removed by remove_placement_group()", now)

    def client_lost(self, number: int, now: float) -> None:
        """End the groups of a client that has gone."""
        for group in [group for group in self.rows.values() if group.owner == number]:
            self._end(group, "the client that had made it has gone", now)

    # ---- nodes ----------------------------------------------------------------------------

    def nodes_changed(self, lost: NodeRecord | None = None) -> None:
        """A node has joined, or this one was lost; the caller has buried its engines."""
        for group in self.rows.values():
            for bundle in group.bundles:
                if lost is not None and bundle.node is lost:
                    bundle.lift()
                    group.state = GroupState.RESCHEDULING
                    self.waiting[group.id] = group
        self.looked_at = -1.0
        self._refuse(list(self.waiting.values()))

    def _refuse(self, groups: Iterable[GroupRecord]) -> None:
        """Say at once which of these the cluster could never place."""
        nodes = self._fleet.nodes.values()
        refused = False
        for group in groups if nodes else ():
            hosts = {node: Stock(node.total, dict.fromkeys(node.gpu_free, UNIT)) for node in nodes}
            used = [hosts[bundle.node] for bundle in group.bundles if bundle.node]
            for bundle in group.bundles:
                if bundle.node:
                    hosts[bundle.node].take(bundle.demand, bundle.gpus)
            missing = [bundle.demand for bundle in group.unplaced]
            if pack(missing, group.strategy, hosts.values(), used) is None:
                failure = self._infeasible(group)
                group.fail(failure, GroupState.INFEASIBLE)
                self._give_back(group)
                self._answer(group, failure)
                refused = True
        if refused:
            self._tasks.refuse_infeasible()

    def _infeasible(self, group: GroupRecord) -> Failure:
        has = "; ".join(
            f"node {node.number}: {describe(node.total)}" for node in self._fleet.nodes.values()
        )
        return Failure(
            "infeasible",
            f"the {group.title} asks for {len(group.bundles)} bundles "
            f"({describe_bundles(group.bundles)}) with strategy {group.strategy!r}, which the "
            f"nodes of this cluster could never hold all at once ({has}). Ask for fewer or "
            "smaller bundles, choose another strategy, or start a larger pool with "
            "parallax.init(num_cpus=..., resources=...).",
            b"",
            group.id,
        )

    # ---- finding room ---------------------------------------------------------------------

    def place(self, now: float) -> None:
        """Place those of the groups that wait for which there is room. Called after each batch of
        events while there are any, and before tasks get what has become free."""
        if self.looked_at >= 0.0 and now < self.looked_at + REST_S:
            self.is_late = True
            return
        self.looked_at, self.is_late = now, False
        self._placement.made_room = False
        failed: set[tuple[object, ...]] = set()
        for group in list(self.waiting.values()):
            key = group.strategy, tuple(bundle.demand.items for bundle in group.unplaced)
            alike = group.state is GroupState.PENDING and not group.emptied
            if (alike and key in failed) or not self._place_one(group):
                if alike:
                    failed.add(key)
                if group.hungry_since < 0.0:
                    group.hungry_since = now
        oldest = next(iter(self.waiting.values()), None)
        if oldest is not None and now - oldest.hungry_since > PATIENCE_S:
            self._make_room(oldest, now)

    def look_again(self, now: float) -> None:
        """Called when tasks were placed, after each batch of events while groups wait: see to it
        that there is another look if something has changed since the last one."""
        self.is_late = self.is_late or self._placement.made_room
        if self.is_late and self._looks_at <= now:
            self._looks_at = max(now, self.looked_at) + REST_S
            self._timers.at(self._looks_at, _tick)

    def _place_one(self, group: GroupRecord) -> bool:
        nodes = [
            node
            for node in self._fleet.nodes.values()
            if node.reserved is None or node.reserved in group.emptied
        ]
        missing = group.unplaced
        used = [bundle.node for bundle in group.bundles if bundle.node]
        places = pack([bundle.demand for bundle in missing], group.strategy, nodes, used)
        if places is None:
            return False
        for bundle, (node, gpus) in zip(missing, places, strict=True):
            assert isinstance(node, NodeRecord)
            bundle.put(node, gpus)
            self._fleet.changed(node)
        self._unreserve(group)
        group.state = GroupState.CREATED
        self._answer(group, None)
        return True

    def _make_room(self, group: GroupRecord, now: float) -> None:
        """Among many small tasks it never finds room by itself: empty nodes for it."""
        if now - self._planned_at < PLAN_AGAIN_S and group.emptied:
            return
        self._planned_at = now
        self._unreserve(group)
        hosts = {
            _emptied(node, self._bundles_on(node)): node
            for node in self._fleet.nodes.values()
            if node.reserved is None
        }
        nodes = {node: host for host, node in hosts.items()}
        used = [nodes[b.node] for b in group.bundles if b.node and b.node in nodes]
        missing = [bundle.demand for bundle in group.unplaced]
        places = pack(missing, group.strategy, hosts, used)
        asked: dict[NodeRecord, Counter[str]] = {}
        for (host, _), demand in zip(places or (), missing, strict=bool(places)):
            asked.setdefault(hosts[host], Counter()).update(demand.quantities)
        for node, amounts in asked.items():
            shape = Shape(Demand({name: amount / UNIT for name, amount in amounts.items()}))
            shape.reserved, node.reserved = node, shape
            group.emptied.append(shape)

    def _unreserve(self, group: GroupRecord) -> None:
        if group.emptied:
            group.unreserve()
            self._placement.made_room = True

    def _bundles_on(self, node: NodeRecord) -> list[Bundle]:
        return [b for group in self.rows.values() for b in group.bundles if b.node is node]

    # ---- the end --------------------------------------------------------------------------

    def _end(self, group: GroupRecord, why: str, now: float) -> None:
        failure = removed(group, why)
        del self.rows[group.id]
        group.fail(failure, GroupState.REMOVED)
        self.ended.append(group)
        for actor in list(self._actors.rows.values()):
            constructor = actor.constructor
            if constructor is not None and actor.engine is not None and _in(constructor, group):
                self._actors.destroy(actor, f"the {group.title} in which it lived is gone: {why}")
        for task in list(self._tasks.rows.values()):
            if _in(task, group) and task.id in self._tasks.rows:
                task.cancelled = task.cancelled or "group"
                self._cancels.cancel(task, recursive=True, grace_s=0.0, now=now)
        self._give_back(group)
        self._answer(group, failure)

    def _give_back(self, group: GroupRecord) -> None:
        """Its nodes have the bundles' resources again; what still runs there takes from them."""
        group.unreserve()
        for bundle in group.bundles:
            node = bundle.node
            if node is None:
                continue
            bundle.lift()
            for engine in node.engines.values():
                if engine.stock is bundle and engine.shape is not None:
                    demand = engine.shape.demand
                    engine.stock = node
                    node.take(demand, engine.gpus)
                    node.available["CPU"] += demand.cpus if engine.blocked else 0
                    if engine.actor is not None:
                        node.keep(demand, 1)
            self._fleet.changed(node)
            self._fleet.touch(node)
        self.looked_at = -1.0

    def _answer(self, group: GroupRecord, failure: Failure | None) -> None:
        """It waits no more: tell those who wait for it."""
        self.waiting.pop(group.id, None)
        group.hungry_since = -1.0
        row = self._objects.rows.get(group.id)
        if row is not None and row.pending:
            self._objects.complete(row, group.value if failure is None else failure)


def _in(task: TaskRecord, group: GroupRecord) -> bool:
    return task.group.template.shape.group is group


def _emptied(node: NodeRecord, bundles: Iterable[Bundle]) -> Stock:
    """The node as it would be once all tasks there have ended."""
    host = Stock(node.total, dict.fromkeys(node.gpu_free, UNIT))
    for bundle in bundles:
        host.take(bundle.demand, bundle.gpus)
    for engine in node.engines.values():
        if engine.actor is not None and engine.stock is node and engine.shape is not None:
            host.take(engine.shape.demand, engine.gpus)
    return host


def _tick(now: float) -> None:
    """The tick itself is what was wanted: after it there is another look."""
