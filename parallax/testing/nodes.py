"""A simulated node agent: starts engines, kills them, and tells how they ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.messages import (
    EngineExited,
    EnginesWanted,
    EngineUnwanted,
    FromHub,
    Hello,
    ItemUnwanted,
    MemoryPressed,
    SegmentsFreed,
    ToHub,
)
from parallax.testing.engines import SimEngine
from parallax.testing.members import PROTOCOL, PYTHON, VERSION
from parallax.testing.world import Wire

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

START_S = 0.05
"""A fork of the zygote, and the hello."""
REAP_S = 0.002
"""From the death of an engine to the news of it."""
KILLED = -9


class SimNode:
    """The agent of one host."""

    def __init__(self, cluster: Cluster, number: int, resources: dict[str, float]) -> None:
        self.cluster = cluster
        self.number = number
        self.peer = cluster.hub.next_peer()
        self.engines: dict[int, SimEngine] = {}
        self.alive = True
        self.forsaken = False
        """It was taken for dead while it was cut off, and does not know yet."""
        self.started = 0
        self.most = 0
        """Engines that were there at the same time."""
        self._cut_off_until = 0.0
        self._unwanted: set[int] = set()
        self._hanging: set[int] = set()
        self.to_hub: Wire[ToHub | Hello] = cluster.wire(
            lambda message: cluster.hub.receive(self.peer, message)
        )
        self.from_hub: Wire[list[FromHub]] = cluster.wire(self._arrived)
        cluster.hub.enroll(self)
        self.hello = Hello(
            PROTOCOL, VERSION, PYTHON, "node", "", 1, f"host-{number}", resources=resources
        )
        self.to_hub.send(self.hello)

    def press(self) -> None:
        """The host runs out of memory."""
        self.to_hub.send(MemoryPressed(1, 100))

    def kill(self, engine: SimEngine, status: int = KILLED) -> None:
        """An engine dies. What it had under way is lost in part."""
        if self.engines.pop(engine.number, None) is None:
            return  # it is dead already
        random = self.cluster.world.random
        engine.leave(keep=random.randint(0, engine.to_hub.under_way))
        if random.random() < 0.9:  # else a process that it left behind holds its link open
            engine.to_hub.end(lambda: self.cluster.hub.lose(engine.peer))
        self.cluster.world.after(
            REAP_S * random.random(),
            lambda: self._tell(engine.number, status, engine.last_begun, [engine.last_turn]),
        )

    def die(self) -> None:
        """The host is gone: nothing is heard of it or its engines any more."""
        for engine in list(self.engines.values()):
            engine.leave(keep=0)
        self.engines.clear()
        self.alive = False
        self.to_hub.cut(keep=0)
        self.from_hub.cut(keep=0)
        self.cluster.hub.lose(self.peer)

    def cut_off(self, until: float) -> None:
        """Nothing passes between this host and the hub before this time."""
        self._cut_off_until = max(self._cut_off_until, until)
        self.to_hub.hold(until)
        self.from_hub.hold(until)
        for engine in self.engines.values():
            engine.cut_off(until)

    def forsake(self) -> None:
        """The hub takes a host for dead that is only cut off, and notices it link by link."""
        self.forsaken = True
        links = [self.peer, *(engine.peer for engine in self.engines.values())]
        self.cluster.world.random.shuffle(links)
        for peer in links:
            self.cluster.hub.lose(peer)

    def vanish(self) -> None:
        """A host that was taken for dead has heard of it: all that is left of it ends."""
        for engine in list(self.engines.values()):
            engine.leave()
        self.engines.clear()
        self.alive = False
        self.to_hub.cut()
        self.from_hub.cut(keep=0)
        self.cluster.lose_host(self.number)

    def _tell(self, number: int, status: int, running: int, turns: list[int]) -> None:
        faults, chance = self.cluster.faults, self.cluster.chance
        message = EngineExited(number, status, running, turns=turns)
        self.to_hub.send(message, overtakes=chance(faults.reorder))
        if chance(faults.echo):
            self.cluster.world.happened["duplicate"] += 1
            self.to_hub.send(message)

    def _arrived(self, messages: list[FromHub]) -> None:
        for message in messages:
            if isinstance(message, EnginesWanted):
                for number in message.numbers:
                    delay_s = START_S * (0.5 + self.cluster.world.random.random())
                    self.cluster.world.after(delay_s, lambda n=number: self._start(n))  # type: ignore[misc]
            elif isinstance(message, EngineUnwanted):
                engine = self.engines.get(message.number)
                if engine is not None:
                    self.kill(engine)
                elif message.number in self._hanging:
                    self._hanging.remove(message.number)
                    self._tell(message.number, KILLED, 0, [])
                else:
                    self._unwanted.add(message.number)
            elif isinstance(message, ItemUnwanted):
                engine = self.engines.get(message.number)
                if engine is not None and engine.last_begun == message.object_id:
                    self.kill(engine)
            elif isinstance(message, SegmentsFreed):
                for name in message.names:
                    self.cluster.free(name)

    def _start(self, number: int) -> None:
        cluster = self.cluster
        if not self.alive:
            return
        if number in self._unwanted or cluster.chance(cluster.faults.start_fails):
            self._tell(number, 1, 0, [])
            return
        if cluster.chance(cluster.faults.start_hangs):
            cluster.world.happened["delay"] += 1
            self._hanging.add(number)
            return
        slow = cluster.chance(cluster.faults.slow_engines)
        engine = SimEngine(cluster, number, self.number, slowness=10.0 if slow else 1.0)
        cluster.hub.enroll(engine)
        engine.cut_off(self._cut_off_until)
        self.engines[number] = engine
        self.started += 1
        self.most = max(self.most, len(self.engines))
