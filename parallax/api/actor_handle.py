"""Handles: how actors are called, passed around and kept alive."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from parallax.actor_options import MethodOptions
from parallax.api.actor_info import ActorInfo, BoundMethod, load_info
from parallax.errors import UsageError
from parallax.ids import hex_id
from parallax.options import TaskOptions
from parallax.refs import ObjectRef, RefOwner, owner_of
from parallax.reprs import HtmlRepr
from parallax.serial.refs import note
from parallax.sessions.current import current_with
from parallax.sessions.frames import callers_line
from parallax.sessions.protocol import Session, Submitted


class ActorMethod(HtmlRepr):
    """A method of an actor. ``handle.method.remote(...)`` calls it and returns at once."""

    __slots__ = ("_handle", "_method")

    def __init__(self, handle: ActorHandle, method: BoundMethod) -> None:
        self._handle = handle
        self._method = method

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method. Returns at once.

        The calls of one process to an actor that runs one at a time are run in the order in which
        they were made. Arguments are passed as to tasks.

        Returns:
            An `ObjectRef`; with ``num_returns=k`` a list of k; with 0 None; for a generator an
            `ObjectRefGenerator`.

        Raises:
            TypeError: the arguments do not fit the method.
            SerializationError: an argument cannot be pickled.
            PendingCallsLimitExceeded: the actor has as many calls as `max_pending_calls` allows.
            ClusterLostError: the cluster is gone.
        """
        handle, method = self._handle, self._method
        patterns = method.patterns
        if ((len(args), *kwargs) if kwargs else len(args)) not in patterns.known:
            patterns.learn(method.title, args, kwargs)
        limit = handle._actor_info.max_pending_calls
        return session_of(handle).actors.call(handle._actor_id, method, limit, args, kwargs)

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options for its calls.

        Args:
            num_returns, concurrency_group, max_task_retries, retry_exceptions: see `method`.
            backpressure: how many items a generator may be ahead of its reader.
            name: shown in views.

        Raises:
            UsageError: an unknown option, or a value that makes no sense.
        """
        method = self._method
        info = self._handle._actor_info
        updated = method.with_options(info, method.options.updated(options))
        return ActorMethod(self._handle, updated)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self._method.name
        raise TypeError(
            f"{self._method.title} runs in the actor's process: call handle.{name}.remote(...)."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        method = self._method
        return _rebuild_method, (self._handle, method.name, method.options)

    def __repr__(self) -> str:
        return f"<method {self._method.title} of actor {hex_id(self._handle._actor_id)}>"


class ActorHandle(HtmlRepr):
    """An actor, as those see it who call it.

    ``handle.method.remote(...)`` calls a method, ``handle.ready()`` is a ref that is there once the
    actor can take calls, ``handle.call(f, ...)`` runs ``f(instance, ...)`` in the actor. Handles
    can be pickled, passed to tasks and other actors, and compared. When the last one is gone, the
    actor finishes the calls that it has and ends. Thread-safe.

        >>> import parallax as px
        >>> @px.remote
        ... class Log:
        ...     def __init__(self):
        ...         self.lines = []
        ...     def add(self, line):
        ...         self.lines.append(line)
        >>> log = Log.remote()
        >>> _ = [log.add.remote(line) for line in "abc"]
        >>> px.get(log.call(lambda self: self.lines))
        ['a', 'b', 'c']
    """

    # Names that hardly any class has for a method of its own, which they would hide.
    __slots__ = ("__weakref__", "_actor_id", "_actor_info", "_actor_owner")

    def __init__(self, actor: int, info: ActorInfo, owner: RefOwner | None) -> None:
        self._actor_id = actor
        self._actor_info = info
        self._actor_owner = owner

    def __getattr__(self, name: str) -> Any:
        if name in ActorHandle.__slots__ or (
            name.startswith("__") and name not in self._actor_info.methods
        ):
            raise AttributeError(name)  # Python itself asks for these
        try:
            return ActorMethod(self, self._actor_info.method(name))
        except AttributeError:
            if name == "ready":
                return partial(_ready, self)
            if name == "call":
                return partial(_call, self)
            with callers_line:
                raise

    def __dir__(self) -> list[str]:
        public = [name for name in self._actor_info.methods if not name.startswith("_")]
        return sorted({*public, "ready", "call"})

    def __hash__(self) -> int:
        return hash(self._actor_id)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ActorHandle)
            and other._actor_id == self._actor_id
            and other._actor_owner is self._actor_owner
        )

    def __reduce__(self) -> tuple[Any, ...]:
        owner = session_of(self).owner
        note(self._actor_id)
        return _rebuild, (owner.cluster, self._actor_id, self._actor_info.data)

    def __repr__(self) -> str:
        return f"<actor {self._actor_info.name} {hex_id(self._actor_id)}>"

    def __del__(self) -> None:
        # As of an `ObjectRef`: it may run inside the garbage collector, in any thread.
        owner = self._actor_owner
        if owner is not None:
            owner.dropped.append(self._actor_id)


def session_of(handle: ActorHandle) -> Session:
    """The session by which to reach this actor.

    Raises:
        UsageError: there is none any more.
    """
    owner = handle._actor_owner
    session = current_with(owner)
    if session is None:
        lost = owner.lost if owner is not None else ""
        reason = lost.partition("\n")[0].rstrip(".") or "it belongs to another session"
        raise UsageError(
            f"{handle!r} is out of reach: {reason}. Handles end with their session; make the "
            "actor anew, or find it by its name with parallax.get_actor(...)."
        )
    return session


def _ready(handle: ActorHandle) -> ObjectRef[bool]:
    """A ref that is there, and True, once the actor can take calls; what keeps it from that
    is raised by `get`."""
    actors = session_of(handle).actors
    made = actors.call(handle._actor_id, handle._actor_info.readiness, -1, (), {})
    assert isinstance(made, ObjectRef)
    return made


def _call(handle: ActorHandle, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run ``function(instance, *args, **kwargs)`` in the actor, in turn like any call."""
    call = _applied(function, handle._actor_info.name)
    made: Submitted = session_of(handle).actors.apply(handle._actor_id, call, args, kwargs)
    return made


def _rebuild_method(handle: ActorHandle, name: str, options: MethodOptions) -> ActorMethod:
    method = handle._actor_info.method(name)
    if options == method.options:
        return ActorMethod(handle, method)
    return ActorMethod(handle, method.with_options(handle._actor_info, options))


def _rebuild(cluster: str, actor: int, info: bytes) -> ActorHandle:
    owner = owner_of(cluster)
    if owner is not None:
        owner.adopt_actor(actor)
    return ActorHandle(actor, load_info(info), owner)


class _Applied:
    """A function that is to be called with an actor's instance, as a session takes it."""

    def __init__(self, function: Callable[..., Any], actor: str) -> None:
        self.function = function
        self.task_options = TaskOptions(num_cpus=0, max_retries=0)
        self.name = f"{actor}.call({getattr(function, '__name__', 'function')})"
        self.streaming = False
        self.num_returns = 1
        self.shared: MutableMapping[Any, Any] = WeakKeyDictionary()
        self.session_data: Any = None


@lru_cache(maxsize=64)
def _applied(function: Callable[..., Any], actor: str) -> _Applied:
    """The same for the same function, which is then shipped once."""
    return _Applied(function, actor)
