"""Events, barriers and counters that tasks, actors and drivers share."""

from __future__ import annotations

from typing import Any

from parallax.errors import GetTimeoutError, UsageError
from parallax.sync.checks import check_count, check_timeout
from parallax.sync.errors import Outcome, error_of
from parallax.sync.shared import Shared, ask, ask_async
from parallax.sync.signals_desk import BarrierDesk, CounterDesk, EventDesk


class Event(Shared):
    """A flag that many wait for and anybody sets. Thread-safe.

        >>> import parallax as px
        >>> ready = px.sync.Event()
        >>> ready.is_set()
        False
        >>> ready.set()
        >>> ready.wait()

    Args:
        name: to be found by anybody who makes one of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.
    """

    def __init__(self, *, name: str | None = None, lifetime: str | None = None) -> None:
        super().__init__(EventDesk, name=name, lifetime=lifetime)

    def set(self) -> None:
        """Let all go on who wait, and who come. A round trip."""
        ask(self._desk.set.remote())

    def clear(self) -> None:
        """Who comes from now on waits. A round trip."""
        ask(self._desk.clear.remote())

    def is_set(self) -> bool:
        """Whether nobody has to wait. A round trip; it may have changed by then."""
        return bool(ask(self._desk.is_set.remote()))

    def wait(self, timeout: float | None = None) -> None:
        """Block until it is set.

        Args:
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            GetTimeoutError: it was not set in time; also a `TimeoutError`.
            DeadlockError: in an inline session nobody would set it.
        """
        self._check(ask(self._desk.wait.remote(check_timeout(timeout))), "wait", timeout)

    async def wait_async(self, timeout: float | None = None) -> None:
        """As `wait`, on an event loop, which goes on meanwhile."""
        call = self._desk.wait.remote(check_timeout(timeout))
        self._check(await ask_async(call), "wait_async", timeout)

    def _check(self, outcome: Outcome, verb: str, timeout: float | None) -> None:
        if outcome is not Outcome.DONE:
            title = f"Event.{verb}({_given(timeout)})"
            raise error_of(outcome, title, GetTimeoutError, "nobody has set it")

    def __repr__(self) -> str:
        return f"<Event at {self._desk!r}>"


class Barrier(Shared):
    """Where so many wait for each other, again and again. Thread-safe.

    When one of those who wait is interrupted, runs out of time or dies, the others would wait for
    ever: so the barrier breaks, and all get `BrokenBarrierError` until `reset`.

        >>> import parallax as px
        >>> alone = px.sync.Barrier(1)
        >>> alone.wait()
        0

    Args:
        parties: how many wait for each other.
        name: to be found by anybody who makes one of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.

    Raises:
        UsageError: `parties` makes no sense, or is not that of the existing barrier.
    """

    def __init__(
        self, parties: int, *, name: str | None = None, lifetime: str | None = None
    ) -> None:
        check_count("parties", parties)
        super().__init__(BarrierDesk, parties, name=name, lifetime=lifetime)

    @property
    def parties(self) -> int:
        """How many wait for each other."""
        return int(self._facts[0])

    def wait(self, timeout: float | None = None) -> int:
        """Block until all are there.

        Args:
            timeout: seconds to wait at most; None waits for ever.

        Returns:
            Which this one was to come, from 0.

        Raises:
            BrokenBarrierError: one of the others is gone, or was.
            GetTimeoutError: not all came in time; also a `TimeoutError`. The barrier is broken.
            DeadlockError: in an inline session nobody else would come.
        """
        return self._check(ask(self._desk.wait.remote(check_timeout(timeout))), "wait", timeout)

    async def wait_async(self, timeout: float | None = None) -> int:
        """As `wait`, on an event loop, which goes on meanwhile."""
        call = self._desk.wait.remote(check_timeout(timeout))
        return self._check(await ask_async(call), "wait_async", timeout)

    def n_waiting(self) -> int:
        """How many wait now. A round trip."""
        return int(ask(self._desk.state.remote())[0])

    def broken(self) -> bool:
        """Is it broken? A round trip."""
        return bool(ask(self._desk.state.remote())[1])

    def abort(self) -> None:
        """Break it: nobody waits any more until `reset`. A round trip."""
        ask(self._desk.abort.remote())

    def reset(self) -> None:
        """Make it as new; those who wait now get `BrokenBarrierError`. A round trip."""
        ask(self._desk.reset.remote())

    def _check(self, outcome: int | Outcome, verb: str, timeout: float | None) -> int:
        if not isinstance(outcome, Outcome):
            return outcome
        late = outcome is Outcome.TIMEOUT
        why = (
            f"not all {self.parties} came in time, and the barrier is broken now"
            if late
            else f"not all {self.parties} are there"
            if outcome is Outcome.NEVER
            else "one of those who waited is gone"
        )
        raise error_of(outcome, f"Barrier.{verb}({_given(timeout)})", GetTimeoutError, why)

    def __repr__(self) -> str:
        return f"<Barrier of {self.parties} at {self._desk!r}>"


class Counter(Shared):
    """A number that many add to. Thread-safe.

        >>> import parallax as px
        >>> counter = px.sync.Counter()
        >>> counter.add(), counter.add(5)
        (1, 6)
        >>> counter.compare_and_set(6, 0), counter.value()
        (True, 0)

    Args:
        value: what it starts at.
        name: to be found by anybody who makes one of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.

    Raises:
        UsageError: `value` is no number, or not what the existing counter has started at.
    """

    def __init__(
        self, value: float = 0, *, name: str | None = None, lifetime: str | None = None
    ) -> None:
        super().__init__(CounterDesk, _number("value", value), name=name, lifetime=lifetime)

    def add(self, amount: float = 1) -> float:
        """Add so much, and return the sum. A round trip."""
        return ask(self._desk.add.remote(_number("amount", amount)))  # type: ignore[no-any-return]

    def value(self) -> float:
        """What it is. A round trip; it may have changed by then."""
        return ask(self._desk.value.remote())  # type: ignore[no-any-return]

    def set(self, value: float) -> float:
        """Set it, and return what it was. A round trip."""
        return ask(self._desk.put.remote(_number("value", value)))  # type: ignore[no-any-return]

    def compare_and_set(self, expected: float, value: float) -> bool:
        """Set it if it is as expected; whether it was. A round trip."""
        return bool(ask(self._desk.compare_and_set.remote(expected, _number("value", value))))

    def wait_for(self, least: float, timeout: float | None = None) -> None:
        """Block until it is at least so much.

        Args:
            least: what to wait for.
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            GetTimeoutError: it was not in time; also a `TimeoutError`.
            DeadlockError: in an inline session nobody would add to it.
        """
        call = self._desk.wait.remote(_number("least", least), check_timeout(timeout))
        self._check(ask(call), "wait_for", least, timeout)

    async def wait_for_async(self, least: float, timeout: float | None = None) -> None:
        """As `wait_for`, on an event loop, which goes on meanwhile."""
        call = self._desk.wait.remote(_number("least", least), check_timeout(timeout))
        self._check(await ask_async(call), "wait_for_async", least, timeout)

    def _check(self, outcome: Outcome, verb: str, least: float, timeout: float | None) -> None:
        if outcome is not Outcome.DONE:
            given = f"{least}, {_given(timeout)}" if timeout is not None else f"{least}"
            raise error_of(outcome, f"Counter.{verb}({given})", GetTimeoutError, "it is still less")

    def __repr__(self) -> str:
        return f"<Counter at {self._desk!r}>"


def _given(timeout: float | None) -> str:
    return "" if timeout is None else f"timeout={timeout:g}"


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{name}={value!r} must be a number.")
    return value
