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
from parallax.core.fleet import Fleet
from parallax.core.frugality import Frugality
from parallax.core.groups import GroupTable
from parallax.core.interrupts import Interrupts
from parallax.core.jobs import JobRecord, JobTable
from parallax.core.journal import JournalAttached, Journalled
from parallax.core.journal_desk import JournalDesk
from parallax.core.keeps import Keeps
from parallax.core.liveness import Liveness
from parallax.core.objects import ObjectTable
from parallax.core.outbox import Action, Drop, Outbox, Stop
from parallax.core.placement import Placement
from parallax.core.questions import Questions
from parallax.core.ready import ReadyTable
from parallax.core.recipes import Recipes
from parallax.core.records import EngineRecord, PeerRecord, TaskRecord, Template
from parallax.core.recovery import Recovery
from parallax.core.resources import NodeRecord
from parallax.core.streams import Streams
from parallax.core.tasks import TaskTable
from parallax.core.templates import TemplateTable
from parallax.core.timers import Timers
from parallax.core.waits import Waits
from parallax.errors import ProtocolError
from parallax.messages import (
    PLAIN,
    ActorCreated,
    ActorExited,
    Asked,
    BlobDefined,
    CallsSubmitted,
    CancelRequested,
    EngineExited,
    FailedRetried,
    ForgetRequested,
    GroupCreated,
    GroupRemoved,
    Hello,
    ItemsConsumed,
    ItemsReturned,
    ItemYielded,
    JobOpened,
    KeepRequested,
    KillRequested,
    Left,
    MemoryPressed,
    ObjectMissing,
    ObjectPut,
    ObjectsWanted,
    Ping,
    Printed,
    RecallRequested,
    RefsChanged,
    Said,
    ShutdownRequested,
    Stored,
    TaskBlocked,
    TasksFinished,
    TasksReturned,
    TasksSubmitted,
    TaskStalled,
    TaskUnblocked,
    TemplateDefined,
    TemplatesDropped,
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
        self.recipes = Recipes(
            self.actors, self.objects, self.templates, self.jobs, self.outbox, self.desk
        )
        self.questions = Questions(self)
        self._handlers: dict[type, Callable[[PeerRecord, Any, float], None]] = {
            JobOpened: self._job_opened,
            TemplateDefined: self._template_defined,
            TemplatesDropped: self._templates_dropped,
            BlobDefined: self._blob_defined,
            TasksSubmitted: self._tasks_submitted,
            ObjectPut: self._object_put,
            RefsChanged: self._refs_changed,
            ObjectsWanted: self._objects_wanted,
            CancelRequested: self._cancel_requested,
            ItemsConsumed: self._items_consumed,
            ObjectMissing: self._object_missing,
            Asked: self.questions.ask,
            ShutdownRequested: self._shutdown_requested,
            TasksFinished: self._tasks_finished,
            TasksReturned: self._tasks_returned,
            TaskStalled: self._task_stalled,
            TaskBlocked: self._task_blocked,
            TaskUnblocked: self._task_unblocked,
            ItemsReturned: self._items_returned,
            ItemYielded: self._item_yielded,
            Printed: self._printed,
            EngineExited: self._engine_exited,
            MemoryPressed: self._memory_pressed,
            Left: self._left,
            FailedRetried: self._failed_retried,
            ActorCreated: self._actor_created,
            CallsSubmitted: self._calls_submitted,
            KillRequested: self._kill_requested,
            GroupCreated: self.groups.created,
            GroupRemoved: self.groups.removed,
            ActorExited: self._actor_exited,
            KeepRequested: self.keeps.keep,
            RecallRequested: self.keeps.recall,
            ForgetRequested: self.keeps.forget,
            Ping: self._ping,
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
                self._peer_lost(event.peer, now)
            elif type(event) is Journalled:
                self.desk.journalled(event)
            elif type(event) is JournalAttached:
                self.recipes.begin(event, now)
        self.timers.run(now)
        self.actors.settle()
        if self.groups.waiting:
            self.groups.place(now)
        self.placement.place(now)
        if self.groups.waiting:
            self.groups.look_again(now)
        self.actors.settle()
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
                    self.fleet.new_node_number(), event.peer, hello.host, hello.resources
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
            self._peer_lost(number, now)

    def _peer_lost(self, number: int, now: float) -> None:
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
        """What nobody wants any more without this client: a detached actor's calls go on, but for
        streams, which only this client could read."""
        return [
            task
            for task in self.tasks.rows.values()
            if client in (task.owner, task.group.job.owner)
            and (
                not (task.actor is not None and task.actor.detached)
                or (task.stream is not None and task.owner == client)
            )
        ]

    # ---- clients ----------------------------------------------------------------------------

    def _job_opened(self, peer: PeerRecord, message: JobOpened, now: float) -> None:
        self.jobs.open(message, peer.number, now)

    def _blob_defined(self, peer: PeerRecord, message: BlobDefined, now: float) -> None:
        self.templates.define_blob(peer, message.key, message.data)

    def _template_defined(self, peer: PeerRecord, message: TemplateDefined, now: float) -> None:
        self.templates.define(peer, message)

    def _templates_dropped(self, peer: PeerRecord, message: TemplatesDropped, now: float) -> None:
        dropped = self.templates.drop(peer, message.templates, message.blobs)
        self.jobs.forget_templates(dropped)

    def _tasks_submitted(self, peer: PeerRecord, message: TasksSubmitted, now: float) -> None:
        templates = self._named({spec.template for spec in message.tasks})
        if any(template.spec.role != PLAIN for template in templates.values()):
            raise ProtocolError("a task is submitted with the template of an actor")
        for spec in message.tasks:
            if spec.deps and spec.id in spec.deps:
                raise ProtocolError(f"task {spec.id:016x} depends on itself")
        job = self._job(peer, message.job, now)
        self.tasks.submit(peer, job, message.parent, message.tasks, templates)

    def _actor_created(self, peer: PeerRecord, message: ActorCreated, now: float) -> None:
        template = self.templates.rows.get(message.spec.template)
        if template is None:
            raise ProtocolError(f"actor {message.spec.id:016x} names an unknown template")
        self.actors.create(peer, self._job(peer, message.job, now), message, template)

    def _calls_submitted(self, peer: PeerRecord, message: CallsSubmitted, now: float) -> None:
        templates = self._named({spec.template for spec in message.calls})
        self.actors.submit(peer, self._job(peer, message.job, now), message, templates)

    def _kill_requested(self, peer: PeerRecord, message: KillRequested, now: float) -> None:
        self.actors.kill(message)

    def _named(self, numbers: set[int]) -> dict[int, Template]:
        found = {number: self.templates.rows.get(number) for number in numbers}
        known = {number: template for number, template in found.items() if template is not None}
        if len(known) < len(numbers):
            raise ProtocolError(f"it names unknown templates: {sorted(numbers - known.keys())}")
        return known

    def _job(self, peer: PeerRecord, number: int, now: float) -> JobRecord:
        return self.jobs.get(number) or self.jobs.open(JobOpened(number, "work"), peer.number, now)

    def _object_put(self, peer: PeerRecord, message: ObjectPut, now: float) -> None:
        if not self.objects.known(message.id):  # else it was sent twice
            self.objects.put(message.id, peer, message.value, message.contained)

    def _refs_changed(self, peer: PeerRecord, message: RefsChanged, now: float) -> None:
        if message.added:
            self.objects.client_holds(peer, message.added)
        if message.dropped:
            self.objects.client_drops(peer, message.dropped)

    def _objects_wanted(self, peer: PeerRecord, message: ObjectsWanted, now: float) -> None:
        for object_id in message.ids:
            self.objects.want(peer.number, object_id)

    def _cancel_requested(self, peer: PeerRecord, message: CancelRequested, now: float) -> None:
        self.cancels.request(message, now)

    def _items_consumed(self, peer: PeerRecord, message: ItemsConsumed, now: float) -> None:
        task = self.tasks.rows.get(message.task)
        if task is not None:
            self.streams.consumed(task, message.count)

    def _object_missing(self, peer: PeerRecord, message: ObjectMissing, now: float) -> None:
        row = self.objects.rows.get(message.id)
        if row is not None and type(row.value) is Stored and row.value.name == message.name:
            self.recovery.rebuild([row])
        self.objects.want(peer.number, message.id)

    def _shutdown_requested(self, peer: PeerRecord, message: ShutdownRequested, now: float) -> None:
        self.outbox.act(Stop(message.reason or "shutdown was asked for"))

    def _left(self, peer: PeerRecord, message: Left, now: float) -> None:
        self._peer_lost(peer.number, now)

    def _failed_retried(self, peer: PeerRecord, message: FailedRetried, now: float) -> None:
        if (job := self.jobs.get(message.job)) is not None:
            job.retried(message.tasks)

    def _ping(self, peer: PeerRecord, message: Ping, now: float) -> None:
        pass

    # ---- engines ----------------------------------------------------------------------------

    def _tasks_finished(self, peer: PeerRecord, message: TasksFinished, now: float) -> None:
        engine = _engine(peer)
        engine.moved_at = now
        queue = engine.queue
        finish = self.tasks.finish
        for done in message.done:
            task = queue.get(done.task)
            if task is not None:
                group = task.group
                self.timeline.append(
                    (
                        group.template.spec.name,
                        done.task,
                        group.job.id,
                        engine.number,
                        done.started_at,
                        done.duration_s,
                    )
                )
            finish(engine, done)
            # What an actor has begun to read in one call it may go on reading in the next.
            if task is not None and task.children and task.actor is None:
                self.cancels.end_unread(task, now)
        self.placement.refill(engine, now)

    def _tasks_returned(self, peer: PeerRecord, message: TasksReturned, now: float) -> None:
        engine = _engine(peer)
        if message.recalled:
            engine.recalling = False
        self.recovery.returned(engine, message.ids)

    def _task_stalled(self, peer: PeerRecord, message: TaskStalled, now: float) -> None:
        self.recovery.stalled(_engine(peer), message.task, message.attempt, message.missing)

    def _task_blocked(self, peer: PeerRecord, message: TaskBlocked, now: float) -> None:
        self.placement.block(_engine(peer), message.task)
        if self.actors.rows:
            self.waits.blocked(message.task, message.objects)

    def _task_unblocked(self, peer: PeerRecord, message: TaskUnblocked, now: float) -> None:
        self.placement.unblock(_engine(peer), message.task)
        self.waits.unblocked(message.task)

    def _items_returned(self, peer: PeerRecord, message: ItemsReturned, now: float) -> None:
        self.recovery.items_returned(_engine(peer), message.task, message.attempt, message.kept)

    def _actor_exited(self, peer: PeerRecord, message: ActorExited, now: float) -> None:
        self.actors.exited(_engine(peer))

    def _item_yielded(self, peer: PeerRecord, message: ItemYielded, now: float) -> None:
        self.streams.item(_engine(peer), message)

    def _printed(self, peer: PeerRecord, message: Printed, now: float) -> None:
        engine = _engine(peer)
        job = self.jobs.get(message.job)
        if job is None:
            return
        job.print(message.task, message.stream, message.text)
        task = self.tasks.rows.get(message.task)
        name = task.name if task is not None else ""
        self.outbox.send(
            job.owner,
            Said(job.id, message.task, engine.number, name, message.stream, message.text),
        )

    # ---- nodes ------------------------------------------------------------------------------

    def _engine_exited(self, peer: PeerRecord, message: EngineExited, now: float) -> None:
        self.liveness.exited(_node(peer), message, now)

    def _memory_pressed(self, peer: PeerRecord, message: MemoryPressed, now: float) -> None:
        self.liveness.pressed(_node(peer))


def _engine(peer: PeerRecord) -> EngineRecord:
    if peer.engine is None:
        raise ProtocolError(f"a {peer.role} speaks like an engine")
    return peer.engine


def _node(peer: PeerRecord) -> NodeRecord:
    if peer.node is None:
        raise ProtocolError(f"a {peer.role} speaks like a node")
    return peer.node
