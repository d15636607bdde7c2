"""Run one assignment: arguments in, values or failures out. No socket here."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from parallax.messages import (
    CALL,
    CONSTRUCTOR,
    Assignment,
    Chunk,
    Done,
    Failure,
    Stored,
    TaskStalled,
    TemplateDefined,
    Value,
)
from parallax.pool.actor_calls import CallRunner
from parallax.pool.calls import MissingArgumentsError, fill_call
from parallax.pool.chunk_run import ChunkRun
from parallax.pool.context import TaskContext, engine
from parallax.pool.failures import from_error
from parallax.pool.library import Library, LoadedTemplate
from parallax.pool.recent import SegmentGoneError
from parallax.pool.resources import THREAD_VARIABLES, visible_devices
from parallax.pool.returned import iterate_items, seed_generators, split_returns
from parallax.serial.values import Packed, pack, unpack

if TYPE_CHECKING:
    from parallax.pool.cached_call import CachedCall

NOTHING_FOUND: Mapping[int, Any] = {}


class Interrupts(Protocol):
    """The part of the engine that lets interrupts reach user code, and nothing else."""

    def begin(self, object_id: int) -> None:
        """From here to `end`, an interrupt of this object's task may raise KeyboardInterrupt."""

    def end(self) -> None:
        """User code is over."""

    def reason(self, object_id: int) -> str:
        """Why this was interrupted; empty when it was not."""


class Executor:
    """Runs tasks in the calling thread, one at a time.

    Args:
        send_value: writes a packed value to where it travels.
        read: reads a stored value by its segment's name; `SegmentGoneError` when it is gone.
        new_id: a new object id, for the items of generators.
        on_item: sends an item of a generator.
        await_reader: waits while the reader of a generator is too far behind.
        marks: a folder of the pool, to write down what was said to the user already.
    """

    def __init__(
        self,
        library: Library,
        interrupts: Interrupts,
        *,
        send_value: Callable[[Packed], Value],
        read: Callable[[str], Any],
        on_item: Callable[[Assignment, int, Value, list[int]], None],
        await_reader: Callable[[Assignment, int, int], None],
        has_gpus: bool,
        marks: str = "",
    ) -> None:
        self._library = library
        self._interrupts = interrupts
        self.send_value = send_value
        self._read = read
        self.chunk: ChunkRun | None = None
        """The chunk that runs now."""
        self.on_item = on_item
        self.await_reader = await_reader
        self.actor: CallRunner | None = None
        """Runs the calls of the actor that lives in this process, if one does."""
        self._marks = marks
        self._has_gpus = has_gpus
        self._gpus: list[int] | None = None
        self._devices = visible_devices()
        self._blas_threads = 1

    def run(self, assignment: Assignment) -> Done | TaskStalled:
        """Run a task to its end, whatever that is."""
        started_at = time.time()
        clock = time.perf_counter()
        done = Done(assignment.id, assignment.attempt, [], {}, started_at)
        try:
            self._run(assignment, done)
        except MissingArgumentsError as missing:
            return TaskStalled(assignment.id, assignment.attempt, missing.ids)
        finally:
            engine.task = None
        done.duration_s = time.perf_counter() - clock
        return done

    def _run(self, assignment: Assignment, done: Done) -> None:
        spec = self._library.specs[assignment.template]
        name = spec.name
        engine.task = TaskContext(
            assignment.id, assignment.job, assignment.attempt, name, spec.demand, assignment.seed
        )
        engine.children = 0
        try:
            template = self._library.use(assignment.template)
        except Exception as error:  # noqa: BLE001 - importing the user's modules raises anything
            failure = from_error(error, task_name=name, task=assignment.id)
            args = assignment.args
            count = len(args.items) if type(args) is Chunk else spec.num_returns
            done.values = [failure] * count
            return
        if spec.role == CALL:
            assert self.actor is not None
            self._interrupts.begin(assignment.id)
            self.actor.run(template, assignment, done)
            self._interrupts.end()
            return
        if self._has_gpus or template.wants_blas_threads != self._blas_threads:
            self._limit(template, assignment)
        if type(assignment.args) is Chunk:
            self._run_chunk(template, assignment, assignment.args.items, done)
        else:
            self._run_one(template, assignment, done)

    # ---- the kinds of tasks -----------------------------------------------------------------

    def _run_one(self, template: LoadedTemplate, assignment: Assignment, done: Done) -> None:
        spec = template.spec
        object_id = assignment.id
        seed = assignment.seed
        try:
            args, kwargs = self.arguments(assignment)
            cached = None
            if spec.cache:
                cached, args = self._cached_call(spec, args, kwargs)
                if cached.values is not None:
                    done.values.extend(map(self.send_value, cached.values))
                    return
            if seed >= 0:
                seed_generators(seed)
            try:
                self._interrupts.begin(object_id)
                result = template.function(*args, **kwargs)
                if spec.role == CONSTRUCTOR:
                    self.actor = CallRunner(result, self, self._library.fetch)
                    result = None
                elif spec.streaming:
                    self._run_generator(template, assignment, result)
                    result = None
                elif inspect.iscoroutine(result):
                    import asyncio  # late: see parallax.refs

                    result = asyncio.run(result)
            finally:
                self._interrupts.end()
            # From here on nothing of the user's runs but what pickling calls.
            if cached is not None:
                self._deliver_and_cache(cached, result, spec, object_id, done)
                return
            self.deliver(result, spec.num_returns, object_id, spec.name, done)
        except MissingArgumentsError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is its result
            self.fail(template, assignment, error, done)

    def deliver(self, result: Any, count: int, object_id: int, name: str, done: Done) -> None:
        """Pack what was returned into `done`."""
        if count == 1:
            done.values.append(self._pack(result, object_id, name, done))
            return
        for position, value in enumerate(split_returns(result, count, name)):
            done.values.append(self._pack(value, object_id + position, name, done))

    def _cached_call(
        self, spec: TemplateDefined, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[CachedCall, Sequence[Any]]:
        """What is kept of a call, and its arguments without the recipe of its key."""
        from parallax.pool.cached_call import CachedCall  # late: few tasks need it

        recipe, *args = args
        return CachedCall(spec, recipe, args, kwargs, self._marks), args

    def _deliver_and_cache(
        self, cached: CachedCall, result: Any, spec: TemplateDefined, object_id: int, done: Done
    ) -> None:
        count = spec.num_returns
        values = [result] if count == 1 else split_returns(result, count, spec.name)
        packed = [pack(value, name=f"the return value of {spec.name}") for value in values]
        for position, part in enumerate(packed):
            if part.refs:
                done.contained[object_id + position] = part.refs
            done.values.append(self.send_value(part))
        cached.keep(packed)

    def _run_chunk(
        self,
        template: LoadedTemplate,
        assignment: Assignment,
        items: list[bytes],
        done: Done,
    ) -> None:
        function = template.function
        interrupts = self._interrupts
        skipped = assignment.skipped
        run = self.chunk = ChunkRun(assignment.id, assignment.attempt, len(items))
        for position, item in enumerate(items):
            if not run.begin():
                break
            object_id = assignment.id + position
            if object_id in skipped or interrupts.reason(object_id):
                done.values.append(Failure("cancelled", f"{template.spec.name} was cancelled"))
                continue
            try:
                args, kwargs = fill_call(unpack(item), ())
                if assignment.seed >= 0:
                    seed_generators(assignment.seed + position)
                try:
                    interrupts.begin(object_id)
                    result = function(*args, **kwargs)
                finally:
                    interrupts.end()
                done.values.append(self._pack(result, object_id, template.spec.name, done))
            except BaseException as error:  # noqa: BLE001 - as above
                done.values.append(self._failure(template, object_id, error))
        self.chunk = None

    def _run_generator(self, template: LoadedTemplate, assignment: Assignment, result: Any) -> None:
        limit = template.spec.backpressure
        items = iterate_items(result, template.spec.name)
        for index, item in enumerate(items):
            packed = pack(item, name=f"an item of {template.spec.name}")
            # No interrupt between writing a value and telling of it, or it stays for ever.
            self._interrupts.end()
            value = self.send_value(packed)
            self.on_item(assignment, index, value, packed.refs)
            self._interrupts.begin(assignment.id)
            if limit:
                self.await_reader(assignment, index, limit)

    # ---- in and out -------------------------------------------------------------------------

    def arguments(
        self, assignment: Assignment, found: Mapping[int, Any] = NOTHING_FOUND
    ) -> tuple[Any, dict[str, Any]]:
        """The arguments of a task, rebuilt.

        Args:
            found: values of dependencies that were got otherwise.

        Raises:
            MissingArgumentsError: some are not in the store any more.
        """
        values: list[Any] = []
        missing: list[int] = []
        for object_id, value in zip(assignment.deps, assignment.values, strict=True):
            if object_id in found:
                values.append(found[object_id])
            elif type(value) is bytes:
                values.append(unpack(value))
            elif type(value) is Stored:
                try:
                    values.append(self._read(value.name))
                except SegmentGoneError:
                    missing.append(object_id)
        if missing:
            raise MissingArgumentsError(missing)
        args = assignment.args
        if type(args) is Stored:
            try:
                call = self._read(args.name)
            except SegmentGoneError:
                raise MissingArgumentsError([0]) from None
        else:
            assert type(args) is bytes
            call = unpack(args)
        return fill_call(call, values)

    def _pack(self, result: Any, object_id: int, name: str, done: Done) -> Value:
        packed = pack(result, name=f"the return value of {name}")
        if packed.refs:
            done.contained[object_id] = packed.refs
        return self.send_value(packed)

    def fail(
        self, template: LoadedTemplate, assignment: Assignment, error: BaseException, done: Done
    ) -> None:
        """Pack what was raised into `done`."""
        failure = self._failure(template, assignment.id, error)
        done.values = [failure] * max(1, template.spec.num_returns)
        done.contained = {}
        types = template.retry_types
        done.retriable = failure.kind == "task" and (
            types is True or (bool(types) and isinstance(error, types))
        )

    def _failure(self, template: LoadedTemplate, object_id: int, error: BaseException) -> Failure:
        name = template.spec.name
        reason = self._interrupts.reason(object_id)
        if reason and isinstance(error, KeyboardInterrupt):
            return Failure("cancelled", f"{name} was cancelled", b"", object_id)
        return from_error(error, task_name=name, task=object_id)

    # ---- limits -----------------------------------------------------------------------------

    def _device(self, index: int) -> str:
        """A GPU by its index among those that the pool may use, as CUDA names it."""
        return self._devices[index] if index < len(self._devices) else str(index)

    def _limit(self, template: LoadedTemplate, assignment: Assignment) -> None:
        """Give the task the GPUs and BLAS threads that it asked for."""
        if self._has_gpus and assignment.gpus != self._gpus:
            self._gpus = assignment.gpus
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(self._device, assignment.gpus))
        threads = template.wants_blas_threads
        if threads != self._blas_threads:
            self._blas_threads = threads
            set_blas_threads(threads)


def set_blas_threads(count: int) -> None:
    """Limit the thread pools of numeric libraries, loaded ones and those to come."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(count)
    try:
        import threadpoolctl  # type: ignore[import-untyped]
    except ImportError:
        return
    threadpoolctl.threadpool_limits(count)
