"""Jobs: what groups the tasks of one cell or script. Counts, bounded output, bounded errors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from parallax.messages import Failure, JobOpened, TaskSpec

if TYPE_CHECKING:
    from parallax.core.ready import Lane, Shape
    from parallax.core.records import Group, Template

MAX_OUTPUT_BYTES = 256 * 1024
"""Of a job's printed text that the hub keeps: the newest."""
MAX_PRINTS = 4096
"""Pieces of it, however short: each costs far more than its text."""
MAX_ERRORS = 100
"""Errors kept of one job: the first ones, which most often are the cause of the others."""
MAX_FINISHED_JOBS = 200
"""Finished jobs that the hub remembers."""


class FunctionCounts:
    """How many tasks of one function are where."""

    __slots__ = ("cancelled", "done", "failed", "pending", "retried", "seconds")

    def __init__(self) -> None:
        self.pending = 0
        self.done = 0
        self.failed = 0
        self.cancelled = 0
        self.retried = 0
        self.seconds = 0.0

    def row(self) -> dict[str, Any]:
        """As plain data, for a snapshot."""
        return {name: getattr(self, name) for name in self.__slots__}


class FailedCall(NamedTuple):
    """A task that has failed for good."""

    spec: TaskSpec
    """What to submit to run it again."""
    function: str
    failure: Failure
    tasks: int
    """How many it stands for: the items of a chunk."""
    template: Template | None
    """Kept even if its client needs it no more."""


class JobRecord:
    """One job."""

    __slots__ = (
        "cell",
        "counts",
        "ended_at",
        "errors",
        "groups",
        "id",
        "lanes",
        "name",
        "namespace",
        "opened_at",
        "output",
        "output_bytes",
        "owner",
        "source",
        "started_at",
        "used_s",
    )

    def __init__(self, opened: JobOpened, owner: int, now: float) -> None:
        self.id = opened.job
        self.name = opened.name
        self.cell = opened.cell
        self.source = opened.source
        self.namespace = opened.namespace
        self.owner = owner
        self.started_at = opened.started_at or now
        """By the client's clock, in seconds since the epoch."""
        self.opened_at = now
        self.ended_at = 0.0
        """Like `opened_at` by the clock of the machine; of no meaning while tasks are pending."""
        self.used_s = 0.0
        """Engine time it has had, as far as that matters for whose turn it is."""
        self.groups: dict[tuple[int, int, Shape], Group] = {}
        """By template, depth and shape."""
        self.lanes: dict[tuple[Shape, int], Lane] = {}
        """By shape and depth."""
        self.counts: dict[str, FunctionCounts] = {}
        self.errors: list[FailedCall] = []
        self.output: deque[tuple[int, str, str]] = deque()
        self.output_bytes = 0

    def of(self, function: str) -> FunctionCounts:
        """The counts of one function, made at its first task."""
        counts = self.counts.get(function)
        if counts is None:
            counts = self.counts[function] = FunctionCounts()
        return counts

    def print(self, task: int, stream: str, text: str) -> None:
        """Keep a piece of output; the oldest goes when there is too much."""
        self.output.append((task, stream, text))
        self.output_bytes += len(text)
        while len(self.output) > MAX_PRINTS or (
            self.output_bytes > MAX_OUTPUT_BYTES and len(self.output) > 1
        ):
            self.output_bytes -= len(self.output.popleft()[2])

    def fail(
        self,
        spec: TaskSpec,
        function: str,
        failure: Failure,
        tasks: int = 1,
        template: Template | None = None,
    ) -> None:
        """Keep an error, and what could run its task again, when there is room.

        Args:
            function: by the name of which it counts.
            tasks: how many it stands for: the items of a chunk.
            template: kept with it, where there are templates.
        """
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(FailedCall(spec, function, failure, tasks, template))

    def retried(self, tasks: Iterable[int]) -> None:
        """These failed tasks were submitted anew, under other ids: forget their errors."""
        again = set(tasks)
        for call in self.errors:
            if call.spec.id in again:
                counts = self.of(call.function)
                counts.failed -= call.tasks
                counts.retried += call.tasks
        self.errors = [call for call in self.errors if call.spec.id not in again]

    @property
    def pending(self) -> int:
        """Tasks that have not ended; of a chunk each item."""
        return sum(counts.pending for counts in self.counts.values())

    @property
    def state(self) -> str:
        """``running`` while tasks are pending, then ``failed``, ``cancelled`` or ``done``."""
        if self.pending:
            return "running"
        if any(c.failed for c in self.counts.values()):
            return "failed"
        if any(c.cancelled for c in self.counts.values()):
            return "cancelled"
        return "done"

    def _ended_at(self) -> float:
        """By the client's clock; 0 while there is, or was, nothing to end."""
        if self.pending or not self.ended_at:
            return 0.0
        return self.started_at + self.ended_at - self.opened_at

    def snapshot(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "cell": self.cell,
            "source": self.source,
            "owner": self.owner,
            "started_at": self.started_at,
            "ended_at": self._ended_at(),
            "counts": {name: counts.row() for name, counts in self.counts.items()},
        }


class JobTable:
    """All jobs of the cluster, oldest first; the oldest finished ones are forgotten."""

    def __init__(self) -> None:
        self._jobs: dict[int, JobRecord] = {}
        self._touched: dict[JobRecord, None] = {}
        self._forget_at = 2 * MAX_FINISHED_JOBS

    def __getitem__(self, job: int) -> JobRecord:
        return self._jobs[job]

    def get(self, job: int) -> JobRecord | None:
        """The job of this id, or None."""
        return self._jobs.get(job)

    def open(self, opened: JobOpened, owner: int, now: float) -> JobRecord:
        """Make the job, or return the one of this id."""
        job = self._jobs.get(opened.job)
        if job is None:
            job = self._jobs[opened.job] = JobRecord(opened, owner, now)
            if len(self._jobs) > self._forget_at:
                self._forget()
        return job

    def all(self) -> list[JobRecord]:
        """Newest first."""
        return list(reversed(self._jobs.values()))

    def touch(self, job: JobRecord) -> None:
        """One of its functions has no pending tasks any more."""
        self._touched[job] = None

    def settle(self, now: float) -> None:
        """Note which jobs have ended. Called once after each batch of events."""
        if self._touched:
            for job in self._touched:
                if not job.pending:
                    job.ended_at = now
            self._touched = {}

    def forget_templates(self, templates: Iterable[Template]) -> None:
        """No tasks of these will be submitted any more; those that there are go on."""
        for template in templates:
            for number, key in template.uses:
                job = self._jobs.get(number)
                if job is not None:
                    job.groups.pop(key, None)
            template.uses.clear()

    def _forget(self) -> None:
        finished = [job for job in self._jobs.values() if not job.pending]
        for job in finished[:-MAX_FINISHED_JOBS]:
            del self._jobs[job.id]
            for key, group in job.groups.items():
                group.template.uses.discard((job.id, key))
            job.groups.clear()
            job.lanes.clear()
        # Many running jobs must not make every new one count them all.
        self._forget_at = len(self._jobs) + MAX_FINISHED_JOBS
