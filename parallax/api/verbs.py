"""The verbs: put, get, wait, as_completed, map_unordered, cancel."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from parallax.api.checks import check_count, check_timeout, refs_of
from parallax.api.remote import RemoteFunction
from parallax.errors import GetTimeoutError, UsageError
from parallax.options import MAX_COUNT
from parallax.refs import ObjectRef, ObjectRefGenerator
from parallax.sessions.current import current, current_of
from parallax.sessions.frames import callers_line
from parallax.sessions.protocol import Session

T = TypeVar("T")


def put(value: T) -> ObjectRef[T]:
    """Store a value once, for any number of tasks to read.

    Large arrays, tables and frames go to shared memory; readers get read-only views of them
    without a copy. Blocks while the value is written, which costs one copy of it; a small value
    travels with the next message.

        >>> import parallax as px
        >>> ref = px.put([1, 2, 3])
        >>> px.get(ref)
        [1, 2, 3]

    Args:
        value: anything that can be pickled; later changes to it do not count.

    Raises:
        TypeError: `value` is a ref already.
        SerializationError: it cannot be pickled.
        ObjectStoreFullError: there is no room for it.
    """
    with callers_line:
        if isinstance(value, ObjectRef):
            raise TypeError(
                "put takes a value, and this is a ref already: pass the ref on as it is, or put a "
                "list that contains it."
            )
        return current().put(value)


@overload
def get(refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...


@overload
def get(refs: Sequence[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...


def get(refs: Any, *, timeout: float | None = None) -> Any:
    """Wait for values and return them.

    Blocks, and may be called from any thread. A Ctrl-C, or the notebook's stop button, raises at
    once and cancels the tasks that this call waits for. A large value in shared memory costs
    microseconds, whatever its size.

        >>> import parallax as px
        >>> refs = px.remote(abs).map([-1, -2])
        >>> px.get(refs[0]), px.get(refs)
        (1, [1, 2])

    Args:
        refs: one ref, or a sequence of refs.
        timeout: seconds to wait at most; 0 only looks; None waits for ever.

    Returns:
        The value, or a list of values in the order of the refs. Arrays are read-only.

    Raises:
        TypeError: something else than refs.
        UsageError: a ref of another session, or a timeout that makes no sense.
        TaskError: a task raised; the error is also of the type that the task raised.
        TaskCancelledError, TaskTimeoutError, EngineDiedError, ObjectLostError: what became of a
            task that has no value.
        SerializationError: a class of the value is not to be found here.
        GetTimeoutError: not all values were there in time; also a TimeoutError.
        ClusterLostError: the cluster is gone.
    """
    with callers_line:
        timeout_s = check_timeout(timeout)
        if type(refs) is ObjectRef:
            return current_of([refs]).get([refs], timeout_s)[0]
        found = refs_of(refs, "get")
        return current_of(found).get(found, timeout_s)


def wait(
    refs: Sequence[ObjectRef[T]],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[ObjectRef[T]], list[ObjectRef[T]]]:
    """Wait until some of the refs are ready, whether with a value or an error.

    Blocks; errors of tasks do not raise here.

        >>> import parallax as px
        >>> ready, rest = px.wait(px.remote(abs).map([-1, -2]), num_returns=2)
        >>> len(ready), rest
        (2, [])

    Args:
        refs: distinct refs, at least one.
        num_returns: how many to wait for.
        timeout: seconds to wait at most; 0 only looks; None waits for ever.
        fetch_local: fetch the values too, so that `get` is quick (always so on one host).

    Returns:
        Two lists in the order of `refs`: ready ones, at most `num_returns`, and the rest.

    Raises:
        TypeError: `refs` is a bare ref, or something else is in it.
        UsageError: (a ValueError) it is empty or has duplicates, or `num_returns` is out of range.
    """
    with callers_line:
        found = refs_of(refs, "wait")
        timeout_s = check_timeout(timeout)
        if not found:
            raise UsageError("wait needs at least one ref, and the list is empty.")
        if len(set(found)) != len(found):
            twice = next(ref for ref, times in Counter(found).items() if times > 1)
            raise UsageError(
                f"wait takes each ref once; the list has duplicates, such as {twice!r}."
            )
        check_count("num_returns", num_returns, len(found), "the number of refs, ")
        done = current_of(found).wait(found, num_returns, timeout_s, fetch=fetch_local)
        ready = [ref for ref in found if ref.id in done][:num_returns]
        chosen = {ref.id for ref in ready}
        return ready, [ref for ref in found if ref.id not in chosen]


def as_completed(
    refs: Sequence[ObjectRef[T]], *, timeout: float | None = None
) -> Iterator[ObjectRef[T]]:
    """Yield refs as they become ready, the earliest first.

    Each step blocks until one more is ready, whether with a value or an error. Leaving the loop
    early cancels nothing.

        >>> import parallax as px
        >>> @px.remote
        ... def same(x):
        ...     return x
        >>> sorted(px.get(ref) for ref in px.as_completed(same.map(range(3))))
        [0, 1, 2]

    Args:
        refs: any number; one that is there twice comes once.
        timeout: seconds for all of them together; None waits for ever.

    Raises:
        TypeError: `refs` is a bare ref, or something else is in it.
        GetTimeoutError: not all were ready in time.
    """
    with callers_line:
        found = list(dict.fromkeys(refs_of(refs, "as_completed")))
        return _as_completed(current_of(found), found, check_timeout(timeout))


def _as_completed(
    session: Session, refs: list[ObjectRef[T]], timeout_s: float | None
) -> Iterator[ObjectRef[T]]:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while refs:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        with callers_line:
            done = session.wait(refs, 1, left_s, fetch=True)
            if not done:
                raise GetTimeoutError(
                    f"{len(refs)} refs were not ready after {timeout_s:g} s. The tasks go on."
                )
        ready = [ref for ref in refs if ref.id in done]
        refs = [ref for ref in refs if ref.id not in done]
        yield from ready


def map_unordered(
    function: RemoteFunction[..., T], items: Iterable[Any], *, backpressure: int | None = None
) -> Iterator[T]:
    """Run a remote function on each item and yield the values as they are ready.

    Items are taken from the iterable as tasks finish, so it may be endless. Each step blocks until
    one more value is ready; in what order they come is left to chance.

        >>> import parallax as px
        >>> sorted(px.map_unordered(px.remote(abs), [-1, -2, -3]))
        [1, 2, 3]

    Args:
        function: a remote function of one argument with one return value.
        items: any iterable.
        backpressure: how many tasks may be in flight at once (4 for each CPU of the cluster).

    Raises:
        UsageError: no such function, or a `backpressure` that makes no sense.
        TypeError: the function does not take one argument.
        TaskError: a task raised; the others go on, and end unread.
    """
    with callers_line:
        if not isinstance(function, RemoteFunction):
            raise UsageError(f"map_unordered needs a remote function, not {function!r}.")
        if function.streaming or function.num_returns != 1:
            raise UsageError("map_unordered needs a function with one return value.")
        function.check_arguments(1)
        limit = backpressure
        if limit is None:
            limit = 4 * max(1, int(current().ask("resources")["total"].get("CPU", 1)))
        else:
            check_count("backpressure", limit, MAX_COUNT)
        return _map_unordered(function, iter(items), limit)


def _map_unordered(
    function: RemoteFunction[..., T], items: Iterator[Any], limit: int
) -> Iterator[T]:
    session = current()
    flying = [function.remote(item) for item in itertools.islice(items, limit)]
    while flying:
        with callers_line:
            done = session.wait(flying, 1, None, fetch=True)
        ready = [ref for ref in flying if ref.id in done]
        flying = [ref for ref in flying if ref.id not in done]
        flying += [function.remote(item) for item in itertools.islice(items, len(ready))]
        for ref in ready:
            yield get(ref)


def cancel(
    ref: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel the task behind a ref. Returns at once.

    A task that waits never runs; one that runs gets a KeyboardInterrupt; one that has ended is
    left alone. `get` of a cancelled task raises `TaskCancelledError`. Of an actor's calls a
    coroutine is cancelled at its next ``await``; others see ``is_canceled()`` of their
    `get_runtime_context`.

        >>> import parallax as px
        >>> import time
        >>> ref = px.remote(time.sleep).remote(60)
        >>> px.cancel(ref)
        >>> px.get(ref)
        Traceback (most recent call last):
        parallax.errors.TaskCancelledError: sleep was cancelled

    Args:
        ref: of a task, or its generator; nothing happens to what was `put`.
        force: kill the engine of a running task, for code that ignores interrupts.
        recursive: cancel the tasks that it has submitted, too.

    Raises:
        TypeError: `ref` is no ref.
        UsageError: it is of another session, or `force` was asked for on a call of an actor.
        ClusterLostError: the cluster is gone.
    """
    with callers_line:
        if not isinstance(ref, ObjectRef | ObjectRefGenerator):
            raise TypeError(
                f"cancel takes one ObjectRef, not {type(ref).__name__}. A whole job ends with "
                "parallax.job_of(ref).cancel()."
            )
        number = ref.id if isinstance(ref, ObjectRef) else ref.task_id
        session = current_of([ref])
        if force and session.ask("is_call", number):
            raise UsageError(
                "cancel(force=True) would kill the actor that runs this call, and its state. "
                "Cancel without force, or use kill(handle) if that is meant."
            )
        session.cancel([number], force=force, recursive=recursive)
