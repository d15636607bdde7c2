"""Streaming tasks: items that become objects one by one, in order, each once.

A streaming task has no return object of its own. When it ends by an error, that error is its last
item, under the task's own id.
"""

from __future__ import annotations

from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.records import EngineRecord, PeerRecord, Stream, TaskRecord
from parallax.errors import ProtocolError
from parallax.messages import Failure, ItemReady, ItemsConsumed, ItemYielded, Value


class Streams:
    """Takes items from engines and tells their readers, the clients that submitted the tasks."""

    def __init__(self, peers: dict[int, PeerRecord], objects: ObjectTable, outbox: Outbox) -> None:
        self._peers = peers
        self._objects = objects
        self._outbox = outbox

    def open(self, task: TaskRecord) -> None:
        """The task will yield items instead of returning values."""
        task.stream = Stream()
        task.returns = 0

    def item(self, engine: EngineRecord, item: ItemYielded) -> None:
        """An engine has produced an item.

        A retry yields again what was seen before; those items, and late ones, are discarded.

        Raises:
            ProtocolError: an item is missing before this one, or its id is taken.
        """
        task = engine.queue.get(item.task)
        if task is None or task.stream is None or task.attempt != item.attempt:
            self._objects.discard_copy(item.id, item.value)
            return
        stream = task.stream
        if item.index < stream.count:
            self._objects.discard_copy(item.id, item.value)
        elif item.index > stream.count or self._objects.known(item.id):
            raise ProtocolError(f"item {item.index} of task {item.task:016x} is out of order")
        else:
            self._deliver(task, stream, item.id, item.value, item.contained)
        if stream.consumed > item.index:
            self._outbox.send(engine.peer, ItemsConsumed(task.id, stream.consumed))

    def consumed(self, task: TaskRecord, count: int) -> None:
        """The reader has taken `count` items: the task may go on."""
        stream = task.stream
        if stream is not None and count > stream.consumed:
            stream.consumed = count
            if task.engine is not None:
                self._outbox.send(task.engine.peer, ItemsConsumed(task.id, count))

    def end(self, task: TaskRecord, values: list[Value]) -> list[Value]:
        """The task has returned; an exception that it ended with is delivered as an item.

        Returns:
            That exception, if any: how the task ended.
        """
        failure = next((value for value in values if type(value) is Failure), None)
        for value in values:
            self._objects.discard(value)
        if failure is not None:
            self.fail(task, failure)
        else:
            self._close(task)
        return [failure] if failure is not None else []

    def fail(self, task: TaskRecord, failure: Failure) -> None:
        """The task has ended by an error: the reader gets it as the last item."""
        assert task.stream is not None
        self._deliver(task, task.stream, task.id, failure, [])
        self._close(task)

    def _deliver(
        self, task: TaskRecord, stream: Stream, item_id: int, value: Value, contained: list[int]
    ) -> None:
        index = stream.count
        stream.count += 1
        reader = self._peers.get(task.owner)
        if reader is None:
            self._objects.discard(value)
            return
        self._objects.put(item_id, reader, value, contained, task.group.job.id)
        self._outbox.send(reader.number, ItemReady(task.id, index, item_id))
        self._outbox.ready(reader.number, item_id, value)

    def _close(self, task: TaskRecord) -> None:
        assert task.stream is not None
        self._outbox.send(task.owner, ItemReady(task.id, task.stream.count, 0))
