"""The books of an inline session: objects, tasks and jobs. No user code runs here."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType

from parallax.core.jobs import JobRecord, JobTable
from parallax.core.objects import gone
from parallax.ids import counter
from parallax.messages import Failure, JobOpened, TaskSpec
from parallax.serial.envelope import seal
from parallax.serial.values import Packed, pack
from parallax.sessions.inline.groups import InlineGroups
from parallax.sessions.inline.objects import InlineObjects
from parallax.sessions.inline.tasks import InlineStream, InlineTask, running
from parallax.sessions.protocol import Call

ENGINE = 1
"""The number of the only engine: this process."""
MAX_TIMELINE = 100_000


class InlineBook:
    """Every change is made under `changed`, which tells those who wait. Thread-safe."""

    def __init__(self, resources: Mapping[str, float]) -> None:
        self.groups = InlineGroups(resources)
        self.changed = threading.Condition(threading.RLock())
        self.objects = InlineObjects()
        self.tasks: dict[int, InlineTask] = {}
        """Those that have not ended."""
        self.streams: dict[int, InlineStream] = {}
        """Those that somebody reads, whether they have ended or not."""
        self.jobs = JobTable()
        self.timeline: deque[tuple[str, int, int, int, float, float]] = deque(maxlen=MAX_TIMELINE)
        self._ids = counter(1)
        self._calls: dict[int, Call] = {}
        """Of tasks that have failed and may be run again."""

    def open_job(self, name: str, cell: str, source: str) -> int:
        """A new job."""
        with self.changed:
            job = next(self._ids)
            self.jobs.open(JobOpened(job, name, cell, source, time.time()), 1, time.monotonic())
        return job

    def new_object(self, packed: Packed, job: int = 0) -> int:
        """A new object, with one holder."""
        with self.changed:
            object_id = next(self._ids)
            self.objects.expect(object_id, job)
            self.objects.complete(object_id, packed)
        return object_id

    def new_group(self, bundles: Sequence[Mapping[str, float]], strategy: str, name: str) -> int:
        """A new placement group, and the object that stands for it, with one holder.

        Raises:
            UsageError: there is no room for it.
        """
        with self.changed:
            self.groups.check(bundles, strategy)
            group = self.new_object(pack(None))
            self.groups.add(group, bundles, strategy, name)
        return group

    # ---- tasks ------------------------------------------------------------------------------

    def accept(
        self, call: Call, job: JobRecord, seed: int, packed: Packed, deps: Sequence[int]
    ) -> InlineTask:
        """A new task whose arguments are all there. It has failed already where one of them has.

        Args:
            packed: the arguments; `deps` are the refs among them.
        """
        kind = InlineStream if call.streaming else InlineTask
        parent = running.get()
        with self.changed:
            rows = [self.objects.rows.get(object_id) for object_id in deps]
            data = seal(packed.data, packed.buffers) if packed.buffers else packed.data
            spec = TaskSpec(next(self._ids), 0, data, list(deps), packed.refs, seed)
            values = [row.value for row in rows if row and isinstance(row.value, bytes)]
            task = kind(spec, call, job, values, parent.id if parent else 0)
            for _ in task.ids[1:]:
                next(self._ids)
            for object_id in task.ids:
                self.objects.expect(object_id, job.id)
            for object_id in (*spec.deps, *spec.refs):
                self.objects.hold(object_id)
            task.counts.pending += 1
            self.tasks[task.id] = task
            if isinstance(task, InlineStream):
                self.streams[task.id] = task
            for object_id, row in zip(deps, rows, strict=True):
                if row is None:
                    self.fail(task, gone(object_id))
                elif isinstance(row.value, Failure):
                    self.fail(task, row.value, row.traceback)
        return task

    def finish(self, task: InlineTask, values: Sequence[Packed]) -> None:
        """The task has returned."""
        with self.changed:
            if task.id not in self.tasks:
                return
            for object_id, packed in zip(task.ids, values, strict=True):
                self.objects.complete(object_id, packed)
            task.counts.done += 1
            self._leave(task)

    def fail(
        self, task: InlineTask, failure: Failure, traceback: TracebackType | None = None
    ) -> None:
        """The task has ended without results."""
        with self.changed:
            if task.id not in self.tasks:
                return
            for object_id in task.ids:
                self.objects.fail(object_id, failure, traceback)
            if isinstance(task, InlineStream):  # the error is the last item
                self.objects.expect(task.id, task.job.id)
                self.objects.fail(task.id, failure, traceback)
                task.item_ids.append(task.id)
            if failure.kind == "cancelled":
                task.counts.cancelled += 1
            else:
                task.counts.failed += 1
                task.job.fail(task.spec, task.call.name, failure)
                if task.job.errors[-1].spec is task.spec:  # there was room for it
                    self._calls[task.id] = task.call
            self._leave(task)

    def cancelled(self, task: InlineTask) -> None:
        """The task has ended because somebody wanted so."""
        self.fail(task, Failure("cancelled", f"{task.call.name} was cancelled", b"", task.id))

    def _leave(self, task: InlineTask) -> None:
        del self.tasks[task.id]
        task.counts.pending -= 1
        for object_id in (*task.spec.deps, *task.spec.refs):
            self.objects.drop(object_id)
        self.jobs.touch(task.job)
        self.jobs.settle(time.monotonic())
        self.changed.notify_all()

    def note_time(self, task: InlineTask, started_at: float, duration_s: float) -> None:
        """The task has run for so long."""
        task.counts.seconds += duration_s
        row = (task.call.name, task.id, task.job.id, ENGINE, started_at, duration_s)
        self.timeline.append(row)

    def take_failed(self, job: int) -> list[tuple[TaskSpec, Call]]:
        """The failed tasks of a job, in the order of submission: they will be submitted anew."""
        with self.changed:
            record = self.jobs[job]
            calls = ((failed.spec, self._calls[failed.spec.id]) for failed in record.errors)
            taken = [(spec, call) for spec, call in calls if not call.streaming]
            for spec, _ in taken:
                del self._calls[spec.id]
            record.retried(spec.id for spec, _ in taken)
        return sorted(taken, key=lambda pair: pair[0].id)

    def task_of(self, object_id: int) -> InlineTask | None:
        """The task that will make this object, None when there is none or it has ended."""
        return next((task for task in self.tasks.values() if task.makes(object_id)), None)

    # ---- objects ----------------------------------------------------------------------------

    def is_ready(self, object_id: int) -> bool:
        """Whether the object has a value, or never will."""
        row = self.objects.rows.get(object_id)
        return row is None or row.value is not None

    def clear(self) -> None:
        """The session is over."""
        with self.changed:
            self.tasks.clear()
            self.streams.clear()
            self.objects = InlineObjects()
            self.changed.notify_all()
