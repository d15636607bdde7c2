"""Locks and semaphores that tasks, actors and drivers share."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import parallax as px
from parallax.errors import DeadlockError, GetTimeoutError
from parallax.sync.checks import check_count, check_timeout
from parallax.sync.errors import Outcome, error_of
from parallax.sync.locks_desk import SemaphoreDesk
from parallax.sync.shared import Shared, first, first_async, give_up, new_ticket


@dataclass(frozen=True, slots=True)
class _Hold:
    """A place that this process has."""

    ticket: str
    stream: px.ObjectRefGenerator[Any]
    """The place is given back when it goes."""
    holder: tuple[str, int]
    thread: int


class Semaphore(Shared):
    """So many may have a place at once; the others wait in line.

    A holder is a task, an actor, or a driver: a place comes back by `release`, and when its holder
    ends or dies. Thread-safe; the handle that was used to acquire a place is the one to release it.

        >>> import parallax as px
        >>> licences = px.sync.Semaphore(2)
        >>> with licences:
        ...     licences.free()
        1

    ``async with licences:`` waits on an event loop.

    Args:
        value: places in all.
        name: to be found by anybody who makes one of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.

    Raises:
        UsageError: a `value` that makes no sense, or another one than that of the existing one.
    """

    def __init__(
        self, value: int = 1, *, name: str | None = None, lifetime: str | None = None
    ) -> None:
        check_count("value", value)
        super().__init__(SemaphoreDesk, value, name=name, lifetime=lifetime)

    def _set_up(self, facts: tuple[Any, ...]) -> None:
        super()._set_up(facts)
        self._holds: list[_Hold] = []
        self._mutex = threading.Lock()

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take a place. Blocks until there is one; who is interrupted has none.

        Args:
            block: False returns at once, whether there was a place.
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            GetTimeoutError: there was none in time; also a `TimeoutError`.
            DeadlockError: it would never be free: this thread has it, or the session is inline.
        """
        timeout_s = check_timeout(timeout)
        holder = _holder()
        if block and timeout_s is None:
            self._check_own(holder)
        ticket = new_ticket()
        stream = self._desk.hold.remote(ticket, timeout_s if block else 0.0)
        try:
            outcome = first(stream)
            if outcome is Outcome.DONE:
                self._keep(_Hold(ticket, stream, holder, threading.get_ident()))
                return True
        except BaseException:
            self._forget(ticket)
            raise
        return self._fail(outcome, block, "acquire", timeout)

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """As `acquire`, on an event loop, which goes on meanwhile."""
        timeout_s = check_timeout(timeout)
        ticket = new_ticket()
        stream = self._desk.hold.remote(ticket, timeout_s)
        outcome = await first_async(stream)
        if outcome is Outcome.DONE:
            self._keep(_Hold(ticket, stream, _holder(), 0))
            return True
        return self._fail(outcome, True, "acquire_async", timeout)

    def release(self) -> None:
        """Give a place back. Returns at once.

        Raises:
            RuntimeError: this task, actor or driver has none through this handle.
        """
        holder = _holder()
        thread = threading.get_ident()
        with self._mutex:
            own = [hold for hold in self._holds if hold.holder == holder]
            hold = next((hold for hold in own if hold.thread == thread), own[0] if own else None)
            if hold is not None:
                self._holds.remove(hold)
        if hold is None:
            raise RuntimeError(
                f"release() of a {type(self).__name__} that is not held here: whoever has acquired "
                "it releases it, through the same handle and within the same task."
            )
        self._desk.release.remote(hold.ticket)
        self._let_end(hold.stream)

    def free(self) -> int:
        """How many places nobody has. A round trip; it may have changed by then."""
        return int(px.get(self._desk.free.remote()))

    def locked(self) -> bool:
        """Is no place free? A round trip; it may have changed by then."""
        return self.free() == 0

    def _check_own(self, holder: tuple[str, int]) -> None:
        """A semaphore's other places may come free; see `Lock`."""

    def _keep(self, hold: _Hold) -> None:
        with self._mutex:
            self._holds.append(hold)

    def _forget(self, ticket: str) -> None:
        for hold in [hold for hold in self._holds if hold.ticket == ticket]:
            self._holds.remove(hold)
            give_up(hold.stream)

    def _fail(self, outcome: Outcome, block: bool, verb: str, timeout: float | None) -> bool:
        if not block:
            return False
        given = "" if timeout is None else f"timeout={timeout:g}"
        title = f"{type(self).__name__}.{verb}({given})"
        raise error_of(outcome, title, GetTimeoutError, "others have it")

    def __enter__(self) -> Semaphore:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    async def __aenter__(self) -> Semaphore:
        await self.acquire_async()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        here = f", {len(self._holds)} held here" if self._holds else ""
        return f"<{type(self).__name__} of {self._facts[0]}{here} at {self._desk!r}>"


class Lock(Semaphore):
    """One at a time: a `Semaphore` of one place.

    A holder that ends or dies gives it back, and the next one in line has it. Not reentrant: a
    thread that has it and waits for it is told so. Thread-safe.

        >>> import parallax as px
        >>> lock = px.sync.Lock()
        >>> with lock:
        ...     lock.locked()
        True

    Args:
        name: to be found by anybody who makes one of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.
    """

    def __init__(self, *, name: str | None = None, lifetime: str | None = None) -> None:
        super().__init__(1, name=name, lifetime=lifetime)

    def _check_own(self, holder: tuple[str, int]) -> None:
        thread = threading.get_ident()
        if any(hold.holder == holder and hold.thread == thread for hold in self._holds):
            raise DeadlockError(
                "Lock.acquire(): this thread has the lock already and would wait for itself. "
                "Release it first, or pass on that it is held."
            )


def _holder() -> tuple[str, int]:
    """The task and attempt that runs here; a driver, or an actor, holds in its own name."""
    context = px.get_runtime_context()
    return ("", 0) if context.actor_id else (context.task_id, context.attempt_number)
