"""What goes wrong in a simulated cluster, and when: the dice of `Faults`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from parallax.testing.clients import Client
from parallax.testing.members import Member
from parallax.testing.nodes import SimNode

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

STALLS_S = (0.001, 0.01, 0.01, 0.1, 0.1, 1.0, 70.0)
"""How long a link stands still: the last is more than the hub waits for an engine to start."""
CUTS_S = (0.01, 0.1, 0.5, 2.0)
"""How long a host or a client is cut off."""
GREETING_S = 0.01
"""How long a second link of one process lasts."""
Item = TypeVar("Item")


class Accidents:
    """Has the accidents happen that the faults of a cluster ask for.

    Each comes after a random time, and plans the next one of its kind, until its rate is zero.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._planned = False

    def begin(self) -> None:
        """From now on, accidents."""
        if not self._planned:
            self._planned = True
            self._plan("crashes_per_s", self._crash)
            self._plan("losses_per_s", self._lose)
            self._plan("presses_per_s", lambda: self._any(self._cluster.nodes).press())
            self._plan("nodes_lost_per_s", self._lose_node)
            self._plan("stalls_per_s", self._stall)
            self._plan("partitions_per_s", self._part)
            self._plan("clients_lost_per_s", self._lose_client)
            self._plan("greetings_per_s", self._greet_again)

    def _plan(self, fault: str, accident: Callable[[], None]) -> None:
        def happen() -> None:
            if getattr(self._cluster.faults, fault):
                accident()
                self._plan(fault, accident)

        rate = getattr(self._cluster.faults, fault)
        if rate > 0.0:
            self._world.after(self._world.random.expovariate(rate), happen)

    def _any(self, items: Sequence[Item]) -> Item:
        return items[self._world.random.randrange(len(items))]

    # ---- crashes --------------------------------------------------------------------------

    def _crash(self) -> None:
        """An engine dies; rather one that runs something, for there is more to lose."""
        engines = self._cluster.engines
        busy = [engine for engine in engines if engine.running is not None]
        if busy and self._world.random.random() < 0.7:
            engines = busy
        if engines:
            self._cluster.kill(self._any(engines))

    def _lose(self) -> None:
        if self._cluster.segments:
            self._world.happened["lost segment"] += 1
            self._cluster.lose(self._any(self._cluster.segments))

    def _nodes(self) -> list[SimNode]:
        """Hosts that may be lost: any but the last, for without nodes there is no cluster."""
        there = [node for node in self._cluster.nodes if node.alive and not node.forsaken]
        return there if len(there) > 1 else []

    def _clients(self) -> list[Client]:
        """Clients that may be lost: any but the first."""
        return [c for c in self._cluster.clients[1:] if c.alive and not c.forsaken]

    def _lose_node(self) -> None:
        if nodes := self._nodes():
            self._cluster.kill_node(self._any(nodes).number)

    def _lose_client(self) -> None:
        if clients := self._clients():
            self._world.happened["crash"] += 1
            self._any(clients).close()

    # ---- links ----------------------------------------------------------------------------

    def _stall(self) -> None:
        cluster = self._cluster
        links: list[SimNode | Member] = [*cluster.nodes, *cluster.engines, *cluster.clients]
        one, until = self._any(links), self._world.now + self._any(STALLS_S)
        self._world.happened["delay"] += 1
        if self._world.random.random() < 0.5:
            one.to_hub.hold(until)
        else:
            one.from_hub.hold(until)

    def _part(self) -> None:
        """Cut somebody off, and let him come back: in time, or taken for dead meanwhile."""
        those: list[SimNode | Client] = [*self._nodes(), *self._clients()]
        if not those:
            return
        world, one = self._world, self._any(those)
        back_at = world.now + self._any(CUTS_S)
        world.happened["partition"] += 1
        one.cut_off(back_at)
        if world.random.random() < 0.5:
            world.after(
                (back_at - world.now) * world.random.random(), lambda: self._bury(one, back_at)
            )

    def _bury(self, one: SimNode | Client, back_at: float) -> None:
        """Somebody who is cut off is taken for dead, unless too few would be left."""
        there = one in self._nodes() or one in self._clients()
        if there and self._cluster.hub.hears(one.peer):  # else nobody knows of it yet
            one.forsake()
            # What it had said meanwhile arrives, and it hears what was said to it.
            self._world.at(back_at + GREETING_S * self._world.random.random(), one.vanish)

    def _greet_again(self) -> None:
        cluster = self._cluster
        members = [*cluster.engines, *(client for client in cluster.clients if client.alive)]
        hub, number = cluster.hub, cluster.hub.next_peer()
        self._world.happened["duplicate"] += 1
        hub.receive(number, self._any(members).hello)
        self._world.after(GREETING_S, lambda: hub.lose(number))
