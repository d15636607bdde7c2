"""`@remote`: functions that run as tasks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import fields
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakKeyDictionary

from parallax.actor_options import ACTOR_OPTION_NAMES, ActorOptions
from parallax.api.actors import ActorClass, make_actor_class
from parallax.api.caching import CachedResultsOf, CacheInfo, check_cacheable
from parallax.api.call_patterns import CallPatterns
from parallax.errors import UsageError
from parallax.options import TASK_OPTION_NAMES, TaskOptions
from parallax.refs import ObjectRef
from parallax.reprs import HtmlRepr
from parallax.sessions.current import current
from parallax.sessions.frames import callers_line

P = ParamSpec("P")
T = TypeVar("T")

DEFAULTS = TaskOptions()


class RemoteFunction(HtmlRepr, Generic[P, T]):
    """A function whose calls run as tasks on the engines.

    ``f.remote(...)`` starts a task and returns its `ObjectRef` at once; ``f.map(xs)`` starts one
    task an item; ``f.options(...)`` is the same function with other options. Made by `remote`;
    what it was made of is ``f.function``. Thread-safe, and picklable as its function is.

        >>> import parallax as px
        >>> double = px.remote(lambda x: 2 * x)
        >>> px.get(double.remote(4)), px.get(double.map([1, 2])), double.function(4)
        (8, [2, 4], 8)
    """

    def __init__(
        self,
        function: Callable[P, T],
        options: TaskOptions = DEFAULTS,
        shared: MutableMapping[Any, Any] | None = None,
        patterns: CallPatterns | None = None,
    ) -> None:
        self.function = function
        self.task_options = options
        self.shared: MutableMapping[Any, Any] = WeakKeyDictionary() if shared is None else shared
        self.session_data: Any = None
        self._patterns = patterns or CallPatterns(function)
        self.name = options.name or _name_of(function)
        generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        returns = options.num_returns
        self.streaming = returns == "streaming" or (returns is None and generator)
        self.num_returns = returns if isinstance(returns, int) else 1
        if options.backpressure is not None and not self.streaming:
            raise UsageError(
                "backpressure is for streaming results: make the function a generator, or pass "
                'num_returns="streaming".'
            )
        if options.durable and self.streaming:
            raise UsageError(
                f"{self.name} streams its results, and a stream ends with its reader: durable=True "
                "needs a list that is returned instead of yielded, or is to be left out."
            )
        if options.cache:
            check_cacheable(self.name, self.num_returns, streaming=self.streaming)
        functools.update_wrapper(self, function, updated=())

    def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Start a task. Returns at once.

        Arguments that are `ObjectRef`s are replaced by their values before the function runs,
        and the task waits for them; refs inside containers are passed as refs. Costs some
        microseconds; arguments over 64 KiB are written to shared memory first.

        Args:
            args: of the function, by position.
            kwargs: of the function, by name.

        Returns:
            An `ObjectRef`; with ``num_returns=k`` a list of k; with 0 None; for a generator
            function an `ObjectRefGenerator`.

        Raises:
            TypeError: the arguments do not fit the function's signature.
            SerializationError: the function or an argument cannot be pickled.
            UsageError: it is ``durable``, and refs are inside of its arguments.
            ClusterLostError: the cluster is gone.
        """
        with callers_line:
            if ((len(args), *kwargs) if kwargs else len(args)) not in self._patterns.known:
                self._patterns.learn(self.name, args, kwargs)
            return current().submit(self, args, kwargs)

    def map(self, *iterables: Iterable[Any], chunk: int | str = "auto") -> list[ObjectRef[T]]:
        """Start one task an item, as the built-in `map` calls a function. Returns at once.

        Args:
            iterables: one for each argument of the function; the shortest ends the map.
            chunk: how many items travel together. ``"auto"`` batches short tasks; an engine
                gives back items of a batch that turns out to take long.

        Returns:
            One ref an item, in order.

        Raises:
            TypeError: the function does not take so many arguments, or one is no iterable.
            UsageError: no iterables, or a `chunk` that makes no sense.
            SerializationError: the function or an item cannot be pickled.
            ClusterLostError: the cluster is gone.
        """
        with callers_line:
            if not iterables:
                raise UsageError("map needs at least one iterable: f.map(range(10)).")
            if chunk != "auto" and (
                not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1
            ):
                raise UsageError(f'chunk={chunk!r} must be an int of at least 1, or "auto".')
            for iterable in iterables:
                if isinstance(iterable, ObjectRef):
                    raise UsageError("map takes iterables, not refs: get the value first.")
            self.check_arguments(len(iterables))
            items = list(zip(*map(_iterator, iterables), strict=False))
            size = None if isinstance(chunk, str) else chunk
            return current().submit_map(self, items, size)

    def check_arguments(self, count: int) -> None:
        """Check that the function takes so many positional arguments.

        Args:
            count: how many a call would have.

        Raises:
            TypeError: it does not.
        """
        if count not in self._patterns.known:
            self._patterns.learn(self.name, (None,) * count, {})

    def options(self, **options: Any) -> RemoteFunction[P, T]:
        """The same function with other options: ``f.options(num_cpus=2).remote(x)``.

        Args:
            options: those of `remote`; what is not given stays as it is.

        Raises:
            UsageError: an unknown option, or a value that makes no sense.
        """
        with callers_line:
            updated = self.task_options.updated(options)
            return RemoteFunction(self.function, updated, self.shared, self._patterns)

    def cache_info(self) -> CacheInfo:
        """What is kept of this function in its present version. Starts nothing.

        Raises:
            UsageError: it was made without ``cache=True``.
        """
        with callers_line:
            return CachedResultsOf(self).info()

    def cache_clear(self) -> None:
        """Remove what is kept of this function in its present version. Starts nothing.

        Tasks that run just now still keep their results. Older versions are not touched; they go
        when room is wanted.

        Raises:
            UsageError: it was made without ``cache=True``.
        """
        with callers_line:
            CachedResultsOf(self).clear()

    def is_cached(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether the result of this call is kept. Waits for the values of references among the
        arguments, and starts nothing.

        Args:
            args: of the function, by position.
            kwargs: of the function, by name.

        Raises:
            TypeError: the arguments do not fit the function's signature.
            UsageError: it was made without ``cache=True``, or an argument has no content that
                could be compared.
        """
        with callers_line:
            self._patterns.learn(self.name, args, kwargs)
            return CachedResultsOf(self).has(args, kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        with callers_line:
            raise TypeError(
                f"{self.name} is a remote function: call {self.name}.remote(...) to run it as a "
                f"task, or {self.name}.function(...) to run it here."
            )

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        raise TypeError(
            f"{self.name} is a remote function inside a class; remote methods need the class "
            "itself to be remote."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFunction, (self.function, self.task_options)

    def __repr__(self) -> str:
        given = "".join(
            f", {field.name}={value!r}"
            for field in fields(self.task_options)
            if (value := getattr(self.task_options, field.name)) != field.default
            and field.name != "name"
        )
        return f"<remote function {self.name}{self._patterns.signature}{given}>"


class RemoteDecorator(Protocol):
    """What `remote` with options returns."""

    @overload
    def __call__(self, cls: type[Any], /) -> ActorClass: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, T], /) -> RemoteFunction[P, T]: ...


@overload
def remote(cls: type[Any], /) -> ActorClass: ...  # type: ignore[overload-overlap]
@overload
def remote(function: Callable[P, T], /) -> RemoteFunction[P, T]: ...
@overload
def remote(**options: Any) -> RemoteDecorator: ...


def remote(*args: Any, **options: Any) -> Any:
    """Make a function run as tasks, or a class live as actors. Starts nothing by itself.

    Calls of a remote function run on the engines; instances of a remote class live in processes of
    their own, keep their state, and are called from anywhere.

    Use it bare or with options:

        >>> import parallax as px
        >>> @px.remote
        ... def square(x):
        ...     return x * x
        >>> px.get(square.remote(7))
        49
        >>> @px.remote(num_cpus=2, max_retries=0)
        ... def heavy(x):
        ...     return x
        >>> @px.remote
        ... class Counter:
        ...     def __init__(self, start=0):
        ...         self.value = start
        ...     def add(self, n=1):
        ...         self.value += n
        ...         return self.value
        >>> counter = Counter.remote(10)
        >>> px.get([counter.add.remote(), counter.add.remote(5)])
        [11, 16]

    Args:
        num_cpus: cores reserved while it runs (1); BLAS and OpenMP are limited to as many.
        num_gpus: GPUs reserved (0); `CUDA_VISIBLE_DEVICES` follows. Fractions share a GPU.
        memory: bytes reserved (none).
        resources: custom resources reserved, a dict (none).
        num_returns: how many refs a call returns (1). k needs a sequence of k values, 0 returns
            None, ``"streaming"`` (the default of generator functions) an `ObjectRefGenerator`.
        max_retries: how often it runs again when its engine or node crashes (3); -1: no limit.
        retry_exceptions: run it again when it raises: True, or a list of types (False).
        timeout_s: seconds after which the attempt is stopped with `TaskTimeoutError` (none).
        scheduling_strategy: ``"DEFAULT"``, ``"SPREAD"``, `NodeAffinity`, a `PlacementGroup`, or
            `PlacementGroupSchedulingStrategy`.
        name: shown in views (the function's name).
        max_calls: replace the engine after so many calls, for libraries that leak (none).
        backpressure: how many values a generator may be ahead of its reader (no limit).
        cache: keep the result on disk, and take it from there when the same code is called with
            equal arguments, in later sessions, too (False).
        durable: on a named pool, go on in the next pool of that name when this one was killed, and
            without the client that submitted it (False).

    Options of classes:
        num_cpus: cores to construct it (1); if given, they are reserved as long as it lives.
        num_gpus, memory, resources: reserved as long as it lives.
        max_concurrency: calls that run at once (1; 1000 with ``async def`` methods): in threads,
            or on one event loop.
        concurrency_groups: limits of their own for groups of methods, ``{"io": 2}``.
        max_restarts: how often it is made anew when its process crashes (0); -1: no limit. The
            constructor runs again.
        max_task_retries: how often a call runs again when it does (0); -1: no limit.
        name, namespace: by which `get_actor` finds it.
        get_if_exists: return the actor of that name if there is one.
        lifetime: ``"detached"``: it lives until it is killed, not until its last handle is gone.
        max_pending_calls: of one process; beyond it a call raises `PendingCallsLimitExceeded`.
        scheduling_strategy: as of functions.

    Raises:
        UsageError: an unknown option, or a value that makes no sense.
    """
    with callers_line:
        if args:
            if len(args) > 1 or options or not callable(args[0]):
                raise UsageError(
                    "use @remote, or @remote(option=value, ...), on a function or class."
                )
            return _make(args[0], {})
        # What makes sense on a function or on a class is told apart once it is there.
        if set(options) <= TASK_OPTION_NAMES - ACTOR_OPTION_NAMES or not (
            set(options) <= TASK_OPTION_NAMES | ACTOR_OPTION_NAMES
        ):
            DEFAULTS.updated(options)
        elif set(options) <= ACTOR_OPTION_NAMES:
            ActorOptions().updated(options)
        return lambda function: _make(function, options)


def _make(function: Any, options: dict[str, Any]) -> RemoteFunction[Any, Any] | ActorClass:
    if isinstance(function, RemoteFunction | ActorClass):
        raise UsageError(f"{function!r} is remote already.")
    if inspect.isclass(function):
        return make_actor_class(function, options)
    if not callable(function):
        raise UsageError(f"@remote goes on a function or a class, not on {function!r}.")
    return RemoteFunction(function, DEFAULTS.updated(options) if options else DEFAULTS)


def _iterator(iterable: Iterable[T]) -> Iterator[T]:
    try:
        return iter(iterable)
    except TypeError:
        raise TypeError(
            f"map takes iterables, such as f.map(range(10)), not {iterable!r}."
        ) from None


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))
