"""Jobs: what one cell, one script, or one `with job(...)` has submitted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from parallax.api.checks import check_timeout
from parallax.errors import ClusterLostError, UsageError
from parallax.ids import hex_id
from parallax.messages import Failure
from parallax.refs import ObjectRef, ObjectRefGenerator
from parallax.reprs import Rows, as_code, as_table, duration
from parallax.sessions.current import current, current_of
from parallax.sessions.jobs import named_job
from parallax.sessions.protocol import Session


class Job:
    """One job: what a cell, a script or a ``with job(...)`` block has submitted.

    Whatever you look at is fetched anew, in one round trip to the hub. Thread-safe; it can be
    passed to tasks of the same cluster.

        >>> import parallax as px
        >>> with px.job("doubling") as doubling:
        ...     refs = px.remote(lambda x: 2 * x).map(range(3))
        >>> doubling.results()
        [0, 2, 4]
        >>> doubling.name, doubling.state, doubling.counts["done"]
        ('doubling', 'done', 3)

    Raises:
        ClusterLostError: (anything that is asked of it) its session is over.
        UsageError: it is forgotten: the hub keeps the newest finished jobs only.
    """

    def __init__(self, number: int, session: Session) -> None:
        self._number = number
        self._session = session

    @property
    def id(self) -> str:
        """16 hexadecimal digits."""
        return hex_id(self._number)

    @property
    def name(self) -> str:
        """What `job` was given, or the cell or script."""
        return str(self._row()["name"])

    @property
    def state(self) -> str:
        """``running`` while tasks are pending, then ``failed``, ``cancelled`` or ``done``."""
        return str(self._row()["state"])

    @property
    def cell(self) -> str:
        """The id of the notebook cell, empty outside of notebooks."""
        return str(self._row()["cell"])

    @property
    def counts(self) -> dict[str, int]:
        """Tasks by state: pending, running, done, failed, cancelled, retried."""
        return totals_of(self._row())

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""
        return float(self._row()["started_at"])

    @property
    def duration_s(self) -> float:
        """Seconds from its start to its end, or to now; 0 when nothing was submitted."""
        return _duration_s(self._row())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no task of the job is pending. Blocks; errors of tasks do not raise.

        Args:
            timeout: seconds to wait at most; 0 only looks; None waits for ever.

        Returns:
            Whether all have ended; False when the time was over first.
        """
        timeout_s = check_timeout(timeout)
        with self._known():
            return self._session.wait_job(self._number, timeout_s)

    def cancel(self) -> None:
        """Cancel all its tasks that have not ended, and what they have submitted.

        Returns at once; `wait` tells when they have ended. Tasks that ended stay as they are.
        """
        if tasks := self._ask("job_tasks"):
            self._session.cancel(tasks, force=False, recursive=True)

    def results(self, timeout: float | None = None) -> list[Any]:
        """The values that its tasks have returned, in the order of submission; waits for them.

        Of the tasks that this process has submitted; what they have submitted in turn does not
        count, nor do streaming tasks. Values live as long as somebody has a ref.

        Args:
            timeout: seconds to wait at most.

        Raises:
            TaskError: a task raised, as `get` does.
            ObjectLostError: nobody has a ref to one of them any more.
            GetTimeoutError: not all were there in time.
        """
        timeout_s = check_timeout(timeout)
        session = self._session
        refs = [session.ref(number) for number in session.results_of(self._number)]
        return session.get(refs, timeout_s)

    def retry_failed(self) -> list[ObjectRef[Any]]:
        """Run its failed tasks again, with the arguments that they had. Returns at once.

        Tasks that failed because another one did run on the new value of that one. Streaming tasks
        stay as they are, and so do failures beyond the first 100. An argument that nobody has a
        ref to any more is gone; its task fails again, with `ObjectLostError`.

        Returns:
            One ref for each value that the tasks return, in the order of submission. Refs to the
            failed tasks stay what they are.
        """
        with self._known():
            return self._session.retry_failed(self._number)

    def errors(self) -> list[BaseException]:
        """The errors of its failed tasks: the first 100."""
        from parallax.pool.failures import to_error  # late: few processes need it

        return [
            to_error(msgspec.convert(failure, Failure)) for _, _, failure in self._ask("job_errors")
        ]

    def output(self) -> str:
        """What its tasks have printed: the newest part."""
        return "".join(text for _, _, text in self._ask("job_output"))

    def _row(self) -> dict[str, Any]:
        row: dict[str, Any] = self._ask("job")
        return row

    def _ask(self, what: str) -> Any:
        with self._known():
            return self._session.ask(what, self._number)

    @contextmanager
    def _known(self) -> Iterator[None]:
        try:
            yield
        except LookupError:
            raise UsageError(
                f"the job {self.id} is forgotten: the cluster remembers the newest finished jobs."
            ) from None

    def _cells(self) -> tuple[Any, ...]:
        try:
            row = self._row()
        except (ClusterLostError, UsageError):
            return self.id, "out of reach"
        return row["name"], row["state"], duration(_duration_s(row)), *totals_of(row).values()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._number, self._session.cluster)

    def __repr__(self) -> str:
        try:
            row = self._row()
        except ClusterLostError:
            return f"<job {self.id}: its session is closed>"
        except UsageError:
            return f"<job {self.id}: forgotten>"
        counts = ", ".join(f"{n} {state}" for state, n in totals_of(row).items() if n)
        took = f"{'for' if row['state'] == 'running' else 'in'} {duration(_duration_s(row))}"
        return f"<job {row['name']!r} {row['state']} {took}: {counts or 'no tasks'}>"

    def _repr_html_(self) -> str:
        try:
            row = self._row()
        except (ClusterLostError, UsageError):
            return as_code(repr(self))
        functions = [
            (name, *(counts[state] for state in _BY_FUNCTION))
            for name, counts in row["counts"].items()
        ]
        table = as_table(("function", *_BY_FUNCTION), functions) if functions else ""
        return as_code(repr(self)) + table


def jobs() -> list[Job]:
    """The jobs of the cluster, newest first. One round trip; a notebook shows a table.

    >>> import parallax as px
    >>> with px.job("newest"):
    ...     ref = px.remote(len).remote("abc")
    >>> px.jobs()[0].name
    'newest'
    """
    session = current()
    found = [Job(row["id"], session) for row in session.ask("jobs")]
    return Rows(found, ("job", "state", "took", *_STATES), Job._cells)


def job_of(ref: ObjectRef[Any] | ObjectRefGenerator[Any]) -> Job:
    """The job whose task made this object, or makes it. One round trip to the hub.

        >>> import parallax as px
        >>> with px.job("squares") as squares:
        ...     ref = px.remote(pow).remote(3, 2)
        >>> px.job_of(ref) == squares
        True

    Args:
        ref: what a task returned, or the generator of one that still runs.

    Raises:
        TypeError: `ref` is no ref.
        UsageError: no task made it, its job is forgotten, or it is of another session.
    """
    if not isinstance(ref, ObjectRef | ObjectRefGenerator):
        raise TypeError(f"job_of takes an ObjectRef, not {type(ref).__name__}.")
    session = current_of([ref])
    try:
        number = session.ask("task", ref.id if isinstance(ref, ObjectRef) else ref.task_id)["job"]
    except LookupError:
        raise UsageError(f"{ref!r}: the cluster remembers no task that makes it.") from None
    if not number:
        raise UsageError(f"{ref!r} was made by put, not by a task.")
    return Job(number, session)


@contextmanager
def job(name: str) -> Iterator[Job]:
    """Group what is submitted inside the block, under this name. Does not wait at its end.

    It holds for the thread, or the asyncio task, that entered the block. What a task submits
    belongs to the job of that task.

        >>> import parallax as px
        >>> with px.job("squares") as squares:
        ...     refs = px.remote(lambda x: x * x).map(range(3))
        >>> squares.wait(), squares.counts["done"]
        (True, 3)

    Args:
        name: shown in views; several jobs may have the same.

    Raises:
        UsageError: the name is empty or no string.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"a job's name must be a string that is not empty, not {name!r}.")
    session = current()
    number = session.open_job(name)
    token = named_job.set((session.cluster, number))
    try:
        yield Job(number, session)
    finally:
        named_job.reset(token)


def _rebuild(number: int, cluster: str) -> Job:
    session = current()
    if session.cluster != cluster:
        raise UsageError(
            f"the job {hex_id(number)} is one of the cluster {cluster}, and this process is "
            f"connected to {session.cluster}."
        )
    return Job(number, session)


def _duration_s(row: dict[str, Any]) -> float:
    started_at, ended_at = float(row["started_at"]), float(row["ended_at"])
    if row["state"] == "running":
        return max(0.0, time.time() - started_at)
    return ended_at - started_at if ended_at else 0.0


_BY_FUNCTION = ("pending", "done", "failed", "cancelled", "retried")
"""States by function; the hub counts what runs by job alone."""
_STATES = ("pending", "running", "done", "failed", "cancelled", "retried")


def totals_of(row: dict[str, Any]) -> dict[str, int]:
    """The tasks of a job by state, all its functions together."""
    totals = dict.fromkeys(_BY_FUNCTION, 0)
    for counts in row["counts"].values():
        for state in totals:
            totals[state] += counts[state]
    running = min(row["running"], totals["pending"])
    return {"pending": totals.pop("pending") - running, "running": running, **totals}
