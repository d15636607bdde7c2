"""Simulated members of a cluster: what drivers and engines have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from parallax.ids import counter
from parallax.messages import (
    Failure,
    FromHub,
    Hello,
    ItemReady,
    ObjectMissing,
    ObjectsReady,
    ObjectsWanted,
    RefsChanged,
    SegmentsFreed,
    Stopped,
    Stored,
    ToHub,
    Value,
)
from parallax.testing.faults import REPEATABLE, REPEATABLE_AT_ONCE, UNORDERED
from parallax.testing.programs import Raised, Ref
from parallax.testing.world import Wire

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

PROTOCOL, VERSION, PYTHON = 1, "simulated", "3"
ECHOES_S = (0.0001, 0.001, 0.01, 0.1, 1.0)
"""What comes again may be so late."""


class Member:
    """A process that is connected to the hub: it holds references and gets values."""

    def __init__(self, cluster: Cluster, role: str, *, number: int = 0, node: int = 0) -> None:
        self.cluster = cluster
        self.role = role
        self.node = node
        self.alive = True
        self.peer = cluster.hub.next_peer()
        self.values: dict[int, Value] = {}
        self.held: dict[int, int] = {}
        """Object → how many references this process has."""
        self.streams: dict[int, list[int]] = {}
        """Streaming task → its items so far; the last is 0 when it has ended."""
        self.pending = 0
        """Objects that are held and have no value yet, and streams that have not ended."""
        self.to_hub: Wire[ToHub | Hello] = cluster.wire(
            lambda message: cluster.hub.receive(self.peer, message)
        )
        self.from_hub: Wire[list[FromHub]] = cluster.wire(self._arrived)
        self._ids = counter(self.peer)
        self._waiting: dict[int, list[Callable[[], None]]] = {}
        self.hello = Hello(
            PROTOCOL, VERSION, PYTHON, role, "", 1000 + self.peer, "host", number=number
        )
        self.to_hub.send(self.hello)

    def send(self, message: ToHub) -> None:
        """Say something to the hub."""
        if not self.alive:
            return
        faults, chance = self.cluster.faults, self.cluster.chance
        unordered = isinstance(message, UNORDERED) and chance(faults.reorder)
        self.to_hub.send(message, overtakes=unordered)
        if isinstance(message, REPEATABLE_AT_ONCE) and chance(faults.echo):
            self._echo(message)

    def _echo(self, message: ToHub) -> None:
        """Say it again, now or, if that does no harm either, later."""
        world = self.cluster.world
        world.happened["duplicate"] += 1
        if isinstance(message, REPEATABLE) and world.random.random() < 0.5:
            world.after(world.random.choice(ECHOES_S), lambda: self.to_hub.send(message))
        else:
            self.to_hub.send(message)

    def cut_off(self, until: float) -> None:
        """Nothing passes in either direction before this time."""
        self.to_hub.hold(until)
        self.from_hub.hold(until)

    def leave(self, *, keep: int | None = None) -> None:
        """End. Of what is under way to the hub only the first `keep` messages arrive."""
        self.alive = False
        self.to_hub.cut(keep=keep)
        self.from_hub.cut(keep=0)

    def new_id(self) -> int:
        """The id of a new object."""
        return next(self._ids)

    # ---- references -----------------------------------------------------------------------

    def hold(self, ids: Iterable[int]) -> None:
        """Count a reference to each of these."""
        for object_id in ids:
            count = self.held.get(object_id, 0)
            self.held[object_id] = count + 1
            self.pending += not count and object_id not in self.values

    def adopt(self, ids: Iterable[int]) -> None:
        """References that came from elsewhere."""
        ids = list(ids)
        new = [i for i in dict.fromkeys(ids) if i not in self.held]
        self.hold(ids)
        if new:
            self.send(RefsChanged(new, []))

    def drop(self, *refs: Ref) -> None:
        """Give references up."""
        gone = []
        for ref in refs:
            self.held[ref.id] -= 1
            if not self.held[ref.id]:
                del self.held[ref.id]
                self.pending -= self.values.pop(ref.id, None) is None
                gone.append(ref.id)
        if gone:
            self.send(RefsChanged([], gone))

    def want(self, *refs: Ref) -> None:
        """Ask for the values of references that came from elsewhere."""
        if refs:
            self.send(ObjectsWanted(ids_of(refs)))

    # ---- values ---------------------------------------------------------------------------

    def when_ready(self, ids: Iterable[int], call: Callable[[], None]) -> bool:
        """Call once all of these have values. True, and no call, when they have already."""
        missing = {i for i in ids if i not in self.values}
        if not missing:
            return True

        def one_more(object_id: int) -> None:
            missing.discard(object_id)
            if not missing:
                call()

        for object_id in sorted(missing):
            self._waiting.setdefault(object_id, []).append(lambda i=object_id: one_more(i))  # type: ignore[misc]
        foreign = [i for i in sorted(missing) if i >> 40 != self.peer]
        if foreign:
            self.send(ObjectsWanted(foreign))
        return False

    def load(self, object_id: int) -> Any:
        """The value of an object that is ready.

        Raises:
            Raised: its task failed.
            LookupError: its segment was lost; the hub has been asked to rebuild it.
        """
        value = self.values[object_id]
        if isinstance(value, Failure):
            raise Raised(value.kind, value.message)
        try:
            return self.cluster.decode(value, self)
        except LookupError:
            assert isinstance(value, Stored)
            del self.values[object_id]
            self.pending += object_id in self.held
            self.send(ObjectMissing(object_id, value.name))
            raise

    # ---- what comes -----------------------------------------------------------------------

    def _arrived(self, messages: list[FromHub]) -> None:
        for message in messages:
            if self.alive:
                self.receive(message)

    def receive(self, message: FromHub) -> None:
        """Act upon one message of the hub."""
        if isinstance(message, ObjectsReady):
            for object_id, value in message.items:
                self._ready(object_id, value)
        elif isinstance(message, SegmentsFreed):
            for name in message.names:
                self.cluster.free(name)
        elif isinstance(message, ItemReady):
            self._item(message)
        elif isinstance(message, Stopped):
            self.stopped()

    def _ready(self, object_id: int, value: Value) -> None:
        waiting = self._waiting.pop(object_id, ())
        if object_id in self.held:
            self.pending -= object_id not in self.values
        if object_id in self.held or waiting:
            self.values[object_id] = value
        for call in waiting:
            call()

    def _item(self, message: ItemReady) -> None:
        items = self.streams.get(message.task)
        if items is None:
            return
        if message.index != len(items) or (items and items[-1] == 0):
            raise AssertionError(f"item {message.index} after {items}")
        items.append(message.id)
        if not message.id:
            self.pending -= 1
        else:
            self.hold([message.id])
            self.on_item(message.task, message.id)

    def stopped(self) -> None:
        """The hub has parted with this process."""
        self.leave(keep=0)

    def on_item(self, task: int, object_id: int) -> None:
        """A stream of this process has a new item."""


def ids_of(refs: Iterable[Ref]) -> list[int]:
    """What refs travel as."""
    return [ref.id for ref in refs]
