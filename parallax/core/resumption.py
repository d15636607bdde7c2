"""Durable tasks that an earlier hub has left: they go on before anybody is let in.

Each is submitted by the same message that a client would have sent. The client here is the hub
itself, under a number that no peer has. What the earlier hub has promised to keep is kept when it
is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from parallax.core.durables import Durables
from parallax.core.jobs import JobRecord, JobTable
from parallax.core.journal import (
    DurableTask,
    DurableTemplate,
    Graph,
    JournalAttached,
    Journalled,
    Resume,
    key_of_return,
)
from parallax.core.journal_desk import JournalDesk
from parallax.core.keeps import Keeps
from parallax.core.objects import HUB, ObjectTable
from parallax.core.records import PeerRecord, Template
from parallax.core.tasks import TaskTable
from parallax.core.templates import TemplateTable
from parallax.errors import ProtocolError
from parallax.messages import Failure, JobOpened, Stored, TaskSpec


class Resumption:
    """Submits what the journal tells of, once.

    Args:
        durables: tracks what is submitted, under the keys that it has in the journal.
        keeps: keeps what was promised.
        ids: of what the hub itself makes.
    """

    def __init__(
        self,
        durables: Durables,
        keeps: Keeps,
        tasks: TaskTable,
        objects: ObjectTable,
        templates: TemplateTable,
        jobs: JobTable,
        desk: JournalDesk,
        ids: Iterator[int],
    ) -> None:
        self._durables = durables
        self._keeps = keeps
        self._tasks = tasks
        self._objects = objects
        self._templates = templates
        self._jobs = jobs
        self._desk = desk
        self._ids = ids
        self._hub = PeerRecord(HUB, "client", 0, "hub", owner=False)
        self._known: dict[str, int] = {}
        """Objects by their keys in the journal."""
        self._lost: list[int] = []
        """Those that stand for what is not there."""

    def begin(self, attached: JournalAttached, now: float) -> None:
        """There is a journal that lasts: use it, and go on with the tasks that it knows."""
        self._durables.begin(attached.cluster)
        self._keeps.key_of = self._durables.key_of
        if attached.used:
            self._desk.tell(Resume(), lambda done: self._resume(done, attached.at, now))

    def _resume(self, done: Journalled, at: float, now: float) -> None:
        graph = done.answer
        if not isinstance(graph, Graph):
            assert done.failure is not None
            self._durables.refuse(done.failure.message)
            return
        for key, value in graph.values:
            object_id = self._known[key] = next(self._ids)
            self._objects.put(object_id, self._hub, value, [])
            self._durables.resume_value(object_id, key)
        templates = {told.key: self._define(told) for told in graph.templates}
        jobs: dict[tuple[str, str], JobRecord] = {}
        for task in graph.tasks:
            name = task.job, task.namespace
            if name not in jobs:
                opened = JobOpened(next(self._ids), task.job, "", "", at, task.namespace)
                jobs[name] = self._jobs.open(opened, HUB, now)
            self._submit(task, jobs[name], templates.get(task.template))
        for promise in graph.promises:
            self._keeps.resume(promise.name, promise.job, self._object(promise.key))
        self._durables.resumed()
        for object_id in self._lost:
            self._objects.complete(self._objects.rows[object_id], LOST)
        # What was submitted holds what it needs.
        self._objects.client_drops(self._hub, list(self._hub.held))
        self._jobs.forget_templates(self._templates.forget(self._hub))
        self._known, self._lost = {}, []

    def _define(self, told: DurableTemplate) -> Template | None:
        for key, data in told.blobs:
            self._templates.define_blob(self._hub, key, data)
        captured = [self._object(key) for key in told.captured]
        spec = replace(told.template, template=next(self._ids), captured=captured)
        try:
            self._templates.define(self._hub, spec)
        except ProtocolError:  # written by something else: its tasks are lost, others are not
            return None
        template = self._templates.rows[spec.template]
        self._durables.resume_template(template, told.key)
        return template

    def _submit(self, told: DurableTask, job: JobRecord, template: Template | None) -> None:
        ids = [next(self._ids) for _ in range(max(told.returns, 1))]
        for index, object_id in enumerate(ids):
            self._known[key_of_return(told.key, index)] = object_id
        if template is None:
            for object_id in ids[: told.returns]:
                self._lose(object_id)
        else:
            deps = [self._object(key) for key in told.deps]
            args, refs = self._arguments(told)
            if args is None:  # to wait for what is not there has it fail
                args, deps, refs = b"", refs, []
            spec = TaskSpec(ids[0], template.id, args, deps, refs, told.seed)
            self._tasks.submit(self._hub, job, 0, [spec], {template.id: template})
        self._durables.resume_task(ids[0], told.returns, told.key)

    def _arguments(self, told: DurableTask) -> tuple[bytes | Stored | None, list[int]]:
        """The arguments, None if they are not there, and the object that holds them."""
        if not told.large:
            return told.args, []
        holder = self._object(told.large)
        value = self._objects.rows[holder].value
        return (value if isinstance(value, bytes | Stored) else None), [holder]

    def _object(self, key: str) -> int:
        """The object of this key; one that will fail when the journal does not have it."""
        object_id = self._known.get(key)
        if object_id is None:
            object_id = self._known[key] = next(self._ids)
            self._lose(object_id)
        return object_id

    def _lose(self, object_id: int) -> None:
        self._objects.promise(object_id, self._hub)
        self._lost.append(object_id)


LOST = Failure(
    "object_lost",
    "a durable task was to go on after the end of its pool, but a value that it takes had not been "
    "written: it was to come from a task that is not durable, or contained references. Submit "
    "both again, with durable=True.",
)
