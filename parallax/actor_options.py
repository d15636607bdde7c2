"""Options of actors and of their methods: frozen, validated where they are written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from parallax.errors import UsageError
from parallax.options import (
    MAX_COUNT,
    Strategy,
    TaskOptions,
    exception_types,
    is_count,
)

ASYNC_CONCURRENCY = 1000
"""Calls that run at once on an actor with coroutine methods, unless it says otherwise."""
Options = TypeVar("Options", "ActorOptions", "MethodOptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions:
    """How an actor lives. See `parallax.remote` for what each option means."""

    num_cpus: float | None = None
    num_gpus: float = 0
    memory: float = 0
    resources: Mapping[str, float] | None = None
    max_concurrency: int | None = None
    concurrency_groups: Mapping[str, int] | None = None
    max_restarts: int = 0
    max_task_retries: int = 0
    name: str | None = None
    namespace: str | None = None
    get_if_exists: bool = False
    lifetime: Literal["detached"] | None = None
    max_pending_calls: int = -1
    scheduling_strategy: Strategy = "DEFAULT"

    def updated(self, given: Mapping[str, Any]) -> ActorOptions:
        """A copy with these options set.

        Raises:
            UsageError: an unknown option, or a value that makes no sense.
        """
        options = _updated(self, given, "actors")
        options.check()
        return options

    def check(self) -> None:
        """Raise `UsageError` for the first value that makes no sense."""
        if self.max_concurrency is not None:
            _require_positive_count("max_concurrency", self.max_concurrency)
        for group, limit in (self.concurrency_groups or {}).items():
            _require_positive_count(f"concurrency_groups[{group!r}]", limit)
        for name in ("max_restarts", "max_task_retries"):
            _require_count_or_none(name, getattr(self, name))
        if self.max_pending_calls != -1:
            _require_positive_count("max_pending_calls", self.max_pending_calls)
        if self.lifetime not in (None, "detached"):
            raise UsageError(f'lifetime={self.lifetime!r} must be "detached", or None.')
        for name in ("name", "namespace"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise UsageError(f"{name}={value!r} must be a string that is not empty.")
        if self.get_if_exists and self.name is None:
            raise UsageError("get_if_exists=True needs the name of the actor: name=...")
        self.constructor.check()

    @property
    def constructor(self) -> TaskOptions:
        """The options of the constructor as a task: what it asks for, and where it may run."""
        return TaskOptions(
            num_cpus=1 if self.num_cpus is None else self.num_cpus,
            num_gpus=self.num_gpus,
            memory=self.memory,
            resources=self.resources,
            max_retries=self.max_restarts,
            scheduling_strategy=self.scheduling_strategy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """How calls of one method run. What is None is as the actor, or the method itself, has it."""

    num_returns: int | Literal["streaming"] | None = None
    concurrency_group: str | None = None
    max_task_retries: int | None = None
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    backpressure: int | None = None
    name: str | None = None

    def updated(self, given: Mapping[str, Any]) -> MethodOptions:
        """A copy with these options set.

        Raises:
            UsageError: an unknown option, or a value that makes no sense.
        """
        if types := given.get("retry_exceptions"):
            given = {**given, "retry_exceptions": exception_types(types)}
        options = _updated(self, given, "methods")
        options.check()
        return options

    def check(self) -> None:
        """Raise `UsageError` for the first value that makes no sense."""
        TaskOptions(
            num_returns=self.num_returns, backpressure=self.backpressure, name=self.name
        ).check()
        if self.max_task_retries is not None:
            _require_count_or_none("max_task_retries", self.max_task_retries)
        if self.concurrency_group is not None and not isinstance(self.concurrency_group, str):
            raise UsageError(f"concurrency_group={self.concurrency_group!r} must be a string.")


ACTOR_OPTION_NAMES = frozenset(field.name for field in fields(ActorOptions))


_ADVICE = {
    ("durable", "actors"): 'An actor with a name and lifetime="detached" comes up again with its '
    "named pool; durable=True is for functions.",
    ("durable", "methods"): "Calls end with their actor. Have a durable task do the work, or keep "
    "the result: parallax.keep(ref, name).",
}
"""On options of functions that people look for elsewhere."""


def _updated(options: Options, given: Mapping[str, Any], what: str) -> Options:
    names = [field.name for field in fields(options)]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"They have: {', '.join(sorted(names))}."
            hint = _ADVICE.get((name, what), hint)
            raise UsageError(f"{name!r} is no option of {what}. {hint}")
    return replace(options, **given)


def _require_positive_count(name: str, value: object) -> None:
    if not (is_count(value) and value):
        raise UsageError(f"{name}={value!r} must be an int from 1 to {MAX_COUNT:,}.")


def _require_count_or_none(name: str, value: object) -> None:
    if value != -1 and not is_count(value):
        raise UsageError(
            f"{name}={value!r} must be an int from 0 to {MAX_COUNT:,}, or -1 for no limit."
        )
