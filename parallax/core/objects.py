"""The object directory: values, who counts on them, and what must be kept to rebuild them.

An object is *pending* until it has a value, and again while a lost value is rebuilt. The value
lives while something counts on it (`refs`): a client that holds an `ObjectRef`, a task that has
not ended and takes it as an argument or carries a reference to it, a living value that contains
one. When nothing does, the value is *freed*.

The row stays while the object is pending, while something counts on it, or while a task that has
ended would need it to run again (`lineage`). So dropping the last reference to a large value frees
it at once, and yet what was made from it can be rebuilt, by making it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from parallax.core.outbox import Outbox
from parallax.core.records import ObjectRecord, PeerRecord, TaskRecord
from parallax.core.states import TaskState
from parallax.messages import Arguments, Chunk, Failure, Stored, Value

HUB = 0
"""Among those who want a value: the hub, which will keep it. No peer has this number."""


class ObjectTable:
    """All objects of the cluster.

    Args:
        peers: the clients by number, owned by the machine.
        outbox: where "ready" and "freed" are said.
        node_peer: the peer number of a node's agent, 0 when there is none.
    """

    def __init__(
        self, peers: dict[int, PeerRecord], outbox: Outbox, node_peer: Callable[[int], int]
    ) -> None:
        self.rows: dict[int, ObjectRecord] = {}
        self.on_value: Callable[[TaskRecord, Value], None] = lambda task, value: None
        """Told of each waiting task whose argument got its value; set by the task table."""
        self.inline_bytes = 0
        """Of values and arguments that travel in messages, and are kept here."""
        self.on_unused: Callable[[TaskRecord], None] = lambda task: None
        """Told of actors without handles, by their constructors; set by the table of actors."""
        self.on_kept: list[Callable[[ObjectRecord], None]] = []
        """Told when an object that the hub itself wants has its value; added by those who keep."""
        self.withheld: dict[int, list[int]] = {}
        """Objects of which clients hear only when `reveal` says so, and who then does, the owner
        first."""
        self._peers = peers
        self._outbox = outbox
        self._node_peer = node_peer

    def known(self, object_id: int) -> bool:
        """Was it submitted or put? False also for one that is only being referred to."""
        row = self.rows.get(object_id)
        return row is not None and not (row.freed and row.lineage == 0)

    def expect(self, object_id: int, owner: PeerRecord, task: TaskRecord) -> None:
        """A row for what a task will return. The submitter holds it and hears when it is ready."""
        row = ObjectRecord(object_id, owner.number, task, task.group.job.id, 1)
        if object_id in self.rows:
            self._take_over(row, owner)
        owner.held.add(object_id)
        self.rows[object_id] = row

    def promise(self, object_id: int, owner: PeerRecord) -> None:
        """A row for a value that will be there one day, and that no task makes: whoever promises
        calls `complete`. The client holds it and hears when it is ready."""
        row = ObjectRecord(object_id, owner.number, None, 0, 1)
        if object_id in self.rows:
            self._take_over(row, owner)
        owner.held.add(object_id)
        self.rows[object_id] = row

    def put(
        self, object_id: int, owner: PeerRecord, value: Value, contained: list[int], job: int = 0
    ) -> None:
        """A row for a value that a client has made; the client holds it."""
        row = ObjectRecord(object_id, 0, None, job, 1)
        if object_id in self.rows:
            self._take_over(row, owner)
        owner.held.add(object_id)
        self.rows[object_id] = row
        self.complete(row, value, contained)

    def _take_over(self, row: ObjectRecord, owner: PeerRecord) -> None:
        """The object was referred to before it was submitted: those uses are its own."""
        row.refs = self.rows[row.id].refs + (row.id not in owner.held)

    # ---- values ---------------------------------------------------------------------------

    def complete(self, row: ObjectRecord, value: Value, contained: list[int] | None = None) -> None:
        """The object has its value: tell all who wait."""
        row.value = value
        if type(value) is not Stored:
            row.task = None  # it cannot be lost while the hub lives
            self.inline_bytes += size_of(value)
        object_id = row.id
        if contained or row.contained:
            self._contain(row, contained)
        if row.owner:
            owner = self._peers.get(row.owner)
            if owner is not None and object_id in owner.held:
                self._outbox.ready(row.owner, object_id, value)
        if row.wanted is not None:
            wanted, row.wanted = row.wanted, None
            for peer in wanted:
                if peer == HUB:
                    for told in self.on_kept:
                        told(row)
                else:
                    self._outbox.ready(peer, object_id, value)
        if row.waiters is not None:
            waiters, row.waiters = row.waiters, None
            for task in waiters:
                self.on_value(task, value)
        if not row.refs:
            self._sweep([row])

    def _contain(self, row: ObjectRecord, contained: list[int] | None) -> None:
        before, row.contained = row.contained, contained or None
        if contained:
            self.hold(contained)
        if before:
            self.drop(before)

    def stored_at(self, node: int) -> list[ObjectRecord]:
        """Objects whose value is in the store of this node. O(objects)."""
        return [
            row
            for row in self.rows.values()
            if type(row.value) is Stored and row.value.node == node
        ]

    def lose(self, row: ObjectRecord) -> None:
        """Its value is gone, or needed again: it is pending until somebody completes it.

        What the value contained stays held until then.
        """
        row.value = None
        row.freed = False

    def give_up(self, row: ObjectRecord, failure: Failure) -> None:
        """Its value is lost for good."""
        task, row.task = row.task, None
        if task is not None:
            unused: list[ObjectRecord] = []
            self._forget_result(task, unused)
            self._sweep(unused)
        self.complete(row, failure)

    def want(self, peer: int, object_id: int) -> None:
        """Answer `peer` when the object is ready: now, later, or that it never will be."""
        row = self.rows.get(object_id)
        if self.withheld and object_id in self.withheld:
            self.withheld[object_id].append(peer)
        elif row is None or row.freed:
            self._outbox.ready(peer, object_id, gone(object_id))
        elif row.value is not None:
            self._outbox.ready(peer, object_id, row.value)
        elif row.wanted is None:
            row.wanted = [peer]
        elif peer not in row.wanted:
            row.wanted.append(peer)

    def await_value(self, row: ObjectRecord) -> None:
        """The hub itself waits for the value of this pending object: `on_kept` will be told."""
        if row.wanted is None:
            row.wanted = [HUB]
        elif HUB not in row.wanted:
            row.wanted.append(HUB)

    def withhold(self, object_ids: Iterable[int]) -> None:
        """Tell no client of the values of these pending objects before they are revealed. Tasks
        that take them as arguments get them as ever."""
        for object_id in object_ids:
            row = self.rows[object_id]
            self.withheld[object_id] = [row.owner]
            row.owner = 0

    def reveal(self, object_ids: Iterable[int]) -> None:
        """Tell of these what was withheld, now or when they have their values."""
        for object_id in object_ids:
            peers = self.withheld.pop(object_id, None)
            if peers is None:
                continue
            owner, *others = peers
            row = self.rows.get(object_id)
            if row is not None:
                row.owner = owner
                peer = self._peers.get(owner)
                if row.value is not None and peer is not None and object_id in peer.held:
                    self._outbox.ready(owner, object_id, row.value)
            for other in others:
                self.want(other, object_id)

    def discard(self, value: Value | Chunk) -> None:
        """Nobody will use this value or these arguments any more: free the segment, if any."""
        if type(value) is Stored:
            creator = value.creator if value.creator in self._peers else self._node_peer(value.node)
            if creator:
                self._outbox.freed(creator, value.name)

    def discard_copy(self, object_id: int, value: Value) -> None:
        """Like `discard`, unless it is the very value that the object has."""
        row = self.rows.get(object_id)
        if row is None or row.value != value:
            self.discard(value)

    # ---- references -----------------------------------------------------------------------

    def hold(self, object_ids: Iterable[int]) -> None:
        """Count one more use of each value.

        One that nobody knows is taken for freed. Should it be submitted later (its creator sends
        through another socket), it counts those uses from then on.
        """
        rows = self.rows
        for object_id in object_ids:
            row = rows.get(object_id)
            if row is None:
                row = rows[object_id] = ObjectRecord(object_id, 0, None)
                row.freed = True
            row.refs += 1

    def drop(self, object_ids: Iterable[int]) -> None:
        """Count one use less of each value; free those that have none left."""
        unused: list[ObjectRecord] = []
        self._drop_into(object_ids, unused)
        if unused:
            self._sweep(unused)

    def client_holds(self, peer: PeerRecord, object_ids: list[int]) -> None:
        """A client came to hold these; saying it twice counts once."""
        new = [i for i in dict.fromkeys(object_ids) if i not in peer.held]
        peer.held.update(new)
        self.hold(new)

    def client_drops(self, peer: PeerRecord, object_ids: Iterable[int]) -> None:
        """A client holds these no more; what it did not hold is ignored."""
        held = peer.held
        dropped = []
        for object_id in object_ids:
            if object_id in held:
                held.remove(object_id)
                dropped.append(object_id)
        self.drop(dropped)

    def _drop_into(self, object_ids: Iterable[int], unused: list[ObjectRecord]) -> None:
        rows = self.rows
        for object_id in object_ids:
            row = rows[object_id]
            row.refs -= 1
            if not row.refs:
                unused.append(row)

    def _sweep(self, unused: list[ObjectRecord]) -> None:
        """Free values without uses, and in turn what only they contained or were made from."""
        while unused:
            row = unused.pop()
            if row.refs or row.pending:
                continue
            if not row.freed:
                value, row.value, row.freed = row.value, None, True
                if type(value) is Stored:
                    self.discard(value)
                elif value is not None:
                    self.inline_bytes -= size_of(value)
                if row.contained is not None:
                    contained, row.contained = row.contained, None
                    self._drop_into(contained, unused)
            if not row.lineage and self.rows.get(row.id) is row:
                del self.rows[row.id]
                if row.task is not None:
                    self._forget_result(row.task, unused)

    def _forget_result(self, task: TaskRecord, unused: list[ObjectRecord]) -> None:
        """One object less that this task could rebuild; with the last one its arguments go."""
        if task.actor is not None:
            self.on_unused(task)
            return
        if task.state is not TaskState.ENDED or task.pins is None:
            return
        task.retained -= 1
        if task.retained:
            return
        (values, lineages), task.pins = task.pins, None
        self._forget_arguments(task)
        self._drop_into(values, unused)
        for object_id in lineages:
            row = self.rows[object_id]
            row.lineage -= 1
            if not row.lineage:
                unused.append(row)

    def count_arguments(self, task: TaskRecord) -> None:
        """A task came to be: its arguments count until it will never run again."""
        self.inline_bytes += size_of(task.args)

    def uncount_arguments(self, task: TaskRecord) -> None:
        """Its arguments are about to become others."""
        self.inline_bytes -= size_of(task.args)

    def _forget_arguments(self, task: TaskRecord) -> None:
        self.uncount_arguments(task)
        self.discard(task.args)

    # ---- lineage --------------------------------------------------------------------------

    def settle(self, task: TaskRecord) -> None:
        """A task has ended well: keep what could rebuild its results, drop what it held.

        Only values in the shared-memory store can be lost while the hub lives. For those the task
        is retained: its small arguments by value, its large ones by their lineage.
        """
        task.values = None
        task.retained = self._lasting(task)
        if not task.retained:
            self.release(task)
            return
        values: list[int] = []
        lineages: list[int] = []
        for object_id in (*task.deps, *task.refs):
            row = self.rows[object_id]
            if type(row.value) is Stored:
                row.lineage += 1
                lineages.append(object_id)
            else:
                values.append(object_id)
        task.pins = (values, lineages)
        self.drop(lineages)

    def _lasting(self, task: TaskRecord) -> int:
        rows = self.rows
        count = 0
        for object_id in range(task.id, task.id + task.returns):
            row = rows.get(object_id)
            count += row is not None and row.task is task
        return count

    def release(self, task: TaskRecord) -> None:
        """The task will never run again: drop what it held."""
        self._forget_arguments(task)
        if task.deps:
            self.drop(task.deps)
        if task.refs:
            self.drop(task.refs)

    def unsettle(self, task: TaskRecord) -> list[ObjectRecord]:
        """A retained task runs again: it holds its arguments as before.

        Returns:
            Those of its arguments whose values were freed meanwhile: they must be made anew.
        """
        assert task.pins is not None
        (_, lineages), task.pins = task.pins, None
        missing = []
        for object_id in lineages:
            row = self.rows[object_id]
            row.refs += 1
            row.lineage -= 1
            if row.freed:
                self.lose(row)
                missing.append(row)
        return missing


def size_of(value: Value | Arguments) -> int:
    """The bytes that travel in messages, and that the hub keeps."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Chunk):
        return sum(map(len, value.items))
    return 0


def gone(object_id: int) -> Failure:
    """Why there is no value of an object that the cluster does not know."""
    return Failure(
        "object_lost",
        f"object {object_id:016x} is not known to the cluster: its last reference is gone, or it "
        "belongs to another cluster. Keep a reference to it for as long as it is needed.",
    )


def lost(name: str, object_id: int, why: str) -> Failure:
    """Why a lost value could not be rebuilt."""
    of = f" (made by {name})" if name else ""
    return Failure(
        "object_lost",
        f"the value of object {object_id:016x}{of} was lost and could not be rebuilt: {why}.",
        b"",
        object_id,
    )
