"""What engines and nodes say besides, sorted into the tables of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.core.records import EngineRecord, PeerRecord
from parallax.core.resources import NodeRecord
from parallax.errors import ProtocolError
from parallax.messages import (
    ActorExited,
    EngineExited,
    ItemsReturned,
    ItemYielded,
    MemoryPressed,
    Printed,
    Said,
    TaskBlocked,
    TasksFinished,
    TasksReturned,
    TaskStalled,
    TaskUnblocked,
)

if TYPE_CHECKING:
    from parallax.core.machine import Handlers, Machine


class FromEngines:
    """Digests the messages that only engines and nodes may send.

    Raises:
        ProtocolError: by each handler, when somebody else has sent it.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.handlers: Handlers = {
            TasksFinished: self._tasks_finished,
            TasksReturned: self._tasks_returned,
            TaskStalled: self._task_stalled,
            TaskBlocked: self._task_blocked,
            TaskUnblocked: self._task_unblocked,
            ItemsReturned: self._items_returned,
            ActorExited: self._actor_exited,
            ItemYielded: self._item_yielded,
            Printed: self._printed,
            EngineExited: self._engine_exited,
            MemoryPressed: self._memory_pressed,
        }

    def _tasks_finished(self, peer: PeerRecord, message: TasksFinished, now: float) -> None:
        machine = self._machine
        engine = _engine(peer)
        engine.moved_at = now
        queue = engine.queue
        finish = machine.tasks.finish
        timeline = machine.timeline
        for done in message.done:
            task = queue.get(done.task)
            if task is not None:
                group = task.group
                timeline.append(
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
                machine.cancels.end_unread(task, now)
        machine.placement.refill(engine, now)

    def _tasks_returned(self, peer: PeerRecord, message: TasksReturned, now: float) -> None:
        engine = _engine(peer)
        if message.recalled:
            engine.recalling = False
        self._machine.recovery.returned(engine, message.ids)

    def _task_stalled(self, peer: PeerRecord, message: TaskStalled, now: float) -> None:
        self._machine.recovery.stalled(
            _engine(peer), message.task, message.attempt, message.missing
        )

    def _task_blocked(self, peer: PeerRecord, message: TaskBlocked, now: float) -> None:
        self._machine.placement.block(_engine(peer), message.task)
        if self._machine.actors.rows:
            self._machine.waits.blocked(message.task, message.objects)

    def _task_unblocked(self, peer: PeerRecord, message: TaskUnblocked, now: float) -> None:
        self._machine.placement.unblock(_engine(peer), message.task)
        self._machine.waits.unblocked(message.task)

    def _items_returned(self, peer: PeerRecord, message: ItemsReturned, now: float) -> None:
        self._machine.recovery.items_returned(
            _engine(peer), message.task, message.attempt, message.kept
        )

    def _actor_exited(self, peer: PeerRecord, message: ActorExited, now: float) -> None:
        self._machine.actors.exited(_engine(peer))

    def _item_yielded(self, peer: PeerRecord, message: ItemYielded, now: float) -> None:
        self._machine.streams.item(_engine(peer), message)

    def _printed(self, peer: PeerRecord, message: Printed, now: float) -> None:
        engine = _engine(peer)
        job = self._machine.jobs.get(message.job)
        if job is None:
            return
        job.print(message.task, message.stream, message.text)
        task = self._machine.tasks.rows.get(message.task)
        name = task.name if task is not None else ""
        self._machine.outbox.send(
            job.owner,
            Said(job.id, message.task, engine.number, name, message.stream, message.text),
        )

    def _engine_exited(self, peer: PeerRecord, message: EngineExited, now: float) -> None:
        self._machine.liveness.exited(_node(peer), message, now)

    def _memory_pressed(self, peer: PeerRecord, message: MemoryPressed, now: float) -> None:
        self._machine.liveness.pressed(_node(peer))


def _engine(peer: PeerRecord) -> EngineRecord:
    if peer.engine is None:
        raise ProtocolError(f"a {peer.role} speaks like an engine")
    return peer.engine


def _node(peer: PeerRecord) -> NodeRecord:
    if peer.node is None:
        raise ProtocolError(f"a {peer.role} speaks like a node")
    return peer.node
