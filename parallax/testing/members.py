"""Simulated members of a cluster: what drivers and engines have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from parallax.ids import counter
from parallax.messages import (
    CALL,
    CONSTRUCTOR,
    ActorCreated,
    BlobDefined,
    CallsSubmitted,
    CancelRequested,
    Chunk,
    Failure,
    FromHub,
    GroupCreated,
    GroupRemoved,
    Hello,
    ItemReady,
    ItemsConsumed,
    KillRequested,
    ObjectMissing,
    ObjectPut,
    ObjectsReady,
    ObjectsWanted,
    RefsChanged,
    SegmentsFreed,
    Stored,
    TaskSpec,
    TasksSubmitted,
    TemplateDefined,
    TemplatesDropped,
    ToHub,
    Value,
)
from parallax.testing.programs import Large, Options, Raised, Ref, Work, refs_in
from parallax.testing.world import Wire

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

PROTOCOL, VERSION, PYTHON = 1, "simulated", "3"
BATCH = 500
"""Tasks in one message."""


class Member:
    """A process that is a client of the hub: it submits, holds references and gets values."""

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
        self._submissions: TasksSubmitted | None = None
        self._ids = counter(self.peer)
        self._calls: dict[int, int] = {}
        """Calls that were made, by actor."""
        self._templates: dict[tuple[Any, ...], tuple[int, Options]] = {}
        self._waiting: dict[int, list[Callable[[], None]]] = {}
        self.to_hub.send(
            Hello(PROTOCOL, VERSION, PYTHON, role, "", 1000 + self.peer, "host", number=number)
        )

    def send(self, message: ToHub) -> None:
        """Say something to the hub."""
        self._flush_submissions()
        if self.alive:
            self.to_hub.send(message)

    def leave(self, *, keep: int | None = None) -> None:
        """End. Of what is under way to the hub only the first `keep` messages arrive."""
        self._flush_submissions()
        self.alive = False
        self.to_hub.cut(keep=keep)
        self.from_hub.cut(keep=0)

    # ---- submitting -----------------------------------------------------------------------

    def submit_task(
        self,
        job: int,
        parent: int,
        work: Work,
        args: Sequence[Ref],
        refs: Sequence[Ref],
        options: Options,
        *,
        bulky: bool = False,
    ) -> list[Ref]:
        """Submit one call; the refs of its return values, of a streaming one that of the task."""
        code = self.cluster.program(work)
        call = self.cluster.encode(self, Large(code)) if bulky else code
        assert not isinstance(call, Failure)
        template = self._template(options)
        ids = self._take_ids(1 if options.streaming else max(options.num_returns, 1))
        if options.streaming:
            self.streams[ids[0]] = []
            self.pending += 1
        elif options.num_returns:
            self._hold(ids)
        spec = TaskSpec(ids[0], template, call, _ids_of(args), _ids_of(refs))
        self._submit(TasksSubmitted(job, parent, [spec]), returns=ids[0] in self.held)
        return [Ref(i) for i in ids]

    def submit_chunk(
        self, job: int, parent: int, works: Sequence[Work], options: Options, args: Sequence[Ref]
    ) -> list[Ref]:
        """Submit several calls as one task; one ref a call."""
        ids = self._take_ids(len(works))
        self._hold(ids)
        items = [self.cluster.program(work) for work in works]
        spec = TaskSpec(ids[0], self._template(options), Chunk(items), _ids_of(args))
        self._submit(TasksSubmitted(job, parent, [spec]), returns=True)
        return [Ref(i) for i in ids]

    def create_actor(
        self, job: int, parent: int, work: Work, args: Sequence[Ref], options: Options, **how: Any
    ) -> Ref:
        """Make an actor; its handle.

        Args:
            how: fields of `ActorCreated`.
        """
        code = self.cluster.program(work)
        options.role = CONSTRUCTOR
        template = self._template(options)
        (actor,) = self._take_ids(1)
        self._hold([actor])
        message = ActorCreated(job, parent, TaskSpec(actor, template, code, _ids_of(args)), **how)
        self.send(message)
        if self.cluster.chance(self.cluster.faults.duplicate):
            self.send(message)
        return Ref(actor)

    def call_actor(
        self,
        job: int,
        parent: int,
        actor: Ref,
        work: Work,
        args: Sequence[Ref],
        refs: Sequence[Ref],
        options: Options,
    ) -> Ref:
        """Call an actor; the ref of the call's value, or of its stream."""
        options.role = CALL
        template = self._template(options)
        (call,) = self._take_ids(1)
        if options.streaming:
            self.streams[call] = []
            self.pending += 1
        elif options.num_returns:
            self._hold([call])
        spec = TaskSpec(call, template, self.cluster.program(work), _ids_of(args), _ids_of(refs))
        number = self._calls.get(actor.id, 0)
        self._calls[actor.id] = number + 1
        message = CallsSubmitted(job, parent, actor.id, number, [spec])
        self.cluster.called(self, message)
        self.send(message)
        if self.cluster.chance(self.cluster.faults.duplicate):
            self.send(message)
        return Ref(call)

    def kill_actor(self, actor: Ref, *, restart: bool = False) -> None:
        """End an actor's process."""
        self.send(KillRequested(actor.id, restart))

    def create_group(
        self, job: int, bundles: Sequence[dict[str, float]], strategy: str, *, detached: bool
    ) -> Ref:
        """Make a placement group; the ref of the object that is ready when it is."""
        (group,) = self._take_ids(1)
        self._hold([group])
        message = GroupCreated(job, group, list(bundles), strategy, detached=detached)
        self.send(message)
        if self.cluster.chance(self.cluster.faults.duplicate):
            self.send(message)
        return Ref(group)

    def remove_group(self, group: Ref) -> None:
        """End a placement group."""
        self.send(GroupRemoved(group.id))

    def put(self, value: Any) -> Ref:
        """Make an object of a value."""
        (object_id,) = self._take_ids(1)
        wire_value = self.cluster.encode(self, value)
        self.values[object_id] = wire_value
        self._hold([object_id])
        self.send(ObjectPut(object_id, wire_value, refs_in(value)))
        return Ref(object_id)

    def cancel(
        self,
        *refs: Ref,
        force: bool = False,
        recursive: bool = True,
        grace_s: float = -1.0,
    ) -> None:
        """Cancel the tasks that make these objects."""
        self.send(CancelRequested(_ids_of(refs), force, recursive, grace_s))

    def consumed(self, stream: Ref, count: int) -> None:
        """The first `count` items of a stream have been taken."""
        self.send(ItemsConsumed(stream.id, count))

    def _submit(self, message: TasksSubmitted, *, returns: bool) -> None:
        self.cluster.submitted(self, message)
        last = self._submissions
        if last is not None and (last.job, last.parent) == (message.job, message.parent):
            last.tasks += message.tasks
        else:
            self._flush_submissions()
            self._submissions = message
            self.cluster.world.after(0.0, self._flush_submissions)
        # A task is known by its objects; the hub has no memory of one without, once it has ended.
        if returns and self.cluster.chance(self.cluster.faults.duplicate):
            self.send(message)

    def _flush_submissions(self) -> None:
        """What was submitted at one time travels together."""
        message, self._submissions = self._submissions, None
        if message is not None and self.alive:
            for start in range(0, len(message.tasks), BATCH):
                tasks = message.tasks[start : start + BATCH]
                self.to_hub.send(TasksSubmitted(message.job, message.parent, tasks))
            faults = self.cluster.faults
            # A late copy of a submission would name a template that is not there any more.
            may_forget = self._templates and not faults.duplicate
            if may_forget and self.cluster.chance(faults.forgetful):
                number, options = self._templates.pop(next(iter(self._templates)))
                self.to_hub.send(TemplatesDropped([number], [options.name.encode()]))

    def _template(self, options: Options) -> int:
        known = self._templates.get(options.key)
        if known is not None:
            return known[0]
        (template,) = self._take_ids(1)
        self._templates[options.key] = template, options
        code = options.name.encode()
        self.send(BlobDefined(code, b"..."))
        self.send(
            TemplateDefined(
                template,
                options.name,
                code,
                demand=options.demand,
                num_returns=options.num_returns,
                streaming=options.streaming,
                backpressure=options.backpressure,
                max_retries=options.max_retries,
                retry_exceptions=options.retry_exceptions,
                timeout_s=options.timeout_s,
                max_calls=options.max_calls,
                spread=options.spread,
                affinity=options.affinity,
                affinity_soft=options.affinity_soft,
                role=options.role,
                group=options.group,
                bundle=options.bundle,
                capture=options.capture,
            )
        )
        return template

    def _take_ids(self, count: int) -> list[int]:
        return [next(self._ids) for _ in range(count)]

    # ---- references -----------------------------------------------------------------------

    def _hold(self, ids: Iterable[int]) -> None:
        for object_id in ids:
            count = self.held.get(object_id, 0)
            self.held[object_id] = count + 1
            self.pending += not count and object_id not in self.values

    def adopt(self, ids: Iterable[int]) -> None:
        """References that came from elsewhere."""
        ids = list(ids)
        new = [i for i in dict.fromkeys(ids) if i not in self.held]
        self._hold(ids)
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
            self.send(ObjectsWanted(_ids_of(refs)))

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
            return self.cluster.decode(value)
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
            self._hold([message.id])
            self.on_item(message.task, message.id)

    def on_item(self, task: int, object_id: int) -> None:
        """A stream of this process has a new item."""


def _ids_of(refs: Iterable[Ref]) -> list[int]:
    return [ref.id for ref in refs]
