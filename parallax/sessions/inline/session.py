"""The door of an inline session."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parallax.core.objects import gone
from parallax.errors import ClusterLostError, GetTimeoutError, UsageError
from parallax.ids import hex_id, new_token
from parallax.messages import Failure
from parallax.pool.calls import pack_call
from parallax.pool.failures import outcome_of, to_error
from parallax.refs import (
    ObjectRef,
    ObjectRefGenerator,
    RefOwner,
    check_owner,
    forget_owner,
    register_owner,
)
from parallax.serial.functions import ShippedFunction, ship
from parallax.serial.values import Packed, pack, unpack
from parallax.sessions.durable import check_arguments, check_closure
from parallax.sessions.inline.actors import InlineActors, current_actor
from parallax.sessions.inline.book import ENGINE, InlineBook
from parallax.sessions.inline.feasible import infeasible
from parallax.sessions.inline.keeper import InlineKeeper
from parallax.sessions.inline.runner import InlineRunner
from parallax.sessions.inline.tasks import InlineStream, InlineTask, running
from parallax.sessions.inline.views import answer
from parallax.sessions.jobs import JobChooser, Submissions
from parallax.sessions.protocol import Call, Submitted
from parallax.sessions.seeds import Seeds

if TYPE_CHECKING:
    from parallax.sessions.inline.cached import InlineCached


class InlineSession:
    """Runs every task in the thread that submits it. Thread-safe.

    Args:
        resources: what tasks may ask for.
        env_vars: set in this process until the session ends.
    """

    name = "inline"

    def __init__(
        self,
        resources: Mapping[str, float],
        *,
        namespace: str = "",
        env_vars: Mapping[str, str] | None = None,
        seed: int | None = None,
    ) -> None:
        self.namespace = namespace
        self.cluster = new_token()
        self.lost = ""
        self.dropped: deque[int] = deque()
        self._resources = dict(resources)
        self._book = InlineBook(resources)
        self._runner = InlineRunner(self._book)
        self._seeds = Seeds(seed)
        self._submissions = Submissions()
        self._jobs = JobChooser(self.cluster, self.open_job)
        env_vars = env_vars or {}
        self._environment = {name: os.environ.get(name) for name in env_vars}
        """What the variables were before."""
        os.environ.update(env_vars)
        self.actors = InlineActors(self, self._book)
        self.keeper = InlineKeeper(self._book, self.settle)
        register_owner(self)

    @property
    def owner(self) -> RefOwner:
        """See `Session`."""
        return self

    @property
    def closed(self) -> bool:
        """See `Session`."""
        return bool(self.lost)

    def close(self) -> None:
        """See `Session`."""
        for task_id in list(self._book.streams):
            self._runner.drop_stream(task_id)
        self.lost = self.lost or "this session was shut down"
        forget_owner(self)
        self._book.clear()
        for name, before in self._environment.items():
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before
        self._environment = {}

    # ---- tasks ------------------------------------------------------------------------------

    def submit(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Submitted:
        """See `Session`. Returns when the task has ended; a streaming one waits for its reader."""
        self.enter()
        shipped = self.require_shippable(call)
        if call.task_options.cache:
            return self.cached.submit(shipped, call, args, kwargs)
        return self.run_now(call, args, kwargs)[1]

    @functools.cached_property
    def cached(self) -> InlineCached:
        """Runs calls whose results are kept on disk."""
        from parallax.sessions.inline.cached import InlineCached  # late: most sessions keep nothing

        return InlineCached(self, self._book)

    def forget_cached(self) -> None:
        """See `Session`. Nothing is shared here."""

    def take_seed(self) -> int:
        """The seed of a task that the calling code submits now."""
        parent = running.get()
        return (parent.seeds if parent else self._seeds).take()

    def run_now(
        self,
        call: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        failure: Failure | None = None,
    ) -> tuple[InlineTask, Submitted]:
        """Run a task, or begin a streaming one; the task, and what `submit` returns of it.

        Args:
            failure: why it cannot run.
        """
        packed, deps = pack_call(args, kwargs, call.function)
        check_owner(self, deps)
        if call.task_options.durable:
            check_arguments(call.name, len(packed.refs))
        for ref in deps:
            self.settle(ref.id)
        parent = running.get()
        job = parent.job.id if parent else self._jobs.current()
        seed = self.take_seed()
        task = self._run(call, job, seed, packed, [ref.id for ref in deps], failure)
        if isinstance(task, InlineStream):
            return task, ObjectRefGenerator(task.id, self)
        if not parent:
            self._submissions.add(job, task.id, call.num_returns)
        refs: list[ObjectRef[Any]] = [ObjectRef(object_id, self) for object_id in task.ids]
        return task, refs[0] if call.num_returns == 1 else refs or None

    def _run(
        self,
        call: Call,
        job: int,
        seed: int,
        packed: Packed,
        deps: Sequence[int],
        failure: Failure | None = None,
    ) -> InlineTask:
        task = self._book.accept(call, self._book.jobs[job], seed, packed, deps)
        if (failure := failure or self._infeasible(call, task.id)) is not None:
            self._book.fail(task, failure)
        if task.id in self._book.tasks and not isinstance(task, InlineStream):
            self._runner.run(task)
        return task

    def submit_map(
        self, call: Call, items: Sequence[tuple[Any, ...]], chunk: int | None
    ) -> list[ObjectRef[Any]]:
        """See `Session`."""
        return [self.submit(call, args, {}) for args in items]  # type: ignore[misc]

    def require_shippable(self, call: Call) -> ShippedFunction:
        """Refuse what a pool would refuse. Costs a pass of pickling for each version."""
        shipped: ShippedFunction | None = call.shared.get(self)
        if shipped is None or shipped.guard.stale():
            shipped = call.shared[self] = ship(call.function)
        if call.task_options.durable:
            check_closure(call.name, len(shipped.refs))
        return shipped

    def _infeasible(self, call: Call, task_id: int) -> Failure | None:
        if call.task_options.group is not None:
            return self._book.groups.why_not(call.task_options, call.name, task_id)
        return infeasible(call, task_id, self._resources)

    def cancel(self, ids: Sequence[int], *, force: bool, recursive: bool) -> None:
        """See `Session`. A task that runs sees `is_canceled()`, and ends as cancelled."""
        self.enter()
        for object_id in ids:
            task = self._book.task_of(object_id)
            if task is not None:
                self._runner.cancel(task)

    # ---- placement groups -------------------------------------------------------------------

    def create_group(
        self, bundles: Sequence[Mapping[str, float]], strategy: str, *, name: str, detached: bool
    ) -> ObjectRef[Any]:
        """See `Session`. There is room for it now, or there never will be."""
        self.enter()
        return ObjectRef(self._book.new_group(bundles, strategy, name), self)

    def remove_group(self, group: int) -> None:
        """See `Session`."""
        self.enter()
        self.actors.end_group(group)

    # ---- streaming tasks --------------------------------------------------------------------

    def next_item(self, task_id: int, index: int, timeout_s: float | None) -> int:
        """See `RefOwner`. The task goes on in this thread; no timeout strikes."""
        self.enter()
        stream = self._stream(task_id)
        with stream.turn:
            while len(stream.item_ids) <= index and task_id in self._book.tasks:
                self._runner.advance(stream)
        return stream.item_ids[index] if index < len(stream.item_ids) else 0

    def when_item(self, task_id: int, index: int) -> concurrent.futures.Future[int]:
        """See `RefOwner`. The future is done already."""
        future: concurrent.futures.Future[int] = concurrent.futures.Future()
        future.set_result(self.next_item(task_id, index, None))
        return future

    def consumed(self, task_id: int, count: int) -> None:
        """See `RefOwner`."""
        self._stream(task_id).taken = count

    def _stream(self, task_id: int) -> InlineStream:
        stream = self._book.streams.get(task_id)
        if stream is None:
            raise UsageError("this generator is read in another process; pass its refs instead")
        return stream

    # ---- objects ----------------------------------------------------------------------------

    def put(self, value: Any) -> ObjectRef[Any]:
        """See `Session`."""
        self.enter()
        return ObjectRef(self._book.new_object(pack(value)), self)

    def get(self, refs: Sequence[ObjectRef[Any]], timeout_s: float | None) -> list[Any]:
        """See `Session`. Waits only for tasks that other threads have submitted."""
        self.enter()
        for ref in refs:
            row = self._book.objects.rows.get(ref.id)
            if row is not None and isinstance(row.value, Failure):
                raise row.error()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for ref in refs:
            self.settle(ref.id, deadline)
        return [self._load(ref.id) for ref in refs]

    def wait(
        self, refs: Sequence[ObjectRef[Any]], count: int, timeout_s: float | None, *, fetch: bool
    ) -> set[int]:
        """See `Session`."""
        self.enter()
        ids = [ref.id for ref in refs]
        with self._book.changed:
            self._book.changed.wait_for(
                lambda: self.lost or sum(map(self._book.is_ready, ids)) >= count, timeout_s
            )
        self._check()
        return set(filter(self._book.is_ready, ids))

    def settle(self, object_id: int, deadline: float | None = None) -> None:
        """Wait until the object has a value, or never will."""
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        with self._book.changed:
            if not self._book.changed.wait_for(
                lambda: self.lost or self._book.is_ready(object_id), left_s
            ):
                raise GetTimeoutError(
                    f"object {hex_id(object_id)} was not ready in time: its task runs in another "
                    "thread. Call get again."
                )
        self._check()

    def _load(self, object_id: int) -> Any:
        row = self._book.objects.rows.get(object_id)
        if row is None:
            raise to_error(gone(object_id))
        if not isinstance(row.value, bytes):
            raise row.error()
        return unpack(row.value)

    def future(self, object_id: int) -> concurrent.futures.Future[Any]:
        """See `RefOwner`. The future is done already."""
        self.enter()
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            self.settle(object_id)
            future.set_result(self._load(object_id))
        except Exception as error:  # noqa: BLE001 - whatever the task raised is the result
            future.set_exception(error)
        return future

    # ---- references -------------------------------------------------------------------------

    def adopt(self, object_id: int) -> None:
        """See `RefOwner`."""
        with self._book.changed:
            self._book.objects.hold(object_id)

    def adopt_actor(self, actor: int) -> None:
        """See `RefOwner`."""
        self.adopt(actor)

    def ref(self, object_id: int) -> ObjectRef[Any]:
        """See `Session`."""
        self.adopt(object_id)
        return ObjectRef(object_id, self)

    def describe(self, object_id: int) -> str:
        """See `RefOwner`."""
        row = self._book.objects.rows.get(object_id)
        if row is None:
            return "stale"
        if row.value is None:
            return "pending"
        return outcome_of(row.value)

    def enter(self) -> None:
        """At the door of each verb: drop what was garbage collected."""
        self._check()
        while self.dropped:
            object_id = self.dropped.popleft()
            if object_id < 0:
                self._runner.drop_stream(-object_id)
            else:
                with self._book.changed:
                    self._book.objects.drop(object_id)

    def _check(self) -> None:
        if self.lost:
            raise ClusterLostError(
                f"the session {self.cluster} is gone: {self.lost}. Its refs and values went with "
                "it; call parallax.init() for a new one."
            )

    # ---- the rest ---------------------------------------------------------------------------

    def ask(self, what: str, argument: Any = None) -> Any:
        """See `Session`."""
        self.enter()
        with self._book.changed:
            return answer(self._book, self._resources, what, argument)

    def open_job(self, name: str, cell: str = "", source: str = "") -> int:
        """See `Session`."""
        return self._book.open_job(name, cell, source)

    def results_of(self, job: int) -> list[int]:
        """See `Session`."""
        return self._submissions.of(job)

    def retry_failed(self, job: int) -> list[ObjectRef[Any]]:
        """See `Session`."""
        self.enter()
        refs: list[ObjectRef[Any]] = []
        for spec, call in self._book.take_failed(job):
            deps = [self._submissions.now(object_id) for object_id in spec.deps]
            assert isinstance(spec.args, bytes)
            task = self._run(call, job, spec.seed, Packed(spec.args, refs=spec.refs), deps)
            for position, object_id in enumerate(task.ids):
                self._submissions.rename(spec.id + position, object_id)
                refs.append(ObjectRef(object_id, self))
        return refs

    def wait_job(self, job: int, timeout_s: float | None) -> bool:
        """See `Session`. Streaming tasks of the job come to their end; their items stay."""
        self.enter()
        record = self._book.jobs[job]
        for task in list(self._book.tasks.values()):
            if task.job is record and isinstance(task, InlineStream):
                self._runner.drain(task)
        with self._book.changed:
            done = self._book.changed.wait_for(lambda: self.lost or not record.pending, timeout_s)
        self._check()
        return bool(done)

    def context(self) -> dict[str, Any]:
        """See `Session`."""
        task = running.get()
        context = task.context if task else None
        return {
            "task": context.task if context else 0,
            "task_name": context.name if context else "",
            "job": context.job if context else 0,
            "attempt": context.attempt if context else 0,
            "resources": dict(context.demand) if context else {},
            "node": 0,
            "engine": ENGINE if context else 0,
            "cancelled": task.cancelled if task else False,
            "actor": current_actor.get(),
        }

    def __repr__(self) -> str:
        return f"<Session inline {'closed' if self.closed else 'open'}>"
