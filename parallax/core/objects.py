"""The object directory: values, who counts on them, and what must be kept to rebuild them.

An object lives while something counts on its value (`refs`): a client that holds an `ObjectRef`,
a task that has not ended and takes it as an argument, another living object that contains it.
When nothing does, the value is freed. The row itself stays while a retained task needs it to
rebuild something else (`lineage`); a row that nobody needs in either way is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from parallax.core.outbox import Outbox
from parallax.core.records import ObjectRecord, PeerRecord, TaskRecord
from parallax.messages import Failure, Stored, Value


class ObjectTable:
    """All objects of the cluster.

    Args:
        peers: the clients by number, owned by the machine.
        outbox: where "ready" and "freed" are said.
        on_value: told of each task whose argument got its value.
    """

    def __init__(
        self,
        peers: dict[int, PeerRecord],
        outbox: Outbox,
        on_value: Callable[[TaskRecord, Value], None],
    ) -> None:
        self.rows: dict[int, ObjectRecord] = {}
        self._peers = peers
        self._outbox = outbox
        self._on_value = on_value
        self.node_peer: Callable[[int], int] = lambda node: 0
        """The peer number of a node's agent; set by the machine."""

    def get(self, object_id: int) -> ObjectRecord | None:
        """The row of this object, or None."""
        return self.rows.get(object_id)

    def expect(self, object_id: int, owner: PeerRecord, task: TaskRecord) -> None:
        """A row for what a task will return. The submitter holds it and hears when it is ready."""
        row = ObjectRecord(object_id, owner.number, task)
        row.refs = 1
        owner.held.add(object_id)
        self.rows[object_id] = row

    def put(
        self, object_id: int, owner: PeerRecord, value: Value, contained: list[int]
    ) -> ObjectRecord:
        """A row for a value that a client has made; the client holds it."""
        row = ObjectRecord(object_id, 0, None)
        row.refs = 1
        owner.held.add(object_id)
        self.rows[object_id] = row
        self.complete(row, value, contained)
        return row

    # ---- values ---------------------------------------------------------------------------

    def complete(self, row: ObjectRecord, value: Value, contained: list[int] | None = None) -> None:
        """The object has its value: tell all who wait."""
        row.value = value
        row.freed = False
        if contained:
            row.contained = contained
            self.hold(contained)
        object_id = row.id
        owner = self._peers.get(row.owner)
        if owner is not None and object_id in owner.held:
            self._outbox.ready(owner.number, object_id, value)
        if row.wanted is not None:
            for peer in row.wanted:
                if peer != row.owner:
                    self._outbox.ready(peer, object_id, value)
            row.wanted = None
        if row.waiters is not None:
            waiters, row.waiters = row.waiters, None
            for task in waiters:
                self._on_value(task, value)
        if row.refs == 0:
            self._release([row])

    def want(self, peer: int, object_id: int) -> None:
        """Answer `peer` when the object is ready: now, later, or that it never will be."""
        row = self.rows.get(object_id)
        if row is None or row.freed:
            self._outbox.ready(peer, object_id, _gone(object_id))
        elif row.value is not None:
            self._outbox.ready(peer, object_id, row.value)
        elif row.wanted is None:
            row.wanted = [peer]
        elif peer not in row.wanted:
            row.wanted.append(peer)

    def discard(self, value: Value) -> None:
        """A value that nobody will use (a late or doubled result): free its segment."""
        if type(value) is Stored:
            creator = self._peers.get(value.creator)
            target = creator.number if creator is not None else self.node_peer(value.node)
            if target:
                self._outbox.freed(target, value.name)

    # ---- references -----------------------------------------------------------------------

    def hold(self, object_ids: Iterable[int]) -> None:
        """Count one more use of each value."""
        rows = self.rows
        for object_id in object_ids:
            row = rows.get(object_id)
            if row is None:
                row = rows[object_id] = ObjectRecord(object_id, 0, None)
                row.value = _gone(object_id)
            row.refs += 1

    def drop(self, object_ids: Iterable[int]) -> None:
        """Count one use less of each value; free those that have none left."""
        rows = self.rows
        unused = []
        for object_id in object_ids:
            row = rows.get(object_id)
            if row is None:
                continue
            row.refs -= 1
            if row.refs == 0 and row.value is not None:
                unused.append(row)
        if unused:
            self._release(unused)

    def client_holds(self, peer: PeerRecord, object_ids: list[int]) -> None:
        """A client came to hold these; saying it twice counts once."""
        new = [object_id for object_id in object_ids if object_id not in peer.held]
        peer.held.update(new)
        self.hold(new)

    def client_drops(self, peer: PeerRecord, object_ids: Iterable[int]) -> None:
        """A client holds these no more; what it did not hold is ignored."""
        held = peer.held
        rows = self.rows
        unused = []
        for object_id in object_ids:
            if object_id not in held:
                continue
            held.remove(object_id)
            row = rows[object_id]
            row.refs -= 1
            if row.refs == 0 and row.value is not None:
                unused.append(row)
        if unused:
            self._release(unused)

    def _release(self, rows: list[ObjectRecord]) -> None:
        """Free values without uses, and in turn what only they contained or were made from."""
        while rows:
            row = rows.pop()
            if row.refs or row.freed:
                continue
            value, row.value, row.freed = row.value, None, True
            if type(value) is Stored:
                self.discard(value)
            if row.contained is not None:
                contained, row.contained = row.contained, None
                self._drop_into(contained, rows)
            if row.lineage == 0:
                self._delete(row, rows)

    def _drop_into(self, object_ids: Iterable[int], unused: list[ObjectRecord]) -> None:
        for object_id in object_ids:
            row = self.rows.get(object_id)
            if row is not None:
                row.refs -= 1
                if row.refs == 0 and row.value is not None:
                    unused.append(row)

    def _delete(self, row: ObjectRecord, unused: list[ObjectRecord]) -> None:
        doomed = [row]
        while doomed:
            row = doomed.pop()
            del self.rows[row.id]
            task = row.task
            if task is None or task.pins is None:
                continue
            task.retained -= 1
            if task.retained:
                continue
            (values, lineages), task.pins = task.pins, None
            self._drop_into(values, unused)
            for object_id in lineages:
                maker = self.rows.get(object_id)
                if maker is not None:
                    maker.lineage -= 1
                    if maker.lineage == 0 and maker.freed and not maker.refs:
                        doomed.append(maker)

    # ---- lineage --------------------------------------------------------------------------

    def settle(self, task: TaskRecord, returns: list[ObjectRecord]) -> None:
        """A task has ended well: keep what could rebuild its results, drop what it held.

        Only values in the shared-memory store can be lost while the hub lives. For those the
        task is retained: its small arguments by value, its large ones by their own lineage (so
        that dropping the last reference to a large value frees it at once).
        """
        kept = 0
        for row in returns:
            if type(row.value) is Stored or row.freed:
                kept += 1
            else:
                row.task = None
        if not kept:
            if task.deps:
                self.drop(task.deps)
            if task.refs:
                self.drop(task.refs)
            return
        values: list[int] = []
        lineages: list[int] = []
        for object_id in (*task.deps, *task.refs):
            row = self.rows.get(object_id)
            if row is None:
                continue
            if type(row.value) is Stored:
                row.lineage += 1
                lineages.append(object_id)
            else:
                values.append(object_id)
        task.pins = (values, lineages)
        task.retained = kept
        self.drop(lineages)

    def unsettle(self, task: TaskRecord) -> list[ObjectRecord]:
        """A retained task runs again: it holds its arguments as before.

        Returns:
            Those of its arguments that have no value now and must be rebuilt first.
        """
        assert task.pins is not None
        (_, lineages), task.pins = task.pins, None
        missing = []
        for object_id in lineages:
            row = self.rows[object_id]
            row.refs += 1
            row.lineage -= 1
            if row.freed:
                row.freed = False
                missing.append(row)
        return missing


def _gone(object_id: int) -> Failure:
    return Failure(
        "object_lost",
        f"object {object_id:016x} is not known to the cluster: its last reference is gone, or it "
        "belongs to another cluster. Keep a reference to it for as long as it is needed.",
    )
