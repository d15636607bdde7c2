"""Options of tasks and arguments of verbs: validated where they are written."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from parallax.errors import UsageError
from parallax.placement_options import (
    BundleGroup,
    PlacementGroupSchedulingStrategy,
    check_group,
    group_strategy,
)

MAX_AMOUNT = 1e15
"""Of anything: bytes, seconds, cores. The scheduler's own numbers stay well within 64 bits."""
MAX_COUNT = 1 << 24
"""Of return values, retries and the like."""


@dataclass(frozen=True, slots=True)
class NodeAffinity:
    """Run on this node.

    Args:
        node: its number, as `parallax.nodes()` shows it.
        soft: run elsewhere when there is no such node, instead of failing.
    """

    node: int
    soft: bool = False


Strategy: TypeAlias = (
    Literal["DEFAULT", "SPREAD"] | NodeAffinity | PlacementGroupSchedulingStrategy | BundleGroup
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How a task runs. See `parallax.remote` for what each option means."""

    num_cpus: float = 1
    num_gpus: float = 0
    memory: float = 0
    resources: Mapping[str, float] | None = None
    num_returns: int | Literal["streaming"] | None = None
    max_retries: int = 3
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    timeout_s: float | None = None
    scheduling_strategy: Strategy = "DEFAULT"
    name: str | None = None
    max_calls: int | None = None
    backpressure: int | None = None
    cache: bool = False
    durable: bool = False

    def updated(self, given: Mapping[str, Any]) -> TaskOptions:
        """A copy with these options set.

        Raises:
            UsageError: an unknown option, or a value that makes no sense.
        """
        for name in given:
            if name not in TASK_OPTION_NAMES:
                raise UsageError(_unknown(name))
        if types := given.get("retry_exceptions"):
            given = {**given, "retry_exceptions": exception_types(types)}
        options = replace(self, **given)
        options.check()
        return options

    def check(self) -> None:
        """Raise `UsageError` for the first value that makes no sense."""
        for name in ("num_cpus", "num_gpus", "memory"):
            check_amount(name, getattr(self, name))
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise UsageError(
                f"num_gpus={self.num_gpus}: above 1 it must be a whole number; a fraction shares "
                "one GPU."
            )
        check_resources(self.resources)
        returns = self.num_returns
        if not (returns is None or returns == "streaming" or is_count(returns)):
            raise UsageError(
                f'num_returns={returns!r} must be an int from 0 to {MAX_COUNT:,}, or "streaming".'
            )
        if self.max_retries != -1 and not is_count(self.max_retries):
            raise UsageError(
                f"max_retries={self.max_retries!r} must be an int from 0 to {MAX_COUNT:,}, "
                "or -1 for no limit."
            )
        if self.timeout_s is not None:
            _require_positive("timeout_s", self.timeout_s)
        for name in ("max_calls", "backpressure"):
            value = getattr(self, name)
            if value is not None and not (is_count(value) and value):
                raise UsageError(
                    f"{name}={value!r} must be an int from 1 to {MAX_COUNT:,}, or None."
                )
        strategy = self.scheduling_strategy
        group = self.group
        if group is not None:
            check_group(group, self.demand)
        elif not (strategy in ("DEFAULT", "SPREAD") or isinstance(strategy, NodeAffinity)):
            raise UsageError(
                f"scheduling_strategy={strategy!r} must be 'DEFAULT', 'SPREAD', "
                "parallax.NodeAffinity(node), a placement group or "
                "parallax.PlacementGroupSchedulingStrategy(group, ...)."
            )
        if isinstance(strategy, NodeAffinity) and not is_count(strategy.node):
            raise UsageError(f"NodeAffinity({strategy.node!r}): a node's number is an int, from 0.")
        if self.name is not None and not isinstance(self.name, str):
            raise UsageError(f"name={self.name!r} must be a string.")
        for name in ("cache", "durable"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name}={getattr(self, name)!r} must be True or False.")
        if self.durable:
            self._check_durable()

    def _check_durable(self) -> None:
        if self.max_retries == 0:
            raise UsageError(
                "durable=True runs a task again when its pool was killed meanwhile, which "
                "max_retries=0 forbids. Allow max_retries=1, or leave durable=True out."
            )
        if self.group is not None:
            raise UsageError(
                "a placement group ends with its pool, so durable=True cannot run a task there "
                "again. Ask for resources with num_cpus=..., or leave durable=True out."
            )

    @property
    def group(self) -> PlacementGroupSchedulingStrategy | None:
        """The placement group in which the task runs, if it names one."""
        return group_strategy(self.scheduling_strategy)

    @property
    def demand(self) -> dict[str, float]:
        """What the task reserves, by the name of the resource."""
        amounts = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": self.memory}
        amounts.update(self.resources or {})
        return {name: float(amount) for name, amount in amounts.items() if amount}


TASK_OPTION_NAMES = frozenset(field.name for field in fields(TaskOptions))
_ALIASES = {
    "cpus": "num_cpus",
    "gpus": "num_gpus",
    "retries": "max_retries",
    "timeout": "timeout_s",
}


def check_amount(name: str, value: object) -> None:
    """Check a number of cores, bytes, seconds or anything else that is reserved.

    Raises:
        UsageError: it is negative, huge or no number.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Real)
        or not 0 <= float(value) <= MAX_AMOUNT
    ):
        raise UsageError(f"{name}={value!r} must be a number from 0 to {MAX_AMOUNT:g}.")


def check_resources(resources: object) -> None:
    """Check custom resources: names to amounts, or None.

    Raises:
        UsageError: they are something else, or have an option of their own.
    """
    if resources is None:
        return
    if not isinstance(resources, Mapping):
        raise UsageError(f"resources={resources!r} must be a dict of names to amounts.")
    for name, amount in resources.items():
        if not isinstance(name, str):
            raise UsageError(f"resources={resources!r}: the name {name!r} must be a string.")
        if name in ("CPU", "GPU", "memory"):
            option = {"CPU": "num_cpus", "GPU": "num_gpus"}.get(name, name)
            raise UsageError(f"resources={{{name!r}: ...}}: use {option}={amount!r} instead.")
        check_amount(f"resources[{name!r}]", amount)


def check_timeout(timeout: object) -> float | None:
    """A timeout in seconds, None for none.

    Raises:
        UsageError: it is negative or no number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise UsageError(f"timeout={timeout!r} must be seconds of at least 0, or None.")
    return float(timeout)


def _unknown(name: str) -> str:
    names = sorted(TASK_OPTION_NAMES)
    near = [_ALIASES[name]] if name in _ALIASES else difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else f" Options are: {', '.join(names)}."
    return f"unknown option {name!r}.{hint}"


def exception_types(types: Any) -> bool | tuple[type[BaseException], ...]:
    """What `retry_exceptions` was given, as `isinstance` takes it.

    Raises:
        UsageError: it is no exception type, nor several.
    """
    if types is True:
        return True
    try:
        found = tuple(types)
    except TypeError:
        found = (types,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in found):
        raise UsageError(
            f"retry_exceptions={types!r} must be True, False or a list of exception types."
        )
    return found


def is_count(value: object) -> bool:
    """Is it an int from 0 to `MAX_COUNT`?"""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _require_positive(name: str, value: object) -> None:
    check_amount(name, value)
    if value == 0:
        raise UsageError(f"{name}=0 must be more than 0.")
