"""`@remote` on classes, and what there is to do with actors besides calling them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from parallax.actor_options import ASYNC_CONCURRENCY, ActorOptions
from parallax.api.actor_handle import ActorHandle, session_of
from parallax.api.actor_info import DEFAULTS, OPTIONS_ATTRIBUTE, info_of, load_info
from parallax.api.call_patterns import CallPatterns
from parallax.errors import UsageError
from parallax.options import TaskOptions
from parallax.pool.actor_host import is_async
from parallax.pool.context import ActorExit
from parallax.reprs import HtmlRepr
from parallax.sessions.current import current
from parallax.sessions.protocol import Call

F = TypeVar("F", bound=Callable[..., Any])


class ActorClass(HtmlRepr):
    """A class whose instances live as actors, each in a process of its own.

    ``A.remote(...)`` makes one and returns its `ActorHandle` at once; ``A.options(...)`` is the
    same class with other options. Other attributes, such as static methods, are those of the class
    itself, and a class may inherit from it. Made by `remote`. Thread-safe, and picklable as its
    class is.

        >>> import parallax as px
        >>> @px.remote
        ... class Greeter:
        ...     def greet(self, name):
        ...         return f"hello {name}"
        >>> greeter = Greeter.options(num_cpus=0.5).remote()
        >>> px.get(greeter.greet.remote("you"))
        'hello you'
    """

    def __init__(self, cls: type, plan: _Plan) -> None:
        self._plan = plan
        self.__wrapped__ = cls
        self.__doc__ = cls.__doc__
        self.__name__, self.__qualname__ = cls.__name__, cls.__qualname__
        self.__module__ = cls.__module__

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle:
        """Make an actor: ``__init__`` runs in its process. Returns at once.

        An actor with a name takes a round trip to the hub, to find out whether the name is free.

        Args:
            args: of ``__init__``, by position; as of tasks, refs are replaced by their values.
            kwargs: of ``__init__``, by name.

        Returns:
            Its handle. If ``__init__`` raises, calls raise `ActorDiedError` with that as `cause`.

        Raises:
            TypeError: the arguments do not fit ``__init__``.
            SerializationError: the class or an argument cannot be pickled.
            UsageError: the name is taken.
            ClusterLostError: the cluster is gone.
        """
        patterns = self._plan.patterns
        if ((len(args), *kwargs) if kwargs else len(args)) not in patterns.known:
            patterns.learn(self.__name__, args, kwargs)
        session = current()
        actor, info = session.actors.create(self._plan, args, kwargs)
        return ActorHandle(actor, load_info(info), session.owner)

    def options(self, **options: Any) -> ActorClass:
        """The same class with other options: ``A.options(name="a").remote()``.

        Args:
            options: those of `remote` for classes; what is not given stays as it is.

        Raises:
            UsageError: an unknown option, or a value that makes no sense.
        """
        cls, plan = self.__wrapped__, self._plan
        updated = plan.actor_options.updated(options)
        return ActorClass(cls, _Plan(cls, updated, plan.constructor.shared))

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self.__name__
        raise TypeError(
            f"{name} is an actor class: call {name}.remote(...) to make an actor, or "
            f"{name}.__wrapped__(...) for a plain instance in this process."
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self.__wrapped__,)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.__wrapped__, self._plan.actor_options)

    def __repr__(self) -> str:
        return f"<actor class {self.__name__}>"


def _rebuild(cls: type, options: ActorOptions) -> ActorClass:
    return ActorClass(cls, _Plan(cls, options))


class _Plan:
    """See `ActorPlan`."""

    def __init__(
        self,
        cls: type,
        options: ActorOptions,
        shared: MutableMapping[Any, Any] | None = None,
    ) -> None:
        self.actor_options = options
        self.is_async = is_async(cls)
        default = ASYNC_CONCURRENCY if self.is_async else 1
        self.concurrency = options.max_concurrency or default
        self.constructor: Call = _Constructor(cls, options.constructor, shared)
        self.patterns = CallPatterns(cls)
        self._info = info_of(cls, options)
        self.info = self._info.data


class _Constructor:
    """A class as a session takes it: a function that returns one instance."""

    def __init__(
        self, cls: type, options: TaskOptions, shared: MutableMapping[Any, Any] | None
    ) -> None:
        self.function: Any = cls
        self.task_options = options
        self.name = cls.__name__
        self.streaming = False
        self.num_returns = 1
        self.shared: MutableMapping[Any, Any] = WeakKeyDictionary() if shared is None else shared
        self.session_data: Any = None


def method(**options: Any) -> Callable[[F], F]:
    """Set options of a method of an actor class. Starts nothing.

        >>> import parallax as px
        >>> @px.remote
        ... class Pair:
        ...     @px.method(num_returns=2)
        ...     def both(self):
        ...         return 1, 2
        >>> pair = Pair.remote()
        >>> px.get(pair.both.remote())
        [1, 2]

    Args:
        options: these:
        num_returns: how many refs a call returns (1), as of tasks.
        concurrency_group: the group of the actor's `concurrency_groups` that it belongs to.
        max_task_retries: how often a call runs again when the actor crashes (as the actor has it).
        retry_exceptions: run a call again when it raises: True, or a list of types (False).

    Raises:
        UsageError: an unknown option, or a value that makes no sense.
    """
    checked = DEFAULTS.updated(options)

    def mark(function: F) -> F:
        target = getattr(function, "__func__", function)
        setattr(target, OPTIONS_ATTRIBUTE, checked)
        return function

    return mark


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The actor of this name. Takes a round trip to the hub.

        >>> import parallax as px
        >>> @px.remote
        ... class Board:
        ...     def top(self):
        ...         return "Ada"
        >>> board = Board.options(name="board").remote()
        >>> px.get(px.get_actor("board").top.remote())
        'Ada'

    Args:
        name: that it was given by ``options(name=...)``.
        namespace: where to look (that of the session).

    Raises:
        UsageError: there is none.
        ClusterLostError: the cluster is gone.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"get_actor({name!r}): a name is a string that is not empty.")
    session = current()
    try:
        actor, info = session.actors.find(name, namespace or "")
    except LookupError:
        where = f" in namespace {namespace!r}" if namespace else ""
        known = ", ".join(map(repr, session.actors.named(everywhere=False))) or "none"
        raise UsageError(
            f"there is no actor named {name!r}{where}. Names in this namespace: {known}. An actor "
            'goes with its last handle, unless it was made with lifetime="detached".'
        ) from None
    return ActorHandle(actor, load_info(info), session.owner)


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of the actors that have one. Takes a round trip to the hub.

        >>> import parallax as px
        >>> @px.remote
        ... class Ledger: ...
        >>> ledger = Ledger.options(name="ledger").remote()
        >>> "ledger" in px.list_named_actors()
        True

    Args:
        all_namespaces: look everywhere; the list then has dicts with ``name`` and ``namespace``.

    Raises:
        ClusterLostError: the cluster is gone.
    """
    names = current().actors.named(everywhere=all_namespaces)
    if not all_namespaces:
        return names
    return [{"name": name, "namespace": namespace} for namespace, name in names]


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """End an actor's process now, whatever it does. Returns at once.

    Calls that have not ended raise `ActorDiedError`.

        >>> import parallax as px
        >>> @px.remote
        ... class Stubborn:
        ...     def stay(self):
        ...         while True: ...
        >>> actor = Stubborn.remote()
        >>> px.kill(actor)

    Args:
        actor: its handle.
        no_restart: False lets it start anew if its `max_restarts` allow, as after a crash.

    Raises:
        TypeError: `actor` is no handle.
    """
    if not isinstance(actor, ActorHandle):
        raise TypeError(
            f"kill takes an actor's handle, not {type(actor).__name__}; to stop a task use cancel."
        )
    session_of(actor).actors.kill(actor._actor_id, restart=not no_restart)


def exit_actor() -> NoReturn:
    """End the actor whose method this is called in. It does not start anew.

    It raises through the method, and blocks nobody. This call, and those that wait, raise
    `ActorDiedError` for their callers.

        >>> import parallax as px
        >>> @px.remote
        ... class Brief:
        ...     def leave(self):
        ...         px.exit_actor()
        >>> px.get(Brief.remote().leave.remote())  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        parallax.errors.ActorDiedError: ...

    Raises:
        UsageError: not in a method of an actor.
    """
    if not current().context()["actor"]:
        raise UsageError("exit_actor() ends the actor whose method calls it; this is none.")
    raise ActorExit("exit_actor() was called")


def make_actor_class(cls: Any, options: dict[str, Any]) -> ActorClass:
    """`remote` on a class.

    Raises:
        UsageError: an option that actors do not have, or a value that makes no sense.
    """
    if inspect.isabstract(cls):
        raise UsageError(f"{cls.__name__} is abstract: make a class remote that can be made.")
    return _rebuild(cls, ActorOptions().updated(options))
