"""Nodes and engines: which are there, which are idle, what they hold, and how many there are.

An engine that runs tasks of one shape holds a *lease* on that shape's resources for as long as its
run-queue is not empty; further tasks of the shape follow it there without asking again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from parallax.core.outbox import Outbox
from parallax.core.ready import Shape
from parallax.core.records import EngineRecord
from parallax.core.resources import UNIT, NodeRecord, Stock
from parallax.core.timers import Timers
from parallax.messages import EnginesWanted, EngineUnwanted

if TYPE_CHECKING:
    from parallax.core.actor_records import ActorRecord
    from parallax.core.group_records import Bundle

SURPLUS_IDLE_S = 5.0
"""An engine beyond the node's target ends after so long without work."""
START_TIMEOUT_S = 60.0
"""From the wish for an engine to its hello, at most."""
MAX_ENGINES_PER_CPU = 4
"""Engines that compute at once on a node, for tasks that ask for less than a CPU."""


class Fleet:
    """All nodes and engines of the cluster."""

    def __init__(self, outbox: Outbox, timers: Timers) -> None:
        self.nodes: dict[int, NodeRecord] = {}
        self.engines: dict[int, EngineRecord] = {}
        self.spare: dict[int, NodeRecord] = {}
        """Nodes with some CPU free."""
        self.idle = 0
        """Idle engines on all nodes."""
        self._outbox = outbox
        self._timers = timers
        self._touched: dict[int, NodeRecord] = {}
        self._given_up: set[int] = set()
        """Engines that have taken too long to say hello; those that do now come too late."""
        self._next_engine = 1
        self._next_node = 0

    # ---- coming and going -----------------------------------------------------------------

    def add_node(self, node: NodeRecord) -> None:
        """A host joined."""
        self.nodes[node.number] = node
        self.touch(node)
        self.changed(node)

    def remove_node(self, node: NodeRecord) -> None:
        """The host is gone; the caller has buried its engines."""
        del self.nodes[node.number]
        self._given_up -= node.starting
        self.spare.pop(node.number, None)
        self._touched.pop(node.number, None)
        if node.reserved is not None:
            node.reserved.unreserve()

    def new_node_number(self) -> int:
        """The number of the next node."""
        self._next_node += 1
        return self._next_node - 1

    def agent_of(self, node: int) -> int:
        """The peer number of the node's agent, 0 when there is no such node."""
        record = self.nodes.get(node)
        return record.peer if record is not None else 0

    def home_of(self, engine: int) -> NodeRecord | None:
        """The node that starts the engine of this number, unless it was told to end it."""
        if engine in self._given_up:
            return None
        return next((node for node in self.nodes.values() if engine in node.starting), None)

    def add_engine(self, engine: EngineRecord) -> None:
        """An engine process said hello."""
        node = engine.node
        node.starting.discard(engine.number)
        node.engines[engine.number] = engine
        self.engines[engine.number] = engine
        self._set_idle(engine)
        self.touch(node)

    def remove_engine(self, engine: EngineRecord) -> None:
        """The engine is gone; the caller has taken its tasks away."""
        node = engine.node
        self.doom(engine, "gone")
        node.dying -= 1
        del node.engines[engine.number]
        del self.engines[engine.number]
        self.touch(node)

    def retire(self, engine: EngineRecord, reason: str) -> None:
        """Have the node kill this engine. Its end is told by the node, like any other end."""
        if not engine.dying:
            self.doom(engine, reason)
            self._outbox.send(engine.node.peer, EngineUnwanted(engine.number))

    def doom(self, engine: EngineRecord, reason: str) -> None:
        """The engine gets no work any more."""
        if not engine.dying:
            engine.dying = reason
            engine.node.dying += 1
            if engine.actor is None:
                engine.node.blocked -= engine.blocked != 0
            else:
                engine.node.actors -= 1
            self._unset_idle(engine)
            self.touch(engine.node)

    def start_failed(self, engine: int, node: NodeRecord, rest_s: float, now: float) -> None:
        """The engine of this number ended before it said hello; the next is tried after a rest."""
        node.starting.discard(engine)
        self._given_up.discard(engine)
        node.rests_until = now + rest_s
        self._timers.at(node.rests_until, lambda later: self.touch(node))

    # ---- leases ---------------------------------------------------------------------------

    def lease(self, engine: EngineRecord, shape: Shape, now: float) -> None:
        """The engine takes the resources of this shape. The caller has checked that they fit."""
        node = engine.node
        self._unset_idle(engine)
        if shape.group is not None:
            engine.stock = self.stock(shape, node)
        engine.gpus = engine.stock.acquire(shape.demand)
        engine.shape = shape
        engine.leased_at = engine.moved_at = now
        self.changed(node)

    def end_lease(self, engine: EngineRecord) -> None:
        """The engine has run out of tasks."""
        shape = engine.shape
        if shape is None:
            return
        if engine.actor is not None:
            engine.stock.keep(shape.demand, -1)
        engine.stock.release(shape.demand, engine.gpus)
        engine.stock = engine.node
        engine.shape = None
        engine.gpus = []
        engine.load_s = 0.0
        self.changed(engine.node)
        self._set_idle(engine)

    def dedicate(self, engine: EngineRecord, actor: ActorRecord) -> None:
        """The engine belongs to this actor from now on. What only the constructor needed, CPUs if
        anything, is given back; the rest stays reserved."""
        node, stock = engine.node, engine.stock
        assert engine.shape is not None
        stock.available["CPU"] += engine.shape.demand.cpus - actor.living.demand.cpus
        stock.keep(actor.living.demand, 1)
        engine.shape = actor.living
        engine.actor = actor
        node.actors += not engine.dying
        self.changed(node)
        self.touch(node)

    def block(self, engine: EngineRecord, task: int) -> None:
        """This task of the engine waits in `get`: its CPU is free meanwhile, all else is kept."""
        assert engine.shape is not None
        engine.blocked = task
        engine.node.blocked += engine.counts
        engine.stock.available["CPU"] += engine.shape.demand.cpus
        self.changed(engine.node)

    def unblock(self, engine: EngineRecord) -> None:
        """It goes on at once.

        The node may be overdrawn until something else ends; nothing is placed there until then.
        """
        if engine.blocked:
            assert engine.shape is not None
            engine.blocked = 0
            engine.node.blocked -= engine.counts
            engine.stock.available["CPU"] -= engine.shape.demand.cpus
            self.changed(engine.node)

    # ---- fitting --------------------------------------------------------------------------

    def allowed(self, shape: Shape, node: NodeRecord) -> bool:
        """Could the node run it, if it were empty? Not asked of shapes of placement groups."""
        if not node.could_fit(shape.demand):
            return False
        if shape.affinity < 0 or shape.affinity == node.number:
            return True
        if not shape.soft:
            return False
        wish = self.nodes.get(shape.affinity)
        return wish is None or not wish.could_fit(shape.demand)

    def stocks(self, shape: Shape) -> list[Stock]:
        """From what its tasks could take, if nobody else did: nodes, or bundles of its group."""
        if shape.group is not None:
            return [b for b in shape.group.choices(shape) if b.node and b.could_fit(shape.demand)]
        return [node for node in self.nodes.values() if self.allowed(shape, node)]

    def stock(self, shape: Shape, node: NodeRecord) -> Stock:
        """From what a task of this shape takes on a node that is one of the candidates."""
        if shape.group is None:
            return node
        return next(bundle for bundle in self._open(shape) if bundle.node is node)

    def _open(self, shape: Shape) -> Iterator[Bundle]:
        """Bundles from which a task of the shape may take now."""
        assert shape.group is not None
        demand = shape.demand
        for bundle in shape.group.choices(shape):
            if (
                bundle.node is not None
                and bundle.fits(demand)
                and (bundle.reserved is None or not self.held_back(shape, bundle, bundle.node))
            ):
                yield bundle

    def held_back(self, shape: Shape, stock: Stock, node: NodeRecord) -> bool:
        """Is the node, or a bundle there, being emptied for another shape?

        A task that waits in `get` keeps all but its CPU, and what it waits for may be held back:
        so the node is emptied of CPUs alone while somebody waits there.
        """
        reserved = stock.reserved
        if reserved is None or reserved is shape:
            return False
        return not node.blocked or stock.lacks_only_cpu(reserved.demand)

    def candidates(self, shape: Shape) -> Iterator[NodeRecord]:
        """Nodes on which a task of this shape may begin now, were there an idle engine."""
        if shape.group is not None:
            open_bundles = self._open(shape)
            yield from dict.fromkeys(b.node for b in open_bundles if b.node is not None)
            return
        nodes = self.spare if shape.demand.cpus else self.nodes
        for node in nodes.values():
            if (
                node.fits(shape.demand)
                and self.allowed(shape, node)
                and (node.reserved is None or not self.held_back(shape, node, node))
            ):
                yield node

    def changed(self, node: NodeRecord) -> None:
        """The node, or a bundle there, has more free than before, or less."""
        if node.available["CPU"] > 0:
            self.spare.setdefault(node.number, node)
        else:
            self.spare.pop(node.number, None)

    def _set_idle(self, engine: EngineRecord) -> None:
        if not engine.dying:
            engine.node.idle[engine.number] = engine
            self.idle += 1
            self.touch(engine.node)

    def _unset_idle(self, engine: EngineRecord) -> None:
        if engine.node.idle.pop(engine.number, None) is not None:
            self.idle -= 1

    # ---- how many -------------------------------------------------------------------------

    def touch(self, node: NodeRecord) -> None:
        """Look at the node's number of engines after this batch."""
        if node.number in self.nodes:
            self._touched[node.number] = node

    def want(self, shapes: list[Shape], now: float) -> None:
        """These have ready tasks that found no idle engine: start some where they would fit.

        Tasks that ask for a whole CPU or more are bounded by the CPUs that are free; for smaller
        ones there is a bound of its own.
        """
        planned: dict[int, int] = {}
        wanted: dict[int, int] = {}
        for shape in shapes:
            for node in self.candidates(shape):
                if node.idle:
                    continue
                number = node.number
                taken = planned.get(number, 0)
                room = self._room(shape, node, taken, wanted.get(number, 0))
                count = min(shape.count, room)
                if count > 0:
                    if shape.group is None:
                        planned[number] = taken + count * shape.demand.cpus
                    wanted[number] = wanted.get(number, 0) + count
        for number, count in wanted.items():
            node = self.nodes[number]
            self._start(node, count - len(node.starting), now)

    def could_start(self, shape: Shape, now: float) -> bool:
        """Has some node room for an engine that would run this shape, and none that comes?"""
        return any(
            not node.idle
            and not node.starting
            and now >= node.rests_until
            and self._room(shape, node) > 0
            for node in self.candidates(shape)
        )

    def _room(self, shape: Shape, node: NodeRecord, taken: int = 0, wanted: int = 0) -> int:
        """How many more engines could run tasks of this shape there, all at once.

        Args:
            taken: CPUs that are promised to engines that will be started for other shapes.
            wanted: the number of those engines.
        """
        demand = shape.demand
        if shape.group is None:
            room = [
                (node.available[name] - (taken if name == "CPU" else 0)) // amount
                for name, amount in demand.items
            ]
        else:
            room = [
                sum(bundle.times(demand) for bundle in self._open(shape) if bundle.node is node)
            ]
        if demand.cpus < UNIT:
            limit = MAX_ENGINES_PER_CPU * node.target - self._active(node)
            room.append(limit - wanted)
        return min(room)

    def adjust(self, now: float) -> None:
        """Keep nodes at their targets: replace engines that died, end those not needed."""
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        for node in touched.values():
            self._start(node, node.target - self._count(node), now)
            if node.idle and self._active(node) > node.target and not node.shrinking:
                node.shrinking = True
                self._timers.at(now + SURPLUS_IDLE_S, lambda later, n=node: self._shrink(n))  # type: ignore[misc]

    def _count(self, node: NodeRecord) -> int:
        return len(node.engines) + len(node.starting) - node.dying - node.actors

    def _active(self, node: NodeRecord) -> int:
        return self._count(node) - node.blocked

    def _start(self, node: NodeRecord, count: int, now: float) -> None:
        if count <= 0 or now < node.rests_until:
            return
        numbers = list(range(self._next_engine, self._next_engine + count))
        self._next_engine += count
        node.starting.update(numbers)
        self._outbox.send(node.peer, EnginesWanted(numbers))
        self._timers.at(now + START_TIMEOUT_S, lambda later: self._give_up(node, numbers))

    def _give_up(self, node: NodeRecord, numbers: list[int]) -> None:
        """Engines that have not said hello for so long hang: have them killed."""
        for number in numbers:
            if number in node.starting:
                self._given_up.add(number)
                self._outbox.send(node.peer, EngineUnwanted(number))

    def _shrink(self, node: NodeRecord) -> None:
        node.shrinking = False
        surplus = self._active(node) - node.target
        for engine in list(node.idle.values())[: max(0, surplus)]:
            self.retire(engine, "surplus")
        self.touch(node)
