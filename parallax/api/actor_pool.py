"""A fixed set of actors that share work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from parallax.api.actor_handle import ActorHandle
from parallax.api.checks import check_timeout
from parallax.api.verbs import get, wait
from parallax.errors import GetTimeoutError, UsageError
from parallax.refs import ObjectRef
from parallax.reprs import HtmlRepr

V = TypeVar("V")
Submit = Callable[[ActorHandle, V], "ObjectRef[Any]"]


class ActorPool(HtmlRepr, Generic[V]):
    """Spreads work over actors: each has one call at a time, and gets the next when it is free.

        >>> import parallax as px
        >>> @px.remote
        ... class Doubler:
        ...     def double(self, x):
        ...         return 2 * x
        >>> pool = px.ActorPool([Doubler.remote(), Doubler.remote()])
        >>> list(pool.map(lambda actor, x: actor.double.remote(x), [1, 2, 3]))
        [2, 4, 6]

    Not thread-safe: a pool belongs to the thread that uses it.

    Args:
        actors: the handles.
    """

    def __init__(self, actors: Iterable[ActorHandle]) -> None:
        self._idle: list[ActorHandle] = []
        self._busy: dict[ObjectRef[Any], tuple[int, ActorHandle]] = {}
        """What runs: its place in the order of submission, and who runs it."""
        self._refs: dict[int, ObjectRef[Any]] = {}
        """Results that were not taken, by that place, as far as they were begun."""
        self._waiting: deque[tuple[Submit[Any], Any]] = deque()
        self._begun = 0
        self._next = 0
        """The place of the result that `get_next` returns."""
        for actor in actors:
            self.push(actor)

    def map(self, submit: Submit[V], values: Iterable[V]) -> Iterator[Any]:
        """Results in the order of the values, each as soon as it is there.

        Args:
            submit: called with an actor and a value; returns the ref of a call.
            values: what to work on.

        Raises:
            Exception: what a call raised, when its turn comes.
        """
        self._drop_results()
        for value in values:
            self.submit(submit, value)
        return self._in_order()

    def map_unordered(self, submit: Submit[V], values: Iterable[V]) -> Iterator[Any]:
        """Results as they are there; else as `map`.

        Args:
            submit: called with an actor and a value; returns the ref of a call.
            values: what to work on.
        """
        self._drop_results()
        for value in values:
            self.submit(submit, value)
        return self._as_completed()

    def _in_order(self) -> Iterator[Any]:
        while self.has_next():
            yield self.get_next()

    def _as_completed(self) -> Iterator[Any]:
        while self.has_next():
            yield self.get_next_unordered()

    def submit(self, submit: Submit[V], value: V) -> None:
        """Have some actor work on a value, now or when one is free. Returns at once.

        Args:
            submit: called with an actor and the value; returns the ref of a call.
            value: what to work on.
        """
        self._waiting.append((submit, value))
        self._begin_waiting()

    def get_next(self, timeout: float | None = None) -> Any:
        """The next result in the order of submission. Waits for it.

        Args:
            timeout: seconds to wait at most.

        Raises:
            StopIteration: there is nothing that was submitted and not taken.
            GetTimeoutError: it is not there in time; it is still the next one.
            Exception: what the call raised.
        """
        self._require_results()
        while self._next not in self._refs and self._next < self._begun:
            self._next += 1  # it was taken out of order
        deadline = _deadline(timeout)
        while self._next not in self._refs:
            self._settle_one(deadline)
        ref = self._refs[self._next]
        while ref in self._busy:
            self._settle_one(deadline)
        del self._refs[self._next]
        self._next += 1
        return get(ref)

    def get_next_unordered(self, timeout: float | None = None) -> Any:
        """The result of whichever call ends first; else as `get_next`.

        Args:
            timeout: seconds to wait at most.
        """
        self._require_results()
        return get(self._take_any(_deadline(timeout)))

    def _take_any(self, deadline: float | None) -> ObjectRef[Any]:
        over = next((place for place, ref in self._refs.items() if ref not in self._busy), None)
        if over is None:
            over = self._settle_one(deadline)
        return self._refs.pop(over)

    def has_next(self) -> bool:
        """Is there anything that was submitted and not taken, as far as it could be submitted?"""
        return bool(self._refs or self._waiting)

    def has_free(self) -> bool:
        """Is there an actor without work?"""
        return len(self._idle) > len(self._waiting)

    def push(self, actor: ActorHandle) -> None:
        """Add an actor.

        Args:
            actor: its handle.

        Raises:
            TypeError: it is no handle.
            UsageError: it is in the pool already.
        """
        if not isinstance(actor, ActorHandle):
            raise TypeError(f"an ActorPool takes handles of actors, not {type(actor).__name__}.")
        if actor in self._idle or any(actor == busy for _, busy in self._busy.values()):
            raise UsageError(f"{actor!r} is in the pool already.")
        self._idle.append(actor)
        self._begin_waiting()

    def pop_idle(self) -> ActorHandle | None:
        """Take an actor without work out of the pool; None when there is none."""
        return self._idle.pop() if self.has_free() else None

    def _begin_waiting(self) -> None:
        """Give work to actors that have none.

        Raises:
            Exception: what a submitting function raises; its value is passed over, and what waits
                behind it begins with the next call of the pool's.
        """
        while self._idle and self._waiting:
            submit, value = self._waiting.popleft()
            actor = self._idle[-1]
            ref = submit(actor, value)
            if not isinstance(ref, ObjectRef):
                raise TypeError(
                    "the function of an ActorPool calls the actor and returns the ref, as in "
                    f"`lambda actor, x: actor.f.remote(x)`; it returned {type(ref).__name__}."
                )
            if ref in self._busy:
                raise UsageError(
                    "the function of an ActorPool returned the ref of a call that runs already; "
                    "it has to make a call of its own for each value."
                )
            self._idle.pop()
            self._busy[ref] = self._begun, actor
            self._refs[self._begun] = ref
            self._begun += 1

    def _settle_one(self, deadline: float | None) -> int:
        """Wait until some call has ended, and give its actor more work; the call's place."""
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _ = wait(list(self._busy), timeout=left_s)
        if not ready:
            raise GetTimeoutError("no call of the pool ended in time. They go on; ask again.")
        place, actor = self._busy.pop(ready[0])
        self._idle.append(actor)
        self._begin_waiting()
        return place

    def _require_results(self) -> None:
        self._begin_waiting()
        if not self.has_next():
            raise StopIteration("nothing was submitted that was not taken.")
        if not self._busy and not self._refs:
            raise UsageError("there is work, and no actor in the pool: push one.")

    def _drop_results(self) -> None:
        """As Ray: what was submitted before a map is not among its results."""
        while self.has_next():
            self._require_results()
            self._take_any(None)

    def __repr__(self) -> str:
        total = len(self._idle) + len(self._busy)
        return (
            f"<ActorPool of {total} actors, {len(self._idle)} idle, {len(self._waiting)} waiting>"
        )


def _deadline(timeout: float | None) -> float | None:
    seconds = check_timeout(timeout)
    return None if seconds is None else time.monotonic() + seconds
