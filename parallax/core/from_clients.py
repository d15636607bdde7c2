"""What clients say, sorted into the tables of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.core.jobs import JobRecord
from parallax.core.outbox import Stop
from parallax.core.records import PeerRecord, Template
from parallax.errors import ProtocolError
from parallax.messages import (
    PLAIN,
    ActorCreated,
    BlobDefined,
    CallsSubmitted,
    CancelRequested,
    FailedRetried,
    ItemsConsumed,
    JobOpened,
    KillRequested,
    Left,
    ObjectMissing,
    ObjectPut,
    ObjectsWanted,
    Ping,
    RefsChanged,
    ShutdownRequested,
    Stored,
    TasksSubmitted,
    TemplateDefined,
    TemplatesDropped,
)

if TYPE_CHECKING:
    from parallax.core.machine import Handlers, Machine


class FromClients:
    """Digests the messages of clients; engines and nodes are clients, too.

    Raises:
        ProtocolError: by each handler, when the message names what does not exist.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.handlers: Handlers = {
            JobOpened: self._job_opened,
            BlobDefined: self._blob_defined,
            TemplateDefined: self._template_defined,
            TemplatesDropped: self._templates_dropped,
            TasksSubmitted: self._tasks_submitted,
            ActorCreated: self._actor_created,
            CallsSubmitted: self._calls_submitted,
            KillRequested: self._kill_requested,
            ObjectPut: self._object_put,
            RefsChanged: self._refs_changed,
            ObjectsWanted: self._objects_wanted,
            CancelRequested: self._cancel_requested,
            ItemsConsumed: self._items_consumed,
            ObjectMissing: self._object_missing,
            ShutdownRequested: self._shutdown_requested,
            Left: self._left,
            FailedRetried: self._failed_retried,
            Ping: self._ping,
        }

    def _job_opened(self, peer: PeerRecord, message: JobOpened, now: float) -> None:
        self._machine.jobs.open(message, peer.number, now)

    def _blob_defined(self, peer: PeerRecord, message: BlobDefined, now: float) -> None:
        self._machine.templates.define_blob(peer, message.key, message.data)

    def _template_defined(self, peer: PeerRecord, message: TemplateDefined, now: float) -> None:
        self._machine.templates.define(peer, message)

    def _templates_dropped(self, peer: PeerRecord, message: TemplatesDropped, now: float) -> None:
        dropped = self._machine.templates.drop(peer, message.templates, message.blobs)
        self._machine.jobs.forget_templates(dropped)

    def _tasks_submitted(self, peer: PeerRecord, message: TasksSubmitted, now: float) -> None:
        templates = self._named({spec.template for spec in message.tasks})
        if any(template.spec.role != PLAIN for template in templates.values()):
            raise ProtocolError("a task is submitted with the template of an actor")
        for spec in message.tasks:
            if spec.deps and spec.id in spec.deps:
                raise ProtocolError(f"task {spec.id:016x} depends on itself")
        job = self._job(peer, message.job, now)
        machine = self._machine
        machine.tasks.submit(peer, job, message.parent, message.tasks, templates)
        if machine.durables.active and any(one.spec.durable for one in templates.values()):
            machine.durables.submitted(peer, message.parent, message.tasks)

    def _actor_created(self, peer: PeerRecord, message: ActorCreated, now: float) -> None:
        template = self._machine.templates.rows.get(message.spec.template)
        if template is None:
            raise ProtocolError(f"actor {message.spec.id:016x} names an unknown template")
        self._machine.actors.create(peer, self._job(peer, message.job, now), message, template)

    def _calls_submitted(self, peer: PeerRecord, message: CallsSubmitted, now: float) -> None:
        templates = self._named({spec.template for spec in message.calls})
        self._machine.actors.submit(peer, self._job(peer, message.job, now), message, templates)

    def _kill_requested(self, peer: PeerRecord, message: KillRequested, now: float) -> None:
        self._machine.actors.kill(message)

    def _named(self, numbers: set[int]) -> dict[int, Template]:
        found = {number: self._machine.templates.rows.get(number) for number in numbers}
        known = {number: template for number, template in found.items() if template is not None}
        if len(known) < len(numbers):
            raise ProtocolError(f"it names unknown templates: {sorted(numbers - known.keys())}")
        return known

    def _job(self, peer: PeerRecord, number: int, now: float) -> JobRecord:
        return self._machine.jobs.get(number) or self._machine.jobs.open(
            JobOpened(number, "work"), peer.number, now
        )

    def _object_put(self, peer: PeerRecord, message: ObjectPut, now: float) -> None:
        if not self._machine.objects.known(message.id):  # else it was sent twice
            self._machine.objects.put(message.id, peer, message.value, message.contained)

    def _refs_changed(self, peer: PeerRecord, message: RefsChanged, now: float) -> None:
        if message.added:
            self._machine.objects.client_holds(peer, message.added)
        if message.dropped:
            self._machine.objects.client_drops(peer, message.dropped)

    def _objects_wanted(self, peer: PeerRecord, message: ObjectsWanted, now: float) -> None:
        for object_id in message.ids:
            self._machine.objects.want(peer.number, object_id)

    def _cancel_requested(self, peer: PeerRecord, message: CancelRequested, now: float) -> None:
        self._machine.cancels.request(message, now)

    def _items_consumed(self, peer: PeerRecord, message: ItemsConsumed, now: float) -> None:
        task = self._machine.tasks.rows.get(message.task)
        if task is not None:
            self._machine.streams.consumed(task, message.count)

    def _object_missing(self, peer: PeerRecord, message: ObjectMissing, now: float) -> None:
        row = self._machine.objects.rows.get(message.id)
        if row is not None and type(row.value) is Stored and row.value.name == message.name:
            self._machine.recovery.rebuild([row])
        self._machine.objects.want(peer.number, message.id)

    def _shutdown_requested(self, peer: PeerRecord, message: ShutdownRequested, now: float) -> None:
        self._machine.outbox.act(Stop(message.reason or "shutdown was asked for"))

    def _left(self, peer: PeerRecord, message: Left, now: float) -> None:
        self._machine.peer_lost(peer.number, now)

    def _failed_retried(self, peer: PeerRecord, message: FailedRetried, now: float) -> None:
        if (job := self._machine.jobs.get(message.job)) is not None:
            job.retried(message.tasks)

    def _ping(self, peer: PeerRecord, message: Ping, now: float) -> None:
        pass
