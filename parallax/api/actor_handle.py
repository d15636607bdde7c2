"""Handles: how actors are called, passed around and kept alive."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from parallax.api.actor_info import ActorInfo, BoundMethod, load_info
from parallax.errors import UsageError
from parallax.ids import hex_id
from parallax.options import TaskOptions
from parallax.refs import ObjectRef, RefOwner, owner_of
from parallax.reprs import HtmlRepr
from parallax.serial.refs import note
from parallax.sessions.current import current_with
from parallax.sessions.protocol import Session, Submitted


class ActorMethod(HtmlRepr):
    """A method of an actor. ``handle.method.remote(...)`` calls it and returns at once."""

    __slots__ = ("_handle", "_method")

    def __init__(self, handle: ActorHandle, method: BoundMethod) -> None:
        self._handle = handle
        self._method = method

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method. Returns at once.

        The calls of one process to an actor that runs one at a time are run in the order in which
        they were made. Arguments are passed as to tasks.

        Returns:
            An `ObjectRef`; with ``num_returns=k`` a list of k; with 0 None; for a generator an
            `ObjectRefGenerator`.

        Raises:
            SerializationError: an argument cannot be pickled.
            PendingCallsLimitExceeded: the actor has as many calls as `max_pending_calls` allows.
            ClusterLostError: the cluster is gone.
        """
        handle = self._handle
        session = handle._session()
        return session.actors.call(
            handle._id, self._method, handle._info.max_pending_calls, args, kwargs
        )

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
        updated = BoundMethod(
            self._handle._info,
            method.name,
            method.options.updated(options),
            generator=method.generator,
        )
        return ActorMethod(self._handle, updated)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self._method.name
        raise TypeError(
            f"{self._method.title} runs in the actor's process: call handle.{name}.remote(...)."
        )

    def __repr__(self) -> str:
        return f"<method {self._method.title} of actor {hex_id(self._handle._id)}>"


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

    __slots__ = ("__weakref__", "_id", "_info", "_owner")

    def __init__(self, actor: int, info: ActorInfo, owner: RefOwner | None) -> None:
        self._id = actor
        self._info = info
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        if name in ActorHandle.__slots__ or (
            name.startswith("__") and name not in self._info.methods
        ):
            raise AttributeError(name)  # Python itself asks for these
        try:
            return ActorMethod(self, self._info.method(name))
        except AttributeError:
            if name == "ready":
                return self._ready
            if name == "call":
                return self._call
            raise

    def _ready(self) -> ObjectRef[bool]:
        """A ref that is there, and True, once the actor can take calls; what keeps it from that
        is raised by `get`."""
        made = self._session().actors.call(self._id, self._info.readiness, -1, (), {})
        assert isinstance(made, ObjectRef)
        return made

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``function(instance, *args, **kwargs)`` in the actor, in turn like any call."""
        call = _applied(function, self._info.name)
        made: Submitted = self._session().actors.apply(self._id, call, args, kwargs)
        return made

    def _session(self) -> Session:
        session = current_with(self._owner)
        if session is None:
            lost = self._owner.lost if self._owner is not None else ""
            reason = lost.partition("\n")[0].rstrip(".") or "it belongs to another session"
            raise UsageError(
                f"{self!r} is out of reach: {reason}. Handles end with their session; make the "
                "actor anew, or find it by its name with parallax.get_actor(...)."
            )
        return session

    def __dir__(self) -> list[str]:
        public = [name for name in self._info.methods if not name.startswith("_")]
        return sorted({*public, "ready", "call"})

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ActorHandle) and other._id == self._id and other._owner is self._owner
        )

    def __reduce__(self) -> tuple[Any, ...]:
        owner = self._session().owner
        note(self._id)
        return _rebuild, (owner.cluster, self._id, self._info.data)

    def __repr__(self) -> str:
        return f"<actor {self._info.name} {hex_id(self._id)}>"

    def __del__(self) -> None:
        # As of an `ObjectRef`: it may run inside the garbage collector, in any thread.
        owner = self._owner
        if owner is not None:
            owner.dropped.append(self._id)


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
