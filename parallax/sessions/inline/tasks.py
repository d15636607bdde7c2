"""The tasks of an inline session: user code, run in the thread that calls."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from parallax.core.jobs import FunctionCounts, JobRecord
from parallax.messages import Failure, TaskSpec
from parallax.pool.calls import fill_call
from parallax.pool.context import TaskContext
from parallax.pool.returned import iterate_items, split_returns
from parallax.serial.values import Packed, pack, unpack
from parallax.sessions.protocol import Call
from parallax.sessions.seeds import OwnGenerators, Seeds

T = TypeVar("T")

running: contextvars.ContextVar[InlineTask | None] = contextvars.ContextVar(
    "parallax_inline_task", default=None
)
"""The task whose code runs here; a context variable, so that it also holds in coroutines."""


class InlineTask:
    """One call, from its submission to its end.

    Args:
        spec: its packed arguments, and the objects that it takes and refers to; no template.
        values: the packed values of those that it takes.
        parent: the task that has submitted it, 0 for none.
    """

    def __init__(
        self, spec: TaskSpec, call: Call, job: JobRecord, values: list[bytes], parent: int
    ) -> None:
        self.id = spec.id
        self.spec = spec
        self.call = call
        self.job = job
        self.parent = parent
        self.counts: FunctionCounts = job.of(call.name)
        self.cancelled = False
        self.begun = False
        self.failure: Failure | None = None
        """Why it has no results."""
        self._values = values
        self._attempt = 0
        self._retries_left = call.task_options.max_retries
        self._start_over()

    @property
    def ids(self) -> range:
        """Of its return objects."""
        return range(self.id, self.id + self.call.num_returns)

    def makes(self, object_id: int) -> bool:
        """Is it this task that makes the object? One without returns goes by its own id."""
        return object_id == self.id or object_id in self.ids

    @property
    def context(self) -> TaskContext:
        """As engines describe it."""
        demand = self.call.task_options.demand
        return TaskContext(
            self.id, self.job.id, self._attempt, self.call.name, demand, seed=self.spec.seed
        )

    def results(self) -> list[Packed]:
        """Run it to its end. Raises what the user's code raises."""
        with self._in_place():
            result = self._call()
            if inspect.iscoroutine(result):
                result = _outside_loop(lambda: asyncio.run(result))
            count = self.call.num_returns
            values = [result] if count == 1 else split_returns(result, count, self.call.name)
            name = f"the return value of {self.call.name}"
            return [pack(value, name=name) for value in values]

    def retry(self, error: BaseException) -> bool:
        """Whether it should run again after this error; then it is ready to."""
        types = self.call.task_options.retry_exceptions
        wanted = types is True or (bool(types) and isinstance(error, types))  # type: ignore[arg-type]
        if not wanted or not self._retries_left or self.cancelled:
            return False
        self._retries_left -= self._retries_left > 0
        self._attempt += 1
        self._start_over()
        return True

    def _start_over(self) -> None:
        self.seeds = Seeds(self.spec.seed)
        """Of the tasks that it submits."""
        self._generators = OwnGenerators(self.spec.seed)

    def _call(self) -> Any:
        # Unpacked for each attempt: what one did to its arguments, the next must not see.
        assert isinstance(self.spec.args, bytes)
        args, kwargs = fill_call(unpack(self.spec.args), [unpack(value) for value in self._values])
        return self.call.function(*args, **kwargs)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Its code runs, or goes on."""
        token = running.set(self)
        self.begun = True
        try:
            with self._generators.in_place():
                yield
        finally:
            running.reset(token)


class InlineStream(InlineTask):
    """A streaming task: it goes on whenever its reader wants one more item."""

    def __init__(self, *args: Any) -> None:
        self._items: Iterator[Any] | None = None
        self._is_async = False
        self.item_ids: list[int] = []
        self.taken = 0
        self.turn = threading.Lock()
        """Held by the thread in which it goes on."""
        super().__init__(*args)

    @property
    def ids(self) -> range:
        """Its items become objects one by one."""
        return range(0)

    def next_item(self) -> Packed | None:
        """Its next item, None at its end. Raises what the user's code raises."""
        with self._in_place():
            if self._items is None:
                self._begin()
            item = self._step()
            if item is _END:
                return None
            return pack(item, name=f"an item of {self.call.name}")

    def close(self) -> None:
        """Nobody reads it any more: let its ``finally`` blocks run."""
        close = getattr(self._items, "close", None)
        if close is not None:
            with self._in_place():
                _outside_loop(close) if self._is_async else close()

    def _begin(self) -> None:
        result = self._call()
        self._is_async = hasattr(result, "__anext__")
        self._items = iterate_items(result, self.call.name)
        for _ in self.item_ids:  # a retry: these have been delivered
            self._step()

    def _step(self) -> Any:
        items = self._items
        assert items is not None
        if self._is_async:
            return _outside_loop(lambda: next(items, _END))
        return next(items, _END)

    def _start_over(self) -> None:
        super()._start_over()
        self._items = None


_END = object()


def _outside_loop(function: Callable[[], T]) -> T:
    """Call a function that runs an event loop, in a thread of its own when one runs in this."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function()
    outcome: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def call() -> None:
        try:
            outcome.append(context.run(function))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=call, name="parallax-coroutine")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]
