"""The session on an engine pool: this process as a client of a hub."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from parallax.messages import (
    Arguments,
    Chunk,
    FailedRetried,
    Failure,
    GroupCreated,
    GroupRemoved,
    JobOpened,
    TaskSpec,
)
from parallax.pool.calls import NO_ARGUMENTS, pack_call
from parallax.pool.client import Client
from parallax.pool.context import engine
from parallax.pool.keeper import PoolKeeper
from parallax.refs import ObjectRef, RefOwner, check_owner
from parallax.serial.values import dumps, pack
from parallax.sessions.bindings import Binder, Binding, MakeTemplate, make_template
from parallax.sessions.durable import check_arguments
from parallax.sessions.jobs import JobChooser, Submissions
from parallax.sessions.output import TaskPrinter
from parallax.sessions.pool_actors import PoolActors, made_of
from parallax.sessions.protocol import Call, Submitted
from parallax.sessions.seeds import UNSEEDED, Seeds, seed_base

if TYPE_CHECKING:
    from parallax.sessions.pool_cached import PoolCached

MAX_CHUNK = 64
"""Items of a map that travel together at most; an engine gives back what turns out to be slow."""
MAX_PAUSE_S = 0.05
"""Between two questions whether a job has ended."""


class PoolSession:
    """A client of a pool. In an engine, the session of the task that runs there.

    Args:
        on_close: ends what was started for this session.
    """

    def __init__(
        self,
        client: Client,
        *,
        name: str = "",
        namespace: str = "",
        seed: int | None = None,
        log_to_driver: bool = True,
        on_close: Callable[[Client], None] | None = None,
    ) -> None:
        self.client = client
        self.name = name
        self._namespace = namespace
        self._namespaces: dict[int, str] = {}
        """Of the jobs whose tasks have asked, in an engine."""
        self.cluster = client.cluster
        self.binder = Binder(client, _note)
        self.actors = PoolActors(self)
        self.keeper = PoolKeeper(client)
        self._jobs = JobChooser(self.cluster, self.open_job)
        self._printer = TaskPrinter(lambda call: client.channel.later(call))
        self._on_close = on_close
        self._seeds = Seeds(seed)
        self.submissions = Submissions()
        self._width = 0
        self._retrying = threading.Lock()
        """What failed is asked for and submitted by one thread at a time, and so but once."""
        if log_to_driver:
            client.on_said = self._printer.take
        client.on_noted = _note

    @property
    def namespace(self) -> str:
        """See `Session`. In a task that of its job, which takes a round trip the first time."""
        task = engine.task
        if task is None:
            return self._namespace
        found = self._namespaces.get(task.job)
        if found is None:
            found = self._namespaces[task.job] = self.ask("namespace", task.job)
        return found

    @property
    def owner(self) -> RefOwner:
        """See `Session`."""
        return self.client

    @property
    def closed(self) -> bool:
        """Whether the session was shut down or the cluster lost."""
        return bool(self.client.lost)

    def close(self) -> None:
        """Leave; end the pool when this session started it."""
        if self._on_close is not None:
            self._on_close(self.client)
        else:
            self.client.close()

    # ---- tasks ------------------------------------------------------------------------------

    def submit(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Submitted:
        """See `Session`."""
        client = self.client
        if client.lost:
            client.check()
        binding = self.bind(call)
        if binding.cached is not None:
            return self.cached.submit(binding, call, args, kwargs)
        data, deps, refs, large = self.pack(call.function, args, kwargs)
        if refs and call.task_options.durable:
            check_arguments(call.name, len(refs) - (large is not None))
        job, parent, seed = self.place()
        count = 0 if call.streaming else binding.num_returns
        task_id, made = client.submit(
            job, parent, binding.template, data, deps, refs, count, seed, stream=call.streaming
        )
        if not parent:
            self.submissions.add(job, task_id, count)
        return made_of(made)

    @functools.cached_property
    def cached(self) -> PoolCached:
        """Submits calls whose results are kept on disk."""
        from parallax.sessions.pool_cached import PoolCached  # late: most sessions keep nothing

        return PoolCached(self)

    def forget_cached(self) -> None:
        """See `Session`."""
        if "cached" in vars(self):
            self.cached.forget()

    def pack(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Arguments, list[int], list[int], ObjectRef[Any] | None]:
        """The arguments of a call as they travel.

        Returns:
            The arguments, the objects among them, those that they refer to, and what must be kept
            until the call was submitted.
        """
        if not (args or kwargs):
            return NO_ARGUMENTS, [], [], None
        client = self.client
        packed, values = pack_call(args, kwargs, function)
        if values:
            check_owner(client, values)
        deps = [ref.id for ref in values]
        if packed.buffers or len(packed.data) > client.inline_limit_bytes:
            large, stored = client.put_packed(packed)
            assert not isinstance(stored, Failure)
            return stored, deps, [*packed.refs, large.id], large
        return packed.data, deps, packed.refs, None

    def submit_map(
        self, call: Call, items: Sequence[tuple[Any, ...]], chunk: int | None
    ) -> list[ObjectRef[Any]]:
        """See `Session`."""
        client = self.client
        client.check()
        options = call.task_options
        alone = (
            call.num_returns != 1
            or call.streaming
            or options.timeout_s
            or options.max_calls
            or options.retry_exceptions
            or options.max_retries == 0
            or options.cache  # each item may have its result already
            or options.durable  # each goes on for itself
        )
        if alone:
            chunk = 1
        elif chunk is None:
            chunk = max(1, min(MAX_CHUNK, len(items) // (4 * self._cpus())))
        refs: list[ObjectRef[Any]] = []
        batch: list[bytes] = []
        for args in items:
            packed = pack(args) if chunk > 1 and not _has_refs(args) else None
            if (
                packed is None
                or packed.refs
                or packed.buffers
                or len(packed.data) > client.inline_limit_bytes // chunk
            ):
                self._submit_chunk(call, batch, refs)
                ref = self.submit(call, args, {})
                refs.append(ref)  # type: ignore[arg-type]
                continue
            batch.append(packed.data)
            if len(batch) >= chunk:
                self._submit_chunk(call, batch, refs)
        self._submit_chunk(call, batch, refs)
        return refs

    def _submit_chunk(self, call: Call, batch: list[bytes], refs: list[ObjectRef[Any]]) -> None:
        if not batch:
            return
        client = self.client
        binding = self.bind(call)
        job, parent, seed = self.place(len(batch))
        first, made = client.submit(
            job, parent, binding.template, Chunk(batch[:]), [], [], len(batch), seed
        )
        if not parent:
            self.submissions.add(job, first, len(batch))
        refs.extend(made)
        batch.clear()

    def bind(self, call: Call, make: MakeTemplate = make_template) -> Binding:
        """The template of the call in the version that its function has now."""
        data = call.session_data
        if data is not None and data[0] is self:
            binding: Binding = data[1]
            if not binding.stale():
                return binding
        binding = self.binder.bind(call, make)
        call.session_data = (self, binding)
        return binding

    def place(self, count: int = 1) -> tuple[int, int, int]:
        """The job, the parent task and the seed of a submission made here and now."""
        task = engine.task
        if task is not None:
            seed = UNSEEDED
            if task.seed >= 0:
                seed = seed_base(task.seed) + engine.children
                engine.children += count
            return task.job, task.task, seed
        return self._jobs.current(), 0, self._seeds.take(count)

    def _cpus(self) -> int:
        if not self._width:
            self._width = max(1, int(self.ask("resources")["total"].get("CPU", 1)))
        return self._width

    # ---- placement groups -------------------------------------------------------------------

    def create_group(
        self, bundles: Sequence[Mapping[str, float]], strategy: str, *, name: str, detached: bool
    ) -> ObjectRef[Any]:
        """See `Session`."""
        client = self.client
        client.check()
        job = self.place(0)[0]
        with client.lock:
            group, made = client.expect(1)
            client.channel.outbox.append(
                GroupCreated(
                    job, group, [dict(b) for b in bundles], strategy, name, detached, dumps(None)
                )
            )
            client.channel.rows += 1
        client.channel.posted()
        assert isinstance(made, list)
        return made[0]

    def remove_group(self, group: int) -> None:
        """See `Session`."""
        self.client.check()
        self.client.channel.post(GroupRemoved(group))

    # ---- objects ----------------------------------------------------------------------------

    def put(self, value: Any) -> ObjectRef[Any]:
        """See `Session`."""
        return self.client.put(value)

    def get(self, refs: Sequence[ObjectRef[Any]], timeout_s: float | None) -> list[Any]:
        """See `Session`."""
        try:
            return self.client.get([ref.id for ref in refs], timeout_s)
        finally:
            self._printer.print()

    def wait(
        self, refs: Sequence[ObjectRef[Any]], count: int, timeout_s: float | None, *, fetch: bool
    ) -> set[int]:
        """See `Session`."""
        try:
            return self.client.wait([ref.id for ref in refs], count, timeout_s)
        finally:
            self._printer.print()

    def cancel(self, ids: Sequence[int], *, force: bool, recursive: bool) -> None:
        """See `Session`."""
        self.client.check()
        self.client.cancel(list(ids), force=force, recursive=recursive)

    # ---- the rest ---------------------------------------------------------------------------

    def ask(self, what: str, argument: Any = None) -> Any:
        """See `Session`."""
        return self.client.ask(what, argument)

    def ref(self, object_id: int) -> ObjectRef[Any]:
        """See `Session`."""
        self.client.adopt(object_id)
        return ObjectRef(object_id, self.client)

    def open_job(self, name: str, cell: str = "", source: str = "") -> int:
        """See `Session`. Output of the job's tasks goes where the caller's output goes."""
        client = self.client
        with client.lock:
            job = client.new_id()
        self._printer.open(job)
        client.channel.post(JobOpened(job, name, cell, source, time.time(), self._namespace))
        return job

    def wait_job(self, job: int, timeout_s: float | None) -> bool:
        """See `Session`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = 0.001
        # The hub tells clients of objects, not of jobs; asking costs it some 50 µs.
        while self.ask("job", job)["state"] == "running":
            left_s = pause_s if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
        return True

    def results_of(self, job: int) -> list[int]:
        """See `Session`."""
        return self.submissions.of(job)

    def retry_failed(self, job: int) -> list[ObjectRef[Any]]:
        """See `Session`."""
        with self._retrying:
            return self._retry_failed(job)

    def _retry_failed(self, job: int) -> list[ObjectRef[Any]]:
        client = self.client
        rows = self.ask("job_failed", job)
        refs: list[ObjectRef[Any]] = []
        retried: list[int] = []
        # In the order of submission: what a task depends on comes before it.
        for spec, count in sorted(
            ((msgspec.convert(row, TaskSpec), count) for row, count in rows),
            key=lambda pair: pair[0].id,
        ):
            deps = [self.submissions.now(object_id) for object_id in spec.deps]
            first, made = client.submit(
                job, 0, spec.template, spec.args, deps, spec.refs, count, spec.seed
            )
            for position in range(count):
                self.submissions.rename(spec.id + position, first + position)
            refs.extend(made)
            retried.append(spec.id)
        client.channel.post(FailedRetried(job, retried))
        return refs

    def context(self) -> dict[str, Any]:
        """See `Session`."""
        task = engine.task
        return {
            "task": task.task if task else 0,
            "task_name": task.name if task else "",
            "job": task.job if task else 0,
            "attempt": task.attempt if task else 0,
            "resources": dict(task.demand) if task else {},
            "node": self.client.node,
            "engine": engine.number,
            "cancelled": engine.cancelled,
            "actor": engine.actor,
        }

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Session {self.name or self.cluster} {state}>"


def _note(text: str) -> None:
    print(f"parallax: {text}", file=sys.stderr)


def _has_refs(args: tuple[Any, ...]) -> bool:
    return any(type(arg) is ObjectRef for arg in args)
