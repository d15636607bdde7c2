"""Run one call of an actor: find the method, call it, pack what it returns.

Unlike a task a call is never interrupted: it shares its process with the actor's state, and often
with other calls. One that was cancelled sees `is_canceled()`; a generator ends at its next item, a
coroutine at its next ``await``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from parallax.errors import ObjectLostError, TaskCancelledError
from parallax.messages import Assignment, Done, Value
from parallax.pool.calls import MissingArgumentsError
from parallax.pool.context import ActorExit, current_call, engine
from parallax.pool.library import LoadedTemplate
from parallax.pool.returned import iterate_items
from parallax.serial.values import pack

if TYPE_CHECKING:
    from parallax.pool.executor import Executor


class CallRunner:
    """Runs calls of one actor, in any thread.

    Args:
        instance: the actor itself.
        executor: rebuilds arguments and packs results.
        fetch: gets the values of objects, rebuilt if need be; blocks.
    """

    def __init__(
        self, instance: Any, executor: Executor, fetch: Callable[[list[int]], list[Any]]
    ) -> None:
        self.instance = instance
        self._executor = executor
        self._fetch = fetch

    def run(self, template: LoadedTemplate, assignment: Assignment, done: Done) -> None:
        """Run a call to its end, as often as its `max_task_retries` allow it to raise.

        Raises:
            ActorExit: the actor wants to end.
        """
        while True:
            try:
                result = self._call(template, assignment)
                if template.spec.streaming:
                    self._stream(template, assignment, result)
                    result = []
                elif inspect.iscoroutine(result):  # of a class without coroutine methods
                    import asyncio  # late: see parallax.refs

                    result = asyncio.run(result)
                self._deliver(template, assignment, result, done)
                return
            except ActorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever user code raises is its result
                self._executor.fail(template, assignment, error, done)
            if not _again(template, assignment, done):
                return

    async def run_async(
        self, template: LoadedTemplate, assignment: Assignment, done: Done, reader: Any
    ) -> None:
        """The same on an event loop, where coroutines and async generators are at home.

        Args:
            reader: awaited while the reader of a stream is too far behind.
        """
        while True:
            try:
                result = self._call(template, assignment)
                if template.spec.streaming:
                    await self._stream_async(template, assignment, result, reader)
                    result = []
                elif inspect.isawaitable(result):
                    result = await result
                self._deliver(template, assignment, result, done)
                return
            except ActorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever user code raises is its result
                self._executor.fail(template, assignment, error, done)
            if not _again(template, assignment, done):
                return

    def _call(self, template: LoadedTemplate, assignment: Assignment) -> Any:
        spec = template.spec
        try:
            args, kwargs = self._executor.arguments(assignment)
        except MissingArgumentsError as missing:
            # Calls behind this one must not overtake it: wait here until they are rebuilt.
            if 0 in missing.ids:
                raise ObjectLostError(
                    f"the arguments of {spec.name} left the store before it began. Call it again."
                ) from None
            found = dict(zip(missing.ids, self._fetch(missing.ids), strict=True))
            args, kwargs = self._executor.arguments(assignment, found)
        if spec.method:
            return getattr(self.instance, spec.method)(*args, **kwargs)
        if template.function is not None:
            return template.function(self.instance, *args, **kwargs)
        return True  # the question was whether it is ready

    def _deliver(
        self, template: LoadedTemplate, assignment: Assignment, result: Any, done: Done
    ) -> None:
        spec = template.spec
        done.values, done.contained, done.retriable = [], {}, False
        if not spec.streaming:
            if spec.drops_result:
                result = None
            self._executor.deliver(result, spec.num_returns, assignment.id, spec.name, done)

    # ---- streams ----------------------------------------------------------------------------

    def _stream(self, template: LoadedTemplate, assignment: Assignment, result: Any) -> None:
        limit = template.spec.backpressure
        for index, item in enumerate(iterate_items(result, template.spec.name)):
            self._send_item(assignment, index, item)
            if limit:
                self._executor.await_reader(assignment, index, limit)
            _check_cancelled(template, assignment)

    async def _stream_async(
        self, template: LoadedTemplate, assignment: Assignment, result: Any, reader: Any
    ) -> None:
        if not hasattr(result, "__anext__"):
            items = iterate_items(result, template.spec.name)
            for index, item in enumerate(items):
                self._send_item(assignment, index, item)
                await reader(assignment, index, template.spec.backpressure)
                _check_cancelled(template, assignment)
            return
        index = 0
        async for item in result:
            self._send_item(assignment, index, item)
            await reader(assignment, index, template.spec.backpressure)
            _check_cancelled(template, assignment)
            index += 1

    def _send_item(self, assignment: Assignment, index: int, item: Any) -> None:
        packed = pack(item)
        value: Value = self._executor.send_value(packed)
        self._executor.on_item(assignment, index, value, packed.refs)


def _again(template: LoadedTemplate, assignment: Assignment, done: Done) -> bool:
    limit, attempt = template.spec.max_retries, assignment.attempt + done.retried
    again = done.retriable and (limit < 0 or attempt < limit) and not engine.cancelled
    if again:
        done.retried += 1
        _tell_attempt(assignment.attempt + done.retried)
    return again


def _tell_attempt(attempt: int) -> None:
    """The code of the call learns that it runs again."""
    context = current_call.get()
    if context is not None:
        current_call.set(replace(context, attempt=attempt))
    elif engine.task is not None:
        engine.task = replace(engine.task, attempt=attempt)


def _check_cancelled(template: LoadedTemplate, assignment: Assignment) -> None:
    if assignment.id in engine.cancelled_calls:
        raise TaskCancelledError(f"{template.spec.name} was cancelled")
