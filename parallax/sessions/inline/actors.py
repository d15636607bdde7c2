"""The actors of an inline session: instances in this process, whose calls run at once.

A call has ended when it was made, in the thread that makes it. So an asyncio actor runs each
coroutine to its end by itself, and an actor never crashes without the program.
"""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from parallax.errors import UsageError
from parallax.ids import hex_id
from parallax.messages import Failure
from parallax.options import TaskOptions
from parallax.pool.context import ActorExit
from parallax.pool.failures import to_error
from parallax.sessions.inline.book import InlineBook
from parallax.sessions.protocol import ActorPlan, Call, Method, Submitted

if TYPE_CHECKING:
    from parallax.sessions.inline.session import InlineSession

current_actor: contextvars.ContextVar[int] = contextvars.ContextVar("parallax_actor", default=0)
"""The actor whose code runs here, 0 for none."""


class InlineActor:
    """One actor."""

    def __init__(self, plan: ActorPlan, make: Callable[[], Any], name: tuple[str, str]) -> None:
        self.id = 0
        self.title = plan.constructor.name
        self.info = plan.info
        self.name = name
        home = plan.constructor.task_options.group
        self.group = home.placement_group.number if home is not None else 0
        self.detached = plan.actor_options.lifetime == "detached"
        self.restarts_left = plan.actor_options.max_restarts
        self.instance: Any = None
        self.failure: Failure | None = None
        """Why it is dead."""
        self.lock = threading.RLock()
        self._make = make

    def construct(self) -> None:
        """Make the instance, or make it anew."""
        self.instance = self._make()

    def end(self, why: str, data: bytes = b"") -> None:
        """It serves no call any more."""
        text = f"the actor {self.title} ({hex_id(self.id)}) is dead: {why}"
        self.failure = Failure("actor_died", text, data, self.id)
        self.instance = None

    def apply(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call this with the instance."""
        with self._inside(), self.lock:
            result = function(self.instance, *args, **kwargs)
        if inspect.iscoroutine(result):
            return self._await(result)
        return self._iterate(result) if inspect.isgenerator(result) else result

    async def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with self._inside():
            return await coroutine

    def _iterate(self, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self._inside():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """The actor's own code runs."""
        token = current_actor.set(self.id)
        try:
            yield
        except ActorExit:
            self.end("it left by exit_actor()")
            assert self.failure is not None
            raise to_error(self.failure) from None
        finally:
            current_actor.reset(token)


class InlineCall:
    """A constructor or a call as an inline task runs it; see `Call`."""

    def __init__(
        self, function: Callable[..., Any], what: Method | Call, options: TaskOptions
    ) -> None:
        self.function = function
        self.task_options = options
        self.name = getattr(what, "title", what.name)
        self.streaming = what.streaming
        self.num_returns = 0 if what.streaming else what.num_returns
        self.shared: MutableMapping[Any, Any] = {}
        self.session_data: Any = None


class InlineActors:
    """See `Actors`."""

    def __init__(self, session: InlineSession, book: InlineBook) -> None:
        self._session = session
        self._book = book
        self._rows: dict[int, InlineActor] = {}
        self._names: dict[tuple[str, str], InlineActor] = {}

    # ---- making and finding -----------------------------------------------------------------

    def create(
        self, plan: ActorPlan, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[int, bytes]:
        """See `Actors`. The constructor has run when this returns."""
        self._enter()
        options = plan.actor_options
        namespace = options.namespace or self._session.namespace
        key = (namespace, options.name or "")
        if options.name and key in self._names:
            if options.get_if_exists:
                return self.find(options.name, namespace)
            raise UsageError(
                f"there is an actor named {options.name!r} already. Find it with "
                f"parallax.get_actor({options.name!r}), pass get_if_exists=True, or choose another "
                "name."
            )
        self._session.require_shippable(plan.constructor)
        cls = plan.constructor.function
        given: list[Any] = []

        def construct(*args: Any, **kwargs: Any) -> None:
            given[:] = args, kwargs
            actor.construct()

        actor = InlineActor(plan, lambda: cls(*given[0], **given[1]), key)
        call = InlineCall(construct, plan.constructor, plan.constructor.task_options)
        task, made = self._session.run_now(call, args, kwargs)
        actor.id = task.id
        self._session.adopt(actor.id)  # for the handle, before the ref of the call goes
        del made
        return self._enroll(actor)

    def _enroll(self, actor: InlineActor) -> tuple[int, bytes]:
        row = self._book.objects.rows[actor.id]
        self._rows[actor.id] = actor
        if isinstance(row.value, Failure):
            what = "raised" if row.value.kind == "task" else "did not run:"
            actor.end(f"its constructor {what} {row.value.message}", row.value.data)
        else:
            if actor.name[1]:
                self._names[actor.name] = actor
            if actor.detached:
                self._session.adopt(actor.id)
        return actor.id, actor.info

    def find(self, name: str, namespace: str) -> tuple[int, bytes]:
        """See `Actors`."""
        self._enter()
        actor = self._names[namespace or self._session.namespace, name]
        self._session.adopt(actor.id)
        return actor.id, actor.info

    def named(self, *, everywhere: bool) -> list[Any]:
        """See `Actors`."""
        self._enter()
        if everywhere:
            return sorted(self._names)
        here = self._session.namespace
        return sorted(name for namespace, name in self._names if namespace == here)

    # ---- calling ----------------------------------------------------------------------------

    def call(
        self,
        actor: int,
        method: Method,
        limit: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Submitted:
        """See `Actors`. The call has ended when this returns; none is ever pending."""
        name = method.name

        def function(instance: Any, *args: Any, **kwargs: Any) -> Any:
            return getattr(instance, name)(*args, **kwargs) if name else True

        options = TaskOptions(
            num_cpus=0,
            max_retries=method.max_task_retries,
            retry_exceptions=method.retry_exceptions,
        )
        return self._call(actor, function, method, options, args, kwargs)

    def apply(
        self, actor: int, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Submitted:
        """See `Actors`."""
        self._session.require_shippable(function)
        options = function.task_options
        return self._call(actor, function.function, function, options, args, kwargs)

    def _call(
        self,
        number: int,
        function: Callable[..., Any],
        what: Method | Call,
        options: TaskOptions,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Submitted:
        self._enter()
        actor = self._rows.get(number)

        failure = actor.failure if actor is not None else _gone(number)

        def run(*args: Any, **kwargs: Any) -> Any:
            assert actor is not None
            return actor.apply(function, args, kwargs)

        return self._session.run_now(InlineCall(run, what, options), args, kwargs, failure)[1]

    def kill(self, actor: int, *, restart: bool) -> None:
        """See `Actors`."""
        self._enter()
        row = self._rows.get(actor)
        if row is None or row.failure is not None:
            return
        if restart and row.restarts_left:
            row.restarts_left -= row.restarts_left > 0
            row.construct()
            return
        self._end(row, "it was killed by kill()")

    def end_group(self, group: int) -> None:
        """Remove a placement group, and end the actors that live in it."""
        with self._book.changed:
            failure = self._book.groups.remove(group)
        if failure is not None:
            for row in list(self._rows.values()):
                if row.group == group and row.failure is None:
                    self._end(row, failure.message)

    def _end(self, row: InlineActor, why: str) -> None:
        row.end(why)
        self._names.pop(row.name, None)
        if row.detached:
            row.detached = False
            self._session.dropped.append(row.id)

    def _enter(self) -> None:
        """Part with actors that nobody has a handle of, and with the names of the dead."""
        self._session.enter()
        gone = [number for number in self._rows if number not in self._book.objects.rows]
        for number in gone:
            del self._rows[number]
        for key, actor in list(self._names.items()):
            if actor.failure is not None or actor.id not in self._rows:
                del self._names[key]


def _gone(actor: int) -> Failure:
    text = f"the actor {hex_id(actor)} ended when its last handle was gone"
    return Failure("actor_died", text, b"", actor)
