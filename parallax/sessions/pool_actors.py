"""The actors of a session on an engine pool."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from parallax.errors import UsageError
from parallax.messages import CALL, CONSTRUCTOR, TemplateDefined
from parallax.pool.actor_client import ActorClient, Submission
from parallax.refs import ObjectRef, ObjectRefGenerator
from parallax.serial.values import dumps
from parallax.sessions.bindings import make_template
from parallax.sessions.protocol import ActorPlan, Call, Method, Submitted

if TYPE_CHECKING:
    from parallax.sessions.pool import PoolSession


class PoolActors:
    """See `Actors`."""

    def __init__(self, session: PoolSession) -> None:
        self._session = session
        self._actors = ActorClient(session.client)

    # ---- making and finding -----------------------------------------------------------------

    def create(
        self, plan: ActorPlan, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[int, bytes]:
        """See `Actors`."""
        options = plan.actor_options
        name, namespace = options.name or "", options.namespace or ""
        while True:
            if options.get_if_exists:
                try:
                    return self.find(name, namespace)
                except LookupError:
                    pass  # it is for us to make it, unless somebody else is quicker
            actor = self._create(plan, name, namespace, args, kwargs)
            found = self._check_name(actor, plan, name, namespace) if name else (actor, plan.info)
            if found is not None:
                return found

    def _create(
        self,
        plan: ActorPlan,
        name: str,
        namespace: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> int:
        session = self._session
        session.client.check()
        options = plan.actor_options
        binding = session.bind(plan.constructor, partial(_constructor, plan))
        data, deps, refs, _large = session.pack(plan.constructor.function, args, kwargs)
        job, parent, seed = session.place()
        return self._actors.create(
            Submission(job, parent, binding.template, data, deps, refs, seed),
            name=name,
            namespace=namespace,
            detached=options.lifetime == "detached",
            keeps_cpus=options.num_cpus is not None,
            ordered=plan.concurrency == 1 and not options.concurrency_groups,
            info=plan.info,
        )

    def _check_name(
        self, actor: int, plan: ActorPlan, name: str, namespace: str
    ) -> tuple[int, bytes] | None:
        """Whose is the name? None when it was another actor's, which has ended meanwhile."""
        try:
            found, info = self.find(name, namespace)
        except LookupError:
            if not self._session.ask("actor", actor)["refused"]:
                return actor, plan.info  # it is over already; its calls say why
            self._session.client.dropped.append(actor)
            return None
        if found == actor:
            self._session.client.dropped.append(actor)  # held twice now
            return actor, plan.info
        self._session.client.dropped.append(actor)
        if plan.actor_options.get_if_exists:
            return found, info
        self._session.client.dropped.append(found)
        where = f" in namespace {namespace!r}" if namespace else ""
        raise UsageError(
            f"there is an actor named {name!r}{where} already. Find it with "
            f"parallax.get_actor({name!r}), pass get_if_exists=True, or choose another name."
        )

    def find(self, name: str, namespace: str) -> tuple[int, bytes]:
        """See `Actors`."""
        session = self._session
        # Handles that have gone are dropped before the question: the answer holds the actor for
        # this process, and a drop that came after it would let it go.
        session.client.channel.flush()
        found = session.ask("find_actor", [session.place(0)[0], namespace, name])
        session.client.adopt_actor(found["id"])
        return found["id"], found["info"]

    def named(self, *, everywhere: bool) -> list[Any]:
        """See `Actors`."""
        job = 0 if everywhere else self._session.place(0)[0]
        return list(self._session.ask("named_actors", job))

    # ---- calling ----------------------------------------------------------------------------

    def call(
        self,
        actor: int,
        method: Method,
        limit: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Submitted:
        """See `Actors`."""
        session = self._session
        if session.client.lost:
            session.client.check()
        bound = method.session_data
        if bound is None or bound[0] is not session:
            template = session.binder.define(partial(_method, method, limit >= 0))
            bound = method.session_data = (session, template)
        return self._submit(actor, bound[1].name, method, limit, args, kwargs)

    def apply(
        self, actor: int, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Submitted:
        """See `Actors`."""
        self._session.client.check()
        binding = self._session.bind(function, _function)
        return self._submit(actor, binding.template, function, -1, args, kwargs)

    def _submit(
        self,
        actor: int,
        template: int,
        what: Method | Call,
        limit: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Submitted:
        session = self._session
        data, deps, refs, _large = session.pack(what, args, kwargs)
        job, parent, seed = session.place()
        submission = Submission(job, parent, template, data, deps, refs, seed)
        count = 0 if what.streaming else what.num_returns
        # The end of a call without results is told by a ref that nobody else sees.
        returns = 1 if _drops(what, limit >= 0) else count
        stream = what.streaming
        call, made = self._actors.call(actor, submission, returns, stream=stream, limit=limit)
        if not parent:
            session.submissions.add(job, call, count)
        return made_of(made) if stream or count else None

    def kill(self, actor: int, *, restart: bool) -> None:
        """See `Actors`."""
        self._session.client.check()
        self._actors.kill(actor, restart=restart)


def made_of(made: list[ObjectRef[Any]] | ObjectRefGenerator[Any]) -> Submitted:
    """What a submission makes, as users get it."""
    if not isinstance(made, list):
        return made
    return made[0] if len(made) == 1 else made or None


def _constructor(
    plan: ActorPlan,
    call: Call,
    template: int,
    function: bytes,
    modules: bytes,
    captured: list[int],
) -> TemplateDefined:
    return replace(
        make_template(call, template, function, modules, captured),
        role=CONSTRUCTOR,
        concurrency=plan.concurrency,
        concurrency_groups=dict(plan.actor_options.concurrency_groups or {}),
    )


def _function(
    call: Call, template: int, function: bytes, modules: bytes, captured: list[int]
) -> TemplateDefined:
    return replace(make_template(call, template, function, modules, captured), role=CALL)


def _drops(what: Method | Call, limited: bool) -> bool:
    """Does this call return nothing, and yet has to be seen to end?"""
    return limited and not what.streaming and not what.num_returns


def _method(method: Method, limited: bool, template: int) -> TemplateDefined:
    types = method.retry_exceptions
    drops_result = _drops(method, limited)
    return TemplateDefined(
        template,
        method.title,
        b"",
        num_returns=1 if drops_result else method.num_returns,
        streaming=method.streaming,
        backpressure=method.backpressure,
        max_retries=method.max_task_retries,
        retry_exceptions=bool(types),
        retry_types=dumps(types) if isinstance(types, tuple) else b"",
        role=CALL,
        method=method.name,
        concurrency_group=method.concurrency_group,
        drops_result=drops_result,
    )
