"""The simulated hub: the real machine on a virtual clock, watched at every step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from parallax.core.journal import JournalAttached, Journalled
from parallax.core.machine import Event, Machine, PeerJoined, PeerLost, Received, Ticked
from parallax.core.outbox import Action, Drop, Journal, Send, Stop
from parallax.core.ready import Shape
from parallax.core.records import EngineRecord
from parallax.messages import (
    ActorCreated,
    CallsSubmitted,
    Chunk,
    EnginesWanted,
    EngineUnwanted,
    Hello,
    ItemYielded,
    ObjectPut,
    SegmentsFreed,
    Stopped,
    Stored,
    TasksAssigned,
    TasksFinished,
    TasksSubmitted,
    ToHub,
)
from parallax.net import codec
from parallax.testing.invariants import InvariantError, check

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster
    from parallax.testing.members import Member
    from parallax.testing.nodes import SimNode

EVENT_S = 2e-6
"""What the hub takes for one event; meanwhile others gather and are digested together."""


class SimHub:
    """Feeds the machine and delivers what it says.

    Args:
        checked: check all invariants after every batch.
        record: keep all events and actions, to compare runs.
        alone: each event is a batch of its own.
    """

    def __init__(self, cluster: Cluster, *, checked: bool, record: bool, alone: bool) -> None:
        self.machine = Machine()
        if checked:
            self._watch_leases()
        self.stopped = ""
        self.core_s = 0.0
        """Real seconds spent in the machine."""
        self.batches = 0
        self.events = 0
        self.engines_wanted = 0
        self.submitted: dict[int, int] = {}
        """Tasks that arrived, and how many calls each was."""
        self.dropped: dict[int, str] = {}
        """Peers with whom the machine has parted, and why."""
        self.trail: list[tuple[float, list[Event], list[Action]]] | None = [] if record else None
        self._cluster = cluster
        self._checked = checked
        self._alone = alone
        self._members: dict[int, Member | SimNode] = {}
        self._present: set[int] = set()
        self._unwanted: set[int] = set()
        self._told: dict[str, Stored] = {}
        """Segments that were named by those who were there, and are not freed yet."""
        self._heard_of: set[str] = set()
        self._inbox: list[Event] = []
        self._busy_until = 0.0
        self._due: float | None = None
        self._peers = 0

    def _watch_leases(self) -> None:
        """Resources may be overdrawn by tasks that resume, but never by the placement of one."""
        fleet = self.machine.fleet
        lease = fleet.lease

        def watched(engine: EngineRecord, shape: Shape, now: float) -> None:
            if not any(node is engine.node for node in fleet.candidates(shape)):
                raise InvariantError(f"node {engine.node.number} is overdrawn")
            lease(engine, shape, now)

        fleet.lease = watched  # type: ignore[method-assign]

    def next_peer(self) -> int:
        """The number of a new peer."""
        self._peers += 1
        return self._peers

    def enroll(self, member: Member | SimNode) -> None:
        """From now on this process can be reached."""
        self._members[member.peer] = member

    def hears(self, peer: int) -> bool:
        """Is it one of those that joined, and have not been lost since?"""
        return peer in self._present

    def receive(self, peer: int, message: ToHub | Hello) -> None:
        """A message has arrived."""
        if isinstance(message, Hello):
            self._post(PeerJoined(peer, message))
        else:
            (copy,) = codec.decode_to_hub(codec.encode([message]))
            self._post(Received(peer, copy))

    def lose(self, peer: int) -> None:
        """A connection is gone."""
        self._post(PeerLost(peer))

    def journalled(self, done: Journalled) -> None:
        """The journal has done something."""
        self._post(done)

    def attach_journal(self) -> None:
        """There is a journal that outlives the hub. Before all else."""
        self._handle([JournalAttached(used=False, at=0.0)])

    def _post(self, event: Event) -> None:
        if not self._inbox:
            self._cluster.world.at(self._busy_until, self._digest)
        self._inbox.append(event)

    def _digest(self) -> None:
        events, self._inbox = self._inbox, []
        now = self._cluster.world.now
        self._busy_until = now + EVENT_S * len(events)
        if len(events) > 1 and self._cluster.chance(self._cluster.faults.reorder):
            events = self._reordered(events)
        for batch in [[event] for event in events] if self._alone else [events]:
            self._handle(batch)

    def _reordered(self, events: list[Event]) -> list[Event]:
        """Those of each sender in their order, and all else at random."""
        self._cluster.world.happened["reorder"] += 1
        senders = [getattr(event, "peer", 0) for event in events]
        queues: dict[int, deque[Event]] = {}
        for sender, event in zip(senders, events, strict=True):
            queues.setdefault(sender, deque()).append(event)
        self._cluster.world.random.shuffle(senders)
        return [queues[sender].popleft() for sender in senders]

    def _handle(self, events: list[Event]) -> None:
        now = self._cluster.world.now
        self.events += len(events)
        self._count(events)
        began = time.perf_counter()
        actions = self.machine.handle(events, now)
        self.core_s += time.perf_counter() - began
        self.batches += 1
        if self.trail is not None:
            self.trail.append((now, events, actions))
        if self._checked:
            check(self.machine)
            self._check_actions(actions)
        for action in actions:
            self._do(action)
        self._wind(self.machine.next_deadline())

    def _count(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, PeerJoined):
                self._present.add(event.peer)
            elif isinstance(event, PeerLost):
                self._present.discard(event.peer)
            elif isinstance(event, Received) and event.peer in self._present:
                self._note(event.message)

    def _note(self, message: ToHub) -> None:
        """What comes from those who are there: tasks have to end, and segments to be freed."""
        values: Iterable[object] = ()
        if isinstance(message, ActorCreated):
            self.submitted[message.spec.id] = 1
        elif isinstance(message, CallsSubmitted):
            self.submitted.update((spec.id, 1) for spec in message.calls)
        elif isinstance(message, TasksSubmitted):
            for spec in message.tasks:
                calls = len(spec.args.items) if isinstance(spec.args, Chunk) else 1
                self.submitted[spec.id] = calls
            values = [spec.args for spec in message.tasks]
        elif isinstance(message, TasksFinished):
            values = [value for done in message.done for value in done.values]
        elif isinstance(message, ItemYielded | ObjectPut):
            values = [message.value]
        for value in values:
            if isinstance(value, Stored) and value.name not in self._heard_of:
                self._heard_of.add(value.name)
                self._told[value.name] = value

    def _wind(self, deadline: float | None) -> None:
        """See to it that the machine is called at its next deadline."""
        if deadline is None or (self._due is not None and self._due <= deadline):
            return
        self._due = deadline

        def ring() -> None:
            if self._due == deadline:
                self._due = None
                self._post(Ticked())

        self._cluster.world.at(deadline, ring)

    def _do(self, action: Action) -> None:
        if isinstance(action, Stop):
            self.stopped = self.stopped or action.reason
        elif isinstance(action, Drop):
            self.dropped[action.peer] = action.reason
            self._present.discard(action.peer)
            if (member := self._members.get(action.peer)) is not None:
                member.from_hub.send([Stopped(action.reason)])
        elif isinstance(action, Journal):
            self._cluster.journal.order(action)
        elif isinstance(action, Send):
            self.engines_wanted += sum(
                len(message.numbers)
                for message in action.messages
                if isinstance(message, EnginesWanted)
            )
            member = self._members.get(action.peer)
            if member is not None:
                # As on a real wire: what the machine changes later has no effect on what it said.
                member.from_hub.send(codec.decode_from_hub(codec.encode(action.messages)))

    def check_segments(self) -> None:
        """Check that the hub has freed all segments of which it was told. Those that are lost it
        need not free, and what is left of processes that have ended, nodes ask for by themselves.

        Raises:
            InvariantError: some were forgotten.
        """
        machine = self.machine
        left = [
            value.name
            for value in self._told.values()
            if value.name in self._cluster.segments and value.creator in machine.peers
        ]
        if left:
            raise InvariantError(f"segments that nobody needs are not freed: {left}")

    def _check_actions(self, actions: list[Action]) -> None:
        """Laws about what is said, which the tables alone do not show."""
        machine = self.machine
        freed: set[str] = set()
        for action in actions:
            if not isinstance(action, Send):
                continue
            peer = machine.peers.get(action.peer)
            if peer is None:
                raise InvariantError(f"something is said to peer {action.peer}, who is gone")
            for message in action.messages:
                if isinstance(message, EngineUnwanted):
                    self._unwanted.add(message.number)
                elif isinstance(message, SegmentsFreed):
                    freed.update(message.names)
                    for name in message.names:
                        self._told.pop(name, None)
                elif isinstance(message, TasksAssigned):
                    if peer.engine is None or peer.engine.number in self._unwanted:
                        raise InvariantError(f"tasks for peer {action.peer}, an engine that ends")
                    for task in message.tasks:
                        if len(task.values) != len(task.deps):
                            raise InvariantError(f"task {task.id:x} comes without its arguments")
        for row in machine.objects.rows.values() if freed else ():
            if isinstance(row.value, Stored) and row.value.name in freed:
                raise InvariantError(f"object {row.id:x} is needed, and its segment freed")
