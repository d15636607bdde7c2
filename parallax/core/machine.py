"""The hub's brain: events in, actions out. No socket, clock, thread, randomness or logging.

`Machine.handle` takes a batch of events and the time, lets the tables digest each, places ready
tasks once, and returns what is to be sent. The same events at the same times give the same
actions, so that it can be tested by properties and simulated at any scale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from parallax.core.actors import ActorTable
from parallax.core.cancels import Cancels
from parallax.core.durables import Durables
from parallax.core.fleet import Fleet
from parallax.core.from_clients import FromClients
from parallax.core.from_engines import FromEngines
from parallax.core.frugality import Frugality
from parallax.core.groups import GroupTable
from parallax.core.interrupts import Interrupts
from parallax.core.jobs import JobTable
from parallax.core.journal import JournalAttached, Journalled
from parallax.core.journal_desk import JournalDesk
from parallax.core.keeps import Keeps
from parallax.core.liveness import Liveness
from parallax.core.objects import HUB, ObjectTable
from parallax.core.outbox import Action, Drop, Outbox, Stop
from parallax.core.placement import Placement
from parallax.core.questions import Questions
from parallax.core.ready import ReadyTable
from parallax.core.recipes import Recipes
from parallax.core.records import EngineRecord, PeerRecord, TaskRecord
from parallax.core.recovery import Recovery
from parallax.core.resources import NodeRecord
from parallax.core.resumption import Resumption
from parallax.core.streams import Streams
from parallax.core.tasks import TaskTable
from parallax.core.templates import TemplateTable
from parallax.core.timers import Timers
from parallax.core.waits import Waits
from parallax.errors import ProtocolError
from parallax.ids import counter
from parallax.messages import (
    Asked,
    ForgetRequested,
    GroupCreated,
    GroupRemoved,
    Hello,
    KeepRequested,
    RecallRequested,
    TasksFinished,
    ToHub,
)

MAX_TIMELINE = 100_000
"""Finished tasks that the timeline remembers."""


class PeerJoined(msgspec.Struct, frozen=True, gc=False):
    """A peer has said hello, and the shell has given it a number."""

    peer: int
    hello: Hello


class PeerLost(msgspec.Struct, frozen=True, gc=False):
    """The connection to a peer, or its process, is gone."""

    peer: int


class Received(msgspec.Struct, frozen=True, gc=False):
    """A known peer has sent a message."""

    peer: int
    message: ToHub


class Ticked(msgspec.Struct, frozen=True, gc=False):
    """Time has passed."""


Handlers: TypeAlias = dict[type, Callable[[PeerRecord, Any, float], None]]
"""What a message does: who has sent it, what it says, and when it came."""
Event: TypeAlias = PeerJoined | PeerLost | Received | JournalAttached | Journalled | Ticked


class Machine:
    """Jobs, tasks, objects, engines and nodes of one cluster."""

    def __init__(self) -> None:
        self.peers: dict[int, PeerRecord] = {}
        self.outbox = Outbox(self.peers)
        self.timers = Timers()
        self.jobs = JobTable()
        self.ready = ReadyTable()
        self.fleet = Fleet(self.outbox, self.timers)
        self.templates = TemplateTable(self.fleet, self.outbox)
        self.objects = ObjectTable(self.peers, self.outbox, self.fleet.agent_of)
        self.frugality = Frugality(self.objects, self.outbox)
        self.streams = Streams(self.peers, self.objects, self.outbox)
        self.interrupts = Interrupts(self.fleet, self.outbox, self.timers)
        self.placement = Placement(
            self.fleet,
            self.ready,
            self.objects,
            self.interrupts,
            self.templates,
            self.outbox,
            self.timers,
        )
        self.tasks = TaskTable(
            self.objects, self.fleet, self.ready, self.placement, self.streams, self.jobs
        )
        self.recovery = Recovery(self.tasks, self.objects, self.placement)
        self.cancels = Cancels(self.tasks, self.objects, self.interrupts)
        self.actors = ActorTable(
            self.tasks,
            self.objects,
            self.placement,
            self.fleet,
            self.streams,
            self.outbox,
            self.timers,
        )
        self.groups = GroupTable(
            self.placement,
            self.templates,
            self.tasks,
            self.actors,
            self.cancels,
            self.objects,
            self.jobs,
            self.peers,
            self.timers,
        )
        self.waits = Waits(self.tasks, self.objects, self.placement, self.outbox)
        self.liveness = Liveness(
            self.fleet,
            self.tasks,
            self.recovery,
            self.cancels,
            self.actors,
            self.outbox,
            self.timers,
            self._lose,
        )
        self.timeline: deque[tuple[str, int, int, int, float, float]] = deque(maxlen=MAX_TIMELINE)
        """Function, task, job, engine, when it began (engine's clock), how long it took."""
        self.desk = JournalDesk(self.outbox)
        self.keeps = Keeps(self.objects, self.recovery, self.jobs, self.outbox, self.desk)
        ids = counter(HUB)
        self.recipes = Recipes(
            self.actors, self.objects, self.templates, self.jobs, self.outbox, self.desk, ids
        )
        self.durables = Durables(
            self.tasks, self.objects, self.recovery, self.timers, self.outbox, self.desk
        )
        self.resumption = Resumption(
            self.durables,
            self.keeps,
            self.tasks,
            self.objects,
            self.templates,
            self.jobs,
            self.desk,
            ids,
        )
        self.questions = Questions(self)
        self._handlers: Handlers = {
            **FromClients(self).handlers,
            **FromEngines(self).handlers,
            Asked: self.questions.ask,
            GroupCreated: self.groups.created,
            GroupRemoved: self.groups.removed,
            KeepRequested: self.keeps.keep,
            RecallRequested: self.keeps.recall,
            ForgetRequested: self.keeps.forget,
        }

    # ---- the door ---------------------------------------------------------------------------

    def handle(self, events: Iterable[Event], now: float) -> list[Action]:
        """Digest a batch of events; return what to do, in order.

        A message that its sender may not send, or that names what does not exist, costs the
        sender its place (`Drop`) and leaves everyone else untouched.
        """
        self.timers.now = now
        for event in events:
            if type(event) is Received:
                self._received(event, now)
            elif type(event) is PeerJoined:
                self._peer_joined(event, now)
            elif type(event) is PeerLost:
                self.peer_lost(event.peer, now)
            elif type(event) is Journalled:
                self.desk.journalled(event)
            elif type(event) is JournalAttached:
                self.recipes.begin(event, now)
                self.resumption.begin(event, now)
        self.timers.run(now)
        self.actors.settle()
        if self.groups.waiting:
            self.groups.place(now)
        self.placement.place(now)
        if self.groups.waiting:
            self.groups.look_again(now)
        self.actors.settle()
        if self.durables.active:
            self.durables.settle()
        self.jobs.settle(now)
        if self.frugality.is_due():
            self.frugality.change(self.peers.values())
        return self.outbox.take()

    def next_deadline(self) -> float | None:
        """When `handle` should be called next even if nothing happens."""
        return self.timers.next()

    def _received(self, event: Received, now: float) -> None:
        message = event.message
        peer = self.peers.get(event.peer)
        if peer is None:
            if type(message) is TasksFinished:  # late news of an engine that was buried
                for done in message.done:
                    self.tasks.discard_late(done)
            return
        handler = self._handlers.get(type(message))
        try:
            if handler is None:
                raise ProtocolError(f"a {peer.role} may not send {type(message).__name__}")
            handler(peer, message, now)
        except ProtocolError as error:
            self._lose(event.peer, str(error), now)

    # ---- peers ------------------------------------------------------------------------------

    def _peer_joined(self, event: PeerJoined, now: float) -> None:
        hello = event.hello
        peer = PeerRecord(event.peer, hello.role, hello.pid, hello.name, owner=hello.owner)
        if hello.role == "node":
            try:
                node = NodeRecord(
                    self.fleet.new_node_number(),
                    event.peer,
                    hello.host,
                    hello.resources,
                    pid=hello.pid,
                )
            except ValueError as error:
                self.outbox.act(Drop(event.peer, str(error)))
                return
            peer.node = node
            self.fleet.add_node(node)
            self.templates.nodes_changed()
            self.groups.nodes_changed()
            self.tasks.refuse_infeasible()
            self.questions.node_joined(now)
        elif hello.role == "engine":
            home = self.fleet.home_of(hello.number)
            if home is None:  # it was given up meanwhile
                self.outbox.act(Drop(event.peer, "this engine is not wanted any more"))
                return
            peer.engine = EngineRecord(hello.number, home, event.peer, hello.pid)
            self.liveness.started(peer.engine)
        self.peers[event.peer] = peer
        self.frugality.joined(peer)

    def _lose(self, number: int, reason: str, now: float) -> None:
        """Part with a peer that is there."""
        if number in self.peers:
            self.outbox.act(Drop(number, reason))
            self.peer_lost(number, now)

    def peer_lost(self, number: int, now: float) -> None:
        """A peer is gone, by itself or because it was dropped."""
        peer = self.peers.pop(number, None)
        if peer is None:
            return
        self.objects.client_drops(peer, list(peer.held))
        self.jobs.forget_templates(self.templates.forget(peer))
        if peer.engine is not None:
            self.liveness.fell_silent(peer.engine, now)
        elif peer.node is not None:
            if self.liveness.node_lost(peer.node, now):
                self.templates.nodes_changed()
                self.groups.nodes_changed(peer.node)
                self.tasks.refuse_infeasible()
                self.recovery.rebuild(self.objects.stored_at(peer.node.number))
        else:
            self.cancels.abandon(self._work_of(number), now)
        self.actors.client_lost(number)
        self.groups.client_lost(number, now)
        if peer.owner:
            self.outbox.act(Stop("its owner is gone"))

    def _work_of(self, client: int) -> list[TaskRecord]:
        """What nobody wants any more without this client. Durable tasks go on; so do a detached
        actor's calls, but for streams, which only this client could read."""
        return [
            task
            for task in self.tasks.rows.values()
            if client in (task.owner, task.group.job.owner)
            and not task.durable
            and (
                not (task.actor is not None and task.actor.detached)
                or (task.stream is not None and task.owner == client)
            )
        ]
