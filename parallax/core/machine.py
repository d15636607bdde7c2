"""The hub's brain: events in, actions out. No socket, clock, thread, randomness or logging.

`Machine.handle` takes a batch of events and the time, lets the tables digest each, places ready
tasks once, and returns what is to be sent. The same events at the same times give the same
actions, so that it can be tested by properties and simulated at any scale.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from parallax.core import views
from parallax.core.jobs import JobRecord, JobTable
from parallax.core.objects import ObjectTable
from parallax.core.outbox import Action, Drop, Outbox, Stop
from parallax.core.placement import Placement
from parallax.core.records import EngineRecord, PeerRecord, Template
from parallax.core.resources import Demand, NodeRecord
from parallax.core.tasks import TaskTable
from parallax.core.timers import Timers
from parallax.errors import ProtocolError
from parallax.messages import (
    Answered,
    Asked,
    BlobDefined,
    BlobsMissed,
    CancelRequested,
    EngineExited,
    Failure,
    Hello,
    ItemsConsumed,
    ItemYielded,
    JobOpened,
    MemoryPressed,
    ObjectMissing,
    ObjectPut,
    ObjectsWanted,
    Ping,
    Printed,
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
    ToHub,
)

EXIT_GRACE_S = 0.02
"""From the news of an engine's end to its consequences: what it had sent arrives first."""
MAX_FAILED_STARTS = 3
"""Engines in a row that died before they said hello; then something is wrong with all of them."""
MAX_TIMELINE = 100_000
"""Finished tasks that the timeline remembers."""


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer has said hello, and the shell has given it a number."""

    peer: int
    hello: Hello


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The connection to a peer, or its process, is gone."""

    peer: int


@dataclass(frozen=True, slots=True)
class Received:
    """A known peer has sent a message."""

    peer: int
    message: ToHub


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Event: TypeAlias = PeerJoined | PeerLost | Received | Ticked


class Machine:
    """Jobs, tasks, objects, engines and nodes of one cluster."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.timers = Timers()
        self.peers: dict[int, PeerRecord] = {}
        self.jobs = JobTable()
        self.objects = ObjectTable(self.peers, self.outbox, self._on_value)
        self.placement = Placement(self.objects, self.outbox, self.timers)
        self.tasks = TaskTable(self.peers, self.objects, self.placement, self.outbox, self.timers)
        self.objects.node_peer = self._node_peer
        self.timeline: deque[tuple[str, int, int, int, float, float]] = deque(maxlen=MAX_TIMELINE)
        self._failed_starts = 0
        self._handlers: dict[type, Callable[[PeerRecord, Any, float], None]] = {
            JobOpened: self._job_opened,
            TemplateDefined: self._template_defined,
            BlobDefined: self._blob_defined,
            TasksSubmitted: self._tasks_submitted,
            ObjectPut: self._object_put,
            RefsChanged: self._refs_changed,
            ObjectsWanted: self._objects_wanted,
            CancelRequested: self._cancel_requested,
            ItemsConsumed: self._items_consumed,
            ObjectMissing: self._object_missing,
            Asked: self._asked,
            ShutdownRequested: self._shutdown_requested,
            TasksFinished: self._tasks_finished,
            TasksReturned: self._tasks_returned,
            TaskStalled: self._task_stalled,
            TaskBlocked: self._task_blocked,
            TaskUnblocked: self._task_unblocked,
            ItemYielded: self._item_yielded,
            Printed: self._printed,
            BlobsMissed: self._blobs_missed,
            EngineExited: self._engine_exited,
            MemoryPressed: self._memory_pressed,
            Ping: self._ping,
        }

    # ---- the door ---------------------------------------------------------------------------

    def handle(self, events: Iterable[Event], now: float) -> list[Action]:
        """Digest a batch of events; return what to do, in order.

        A message that its sender may not send, or that names what does not exist, costs the
        sender its place (`Drop`) and leaves everyone else untouched.
        """
        for event in events:
            if type(event) is Received:
                peer = self.peers.get(event.peer)
                if peer is None:
                    continue
                handler = self._handlers.get(type(event.message))
                try:
                    if handler is None:
                        raise ProtocolError(f"unexpected {type(event.message).__name__}")
                    handler(peer, event.message, now)
                except ProtocolError as error:
                    self.outbox.act(Drop(event.peer, str(error)))
                    self._peer_lost(event.peer, now)
            elif type(event) is PeerJoined:
                self._peer_joined(event, now)
            elif type(event) is PeerLost:
                self._peer_lost(event.peer, now)
        self.timers.run(now)
        self.placement.place(now)
        return self.outbox.take()

    def next_deadline(self) -> float | None:
        """When `handle` should be called next even if nothing happens."""
        return self.timers.next()

    # ---- peers ------------------------------------------------------------------------------

    def _peer_joined(self, event: PeerJoined, now: float) -> None:
        hello = event.hello
        peer = PeerRecord(event.peer, hello.role, hello.pid, hello.name, owner=hello.owner)
        if hello.role == "node":
            node = NodeRecord(len(self.placement.nodes), event.peer, hello.host, hello.resources)
            peer.node = node
            self.placement.add_node(node)
        elif hello.role == "engine":
            home = self._node_of(hello.number)
            if home is None:  # it was given up meanwhile
                self.outbox.act(Drop(event.peer, "this engine is not wanted any more"))
                return
            engine = EngineRecord(hello.number, home)
            engine.peer, engine.pid = event.peer, hello.pid
            peer.engine = engine
            self._failed_starts = 0
            self.placement.add_engine(engine)
        self.peers[event.peer] = peer

    def _peer_lost(self, number: int, now: float) -> None:
        peer = self.peers.pop(number, None)
        if peer is None:
            return
        if peer.node is not None:
            self.outbox.act(Stop(f"the node agent of {peer.node.host} was lost"))
            return
        if peer.engine is not None and not peer.engine.dying:
            # The node tells how it died; until then nothing more is placed on it.
            self.placement.retire(peer.engine, "lost")
        self.tasks.orphan(number, now)
        self.objects.client_drops(peer, list(peer.held))
        self.tasks.drop_templates(number)
        if peer.owner:
            self.outbox.act(Stop("its owner is gone"))

    def _node_of(self, engine: int) -> NodeRecord | None:
        for node in self.placement.nodes.values():
            if engine in node.starting:
                return node
        return None

    def _node_peer(self, node: int) -> int:
        record = self.placement.nodes.get(node)
        return record.peer if record is not None else 0

    # ---- clients ----------------------------------------------------------------------------

    def _job_opened(self, peer: PeerRecord, message: JobOpened, now: float) -> None:
        self.jobs.open(message, peer.number, now)
        peer.jobs.append(message.job)

    def _blob_defined(self, peer: PeerRecord, message: BlobDefined, now: float) -> None:
        self.placement.blobs[message.key] = message.data

    def _template_defined(self, peer: PeerRecord, message: TemplateDefined, now: float) -> None:
        if message.template in self.tasks.templates:
            return
        shape = self.placement.shape(
            Demand(message.demand),
            spread=message.spread,
            affinity=message.affinity,
            soft=message.affinity_soft,
        )
        template = Template(message, peer.number, shape)
        if message.timeout_s:
            template.on_begin = self.tasks.begin_timeout
        self.tasks.templates[message.template] = template

    def _tasks_submitted(self, peer: PeerRecord, message: TasksSubmitted, now: float) -> None:
        templates = self.tasks.templates
        for spec in message.tasks:
            if spec.template not in templates:
                raise ProtocolError(f"task {spec.id:016x} names an unknown template")
        job = self._job(peer, message.job, now)
        self.tasks.submit(peer, job, message.parent, message.tasks)

    def _job(self, peer: PeerRecord, number: int, now: float) -> JobRecord:
        job = self.jobs.get(number)
        return job or self.jobs.open(JobOpened(number, "work"), peer.number, now)

    def _object_put(self, peer: PeerRecord, message: ObjectPut, now: float) -> None:
        if message.id in self.objects.rows:
            raise ProtocolError(f"object {message.id:016x} is put twice")
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
        for object_id in message.ids:
            self.tasks.cancel(
                object_id,
                force=message.force,
                recursive=message.recursive,
                grace_s=message.grace_s,
                now=now,
            )

    def _items_consumed(self, peer: PeerRecord, message: ItemsConsumed, now: float) -> None:
        self.tasks.consumed(message.task, message.count)

    def _object_missing(self, peer: PeerRecord, message: ObjectMissing, now: float) -> None:
        row = self.objects.get(message.id)
        if row is not None and type(row.value) is Stored and row.value.name == message.name:
            self.tasks.rebuild(message.id)
        self.objects.want(peer.number, message.id)

    def _asked(self, peer: PeerRecord, message: Asked, now: float) -> None:
        try:
            answer = views.answer(self, peer, message.what, message.argument, now)
        except (LookupError, TypeError, ValueError) as error:
            reply = Answered(message.request, None, f"{message.what}: {error!r}")
        else:
            reply = Answered(message.request, answer)
        self.outbox.send(peer.number, reply)

    def _shutdown_requested(self, peer: PeerRecord, message: ShutdownRequested, now: float) -> None:
        self.outbox.act(Stop(message.reason or "shutdown was asked for"))

    def _ping(self, peer: PeerRecord, message: Ping, now: float) -> None:
        pass

    # ---- engines ----------------------------------------------------------------------------

    def _engine(self, peer: PeerRecord) -> EngineRecord:
        if peer.engine is None:
            raise ProtocolError(f"a {peer.role} speaks like an engine")
        return peer.engine

    def _tasks_finished(self, peer: PeerRecord, message: TasksFinished, now: float) -> None:
        engine = self._engine(peer)
        queue = engine.queue
        timeline = self.timeline
        finish = self.tasks.finish
        number = engine.number
        for done in message.done:
            task = queue.get(done.task)
            if task is not None:
                timeline.append(
                    (
                        task.template.spec.name,
                        done.task,
                        task.job.id,
                        number,
                        done.started_at,
                        done.duration_s,
                    )
                )
            finish(engine, done, now)

    def _tasks_returned(self, peer: PeerRecord, message: TasksReturned, now: float) -> None:
        self.tasks.returned(self._engine(peer), message.ids, recalled=message.recalled)

    def _task_stalled(self, peer: PeerRecord, message: TaskStalled, now: float) -> None:
        self.tasks.stalled(self._engine(peer), message.task, message.attempt, message.missing)

    def _task_blocked(self, peer: PeerRecord, message: TaskBlocked, now: float) -> None:
        engine = self._engine(peer)
        if message.task in engine.queue:
            self.placement.block(engine, message.task)

    def _task_unblocked(self, peer: PeerRecord, message: TaskUnblocked, now: float) -> None:
        self.placement.unblock(self._engine(peer))

    def _item_yielded(self, peer: PeerRecord, message: ItemYielded, now: float) -> None:
        self.tasks.yielded(self._engine(peer), message)

    def _printed(self, peer: PeerRecord, message: Printed, now: float) -> None:
        engine = self._engine(peer)
        job = self.jobs.get(message.job)
        if job is None:
            return
        job.print(message.task, message.stream, message.text)
        task = self.tasks.rows.get(message.task)
        name = task.template.spec.name if task is not None else ""
        if job.owner in self.peers:
            self.outbox.send(
                job.owner,
                Said(job.id, message.task, engine.number, name, message.stream, message.text),
            )

    def _blobs_missed(self, peer: PeerRecord, message: BlobsMissed, now: float) -> None:
        for key in message.keys:
            if key in self.placement.blobs:
                self.outbox.send(peer.number, BlobDefined(key, self.placement.blobs[key]))

    # ---- nodes ------------------------------------------------------------------------------

    def _engine_exited(self, peer: PeerRecord, message: EngineExited, now: float) -> None:
        node = peer.node
        if node is None:
            raise ProtocolError(f"a {peer.role} speaks like a node")
        engine = self.placement.engines.get(message.number)
        if engine is None:
            if message.number in node.starting:
                node.starting.discard(message.number)
                self._start_failed(message)
                self.placement.touch(node)
            return
        # What it had sent before it died may still be on its way through another socket.
        engine.dying = engine.dying or "gone"
        self.timers.at(now + EXIT_GRACE_S, lambda later: self._bury(engine, message, later))

    def _start_failed(self, message: EngineExited) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            how = describe_status(message.status)
            self.outbox.act(Stop(f"engines cannot start ({how}). {message.detail}".strip()))

    def _bury(self, engine: EngineRecord, message: EngineExited, now: float) -> None:
        if self.placement.engines.get(engine.number) is not engine:
            return
        self.tasks.engine_lost(engine, message.running, self._death(engine, message))
        self.placement.remove_engine(engine)
        if engine.peer in self.peers:
            self.outbox.act(Drop(engine.peer, "its process has ended"))
            self._peer_lost(engine.peer, now)

    def _death(self, engine: EngineRecord, message: EngineExited) -> Failure:
        task = next(
            (
                task
                for task in engine.queue.values()
                if task.id <= message.running < task.id + max(1, task.returns)
            ),
            None,
        )
        name = task.template.spec.name if task is not None else "the task"
        tries = f" after {task.attempt + 1} attempts" if task is not None and task.attempt else ""
        how = describe_status(message.status)
        if engine.oom:
            return Failure(
                "out_of_memory",
                f"{name} was stopped{tries}: the host was running out of memory, and its engine "
                f"{engine.number} was the newest. Use less memory per task, or run fewer at once "
                "with .options(num_cpus=...) or .options(memory=...).",
                b"",
                message.running,
            )
        detail = f"\n{message.detail}" if message.detail else ""
        return Failure(
            "engine_died",
            f"engine {engine.number} (pid {engine.pid}) died{tries} while it ran {name}: {how}."
            f"{detail}",
            b"",
            message.running,
        )

    def _memory_pressed(self, peer: PeerRecord, message: MemoryPressed, now: float) -> None:
        """Kill the engine of the task that began last, of those that may be retried if any."""
        node = peer.node
        if node is None:
            raise ProtocolError(f"a {peer.role} speaks like a node")
        running = [
            (next(iter(engine.queue.values())), engine)
            for engine in node.engines.values()
            if engine.queue and not engine.dying
        ]
        if not running or any(engine.dying == "memory" for engine in node.engines.values()):
            return
        _, engine = max(running, key=lambda pair: (pair[0].retries_left != 0, pair[0].id))
        engine.oom = True
        self.placement.retire(engine, "memory")

    def _on_value(self, task: Any, value: Any) -> None:
        self.tasks.on_value(task, value)


def describe_status(status: int) -> str:
    """An exit status as people read it: ``killed by SIGKILL``, ``exit code 3``."""
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit code {status}"
