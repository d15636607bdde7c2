"""Simulated members that submit: what drivers and engines say to make tasks and objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from parallax.messages import (
    CALL,
    CONSTRUCTOR,
    ActorCreated,
    BlobDefined,
    CallsSubmitted,
    CancelRequested,
    Chunk,
    Failure,
    GroupCreated,
    GroupRemoved,
    ItemsConsumed,
    KillRequested,
    ObjectPut,
    TaskSpec,
    TasksSubmitted,
    TemplateDefined,
    TemplatesDropped,
    ToHub,
)
from parallax.testing.members import Member, ids_of
from parallax.testing.programs import Large, Options, Ref, Work, refs_in

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

BATCH = 500
"""Tasks in one message."""


class Submitter(Member):
    """A process that submits tasks, makes actors, groups and objects, and cancels."""

    def __init__(self, cluster: Cluster, role: str, *, number: int = 0, node: int = 0) -> None:
        super().__init__(cluster, role, number=number, node=node)
        self._submissions: TasksSubmitted | None = None
        self._calls: dict[int, int] = {}
        """Calls that were made, by actor."""
        self._templates: dict[tuple[Any, ...], tuple[int, Options]] = {}

    def send(self, message: ToHub) -> None:
        self._flush_submissions()
        super().send(message)

    def leave(self, *, keep: int | None = None) -> None:
        self._flush_submissions()
        super().leave(keep=keep)

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
            self.hold(ids)
        spec = TaskSpec(ids[0], template, call, ids_of(args), ids_of(refs))
        self._submit(TasksSubmitted(job, parent, [spec]), returns=ids[0] in self.held)
        return [Ref(i) for i in ids]

    def submit_chunk(
        self, job: int, parent: int, works: Sequence[Work], options: Options, args: Sequence[Ref]
    ) -> list[Ref]:
        """Submit several calls as one task; one ref a call."""
        ids = self._take_ids(len(works))
        self.hold(ids)
        items = [self.cluster.program(work) for work in works]
        spec = TaskSpec(ids[0], self._template(options), Chunk(items), ids_of(args))
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
        actor = self.new_id()
        self.hold([actor])
        message = ActorCreated(job, parent, TaskSpec(actor, template, code, ids_of(args)), **how)
        self.send(message)
        if self.cluster.repeats():
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
        call = self.new_id()
        if options.streaming:
            self.streams[call] = []
            self.pending += 1
        elif options.num_returns:
            self.hold([call])
        spec = TaskSpec(call, template, self.cluster.program(work), ids_of(args), ids_of(refs))
        number = self._calls.get(actor.id, 0)
        self._calls[actor.id] = number + 1
        message = CallsSubmitted(job, parent, actor.id, number, [spec])
        self.cluster.called(self, message)
        self.send(message)
        if self.cluster.repeats():
            self.send(message)
        return Ref(call)

    def kill_actor(self, actor: Ref, *, restart: bool = False) -> None:
        """End an actor's process."""
        self.send(KillRequested(actor.id, restart))

    def create_group(
        self, job: int, bundles: Sequence[dict[str, float]], strategy: str, *, detached: bool
    ) -> Ref:
        """Make a placement group; the ref of the object that is ready when it is."""
        group = self.new_id()
        self.hold([group])
        message = GroupCreated(job, group, list(bundles), strategy, detached=detached)
        self.send(message)
        if self.cluster.repeats():
            self.send(message)
        return Ref(group)

    def remove_group(self, group: Ref) -> None:
        """End a placement group."""
        self.send(GroupRemoved(group.id))

    def put(self, value: Any) -> Ref:
        """Make an object of a value."""
        object_id = self.new_id()
        wire_value = self.cluster.encode(self, value)
        self.values[object_id] = wire_value
        self.hold([object_id])
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
        self.send(CancelRequested(ids_of(refs), force, recursive, grace_s))

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
        if returns and self.cluster.repeats():
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
        template = self.new_id()
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
        return [self.new_id() for _ in range(count)]
