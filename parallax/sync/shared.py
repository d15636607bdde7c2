"""The caller's side of what is shared: a handle of its desk, and how to wait there."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from typing import Any, TypeVar

import parallax as px
from parallax.errors import ParallaxError, UsageError
from parallax.sync.desk import Desk, this_process

S = TypeVar("S", bound="Shared")

MAX_WAITING = 1_000_000
"""Calls at one desk at once. Those that wait cost some kilobytes each and no thread."""
MAX_ENDING = 16
"""Streams that are about to end, by themselves."""


_tickets = itertools.count()
_classes: dict[type[Desk], Any] = {}


def _actor_class(desk: type[Desk]) -> Any:
    """No CPU: a desk computes next to nothing, and must be there even if all CPUs are taken."""
    made = _classes.get(desk)
    if made is None:
        made = _classes[desk] = px.remote(num_cpus=0, max_concurrency=MAX_WAITING)(desk)
    return made


class Shared:
    """What is shared between processes. Thread-safe; copies are handles to the same thing.

    Args:
        desk: the class of its actor; args are what that takes.
        name: to be found by from anywhere; an existing one of the name is used.
        lifetime: ``"detached"`` to outlive its creator.
    """

    def __init__(
        self, desk: type[Desk], *args: Any, name: str | None, lifetime: str | None
    ) -> None:
        options = {"name": name, "get_if_exists": name is not None, "lifetime": lifetime}
        self._desk = _actor_class(desk).options(**options).remote(this_process(), *args)
        self._set_up(args)
        if name is not None:
            facts = ask(self._desk.facts.remote())
            if facts != args:
                raise UsageError(
                    f"{type(self).__name__}(name={name!r}) is there already, and was made with "
                    f"{facts}, not {args}. Use the same arguments, or another name."
                )

    def _set_up(self, facts: tuple[Any, ...]) -> None:
        """Remember what cannot change, here and in each copy."""
        self._facts = facts
        self._ending: deque[px.ObjectRefGenerator[Any]] = deque(maxlen=MAX_ENDING)

    def _let_end(self, stream: px.ObjectRefGenerator[Any]) -> None:
        """Its loan is settled. Were it dropped before it has ended, it would be cancelled, which
        costs several times as much."""
        self._ending.append(stream)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._desk, self._facts)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and bool(other._desk == self._desk)

    def __hash__(self) -> int:
        return hash(self._desk)


def _rebuild(cls: type[S], desk: px.ActorHandle, facts: tuple[Any, ...]) -> S:
    shared = cls.__new__(cls)
    shared._desk = desk
    shared._set_up(facts)
    return shared


def new_ticket() -> str:
    """A name for one loan that no other has."""
    return f"{this_process()}-{next(_tickets)}"


def ask(ref: px.ObjectRef[Any]) -> Any:
    """The answer to a call. Blocks; who stops waiting leaves the line."""
    try:
        return px.get(ref)
    except BaseException:
        give_up(ref)
        raise


async def ask_async(ref: px.ObjectRef[Any]) -> Any:
    """The same, on an event loop."""
    try:
        return await ref
    except BaseException:
        give_up(ref)
        raise


def first(stream: px.ObjectRefGenerator[Any]) -> Any:
    """What a stream yields first. Blocks; the stream of who stops waiting ends."""
    try:
        return px.get(stream.next())
    except BaseException:
        give_up(stream)
        raise


async def first_async(stream: px.ObjectRefGenerator[Any]) -> Any:
    """The same, on an event loop."""
    try:
        return await (await anext(stream))
    except BaseException:
        give_up(stream)
        raise


def give_up(waited_for: px.ObjectRef[Any] | px.ObjectRefGenerator[Any]) -> None:
    """Nobody waits for this any more. Nothing happens where it has ended."""
    with contextlib.suppress(ParallaxError):
        px.cancel(waited_for)
