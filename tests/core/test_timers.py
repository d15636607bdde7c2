"""Deadlines run in order, once, and not when they were cancelled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parallax.core.timers import SWEEP_FROM, Timers
from tests.core.depth import examples


def test_runs_what_is_due_in_order_of_deadlines() -> None:
    timers, ran = Timers(), list[str]()
    timers.at(2.0, lambda now: ran.append("second"))
    timers.at(1.0, lambda now: ran.append("first"))
    timers.at(1.0, lambda now: ran.append("first, too"))

    timers.run(0.5)
    assert ran == []
    assert timers.next() == 1.0

    timers.run(2.0)
    assert ran == ["first", "first, too", "second"]
    assert timers.next() is None


def test_a_cancelled_timer_neither_runs_nor_is_waited_for() -> None:
    timers, ran = Timers(), list[float]()
    cancelled = timers.at(1.0, ran.append)
    timers.at(2.0, ran.append)

    timers.cancel(cancelled)
    timers.cancel(cancelled)

    assert timers.next() == 2.0
    timers.run(3.0)
    assert ran == [3.0]
    timers.cancel(cancelled)
    assert len(timers) == 0


def test_what_an_action_adds_for_now_runs_in_the_same_tick() -> None:
    timers, ran = Timers(), list[str]()

    def chain(now: float) -> None:
        ran.append("one")
        timers.at(now, lambda later: ran.append("two"))

    timers.at(1.0, chain)
    timers.run(1.0)
    assert ran == ["one", "two"]


def test_many_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    for _ in range(100 * SWEEP_FROM):
        timers.cancel(timers.at(1e9, lambda now: None))
    assert len(timers._heap) <= 2 * SWEEP_FROM


@examples(100)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=200),
    st.lists(st.integers(0, 25), max_size=10),
)
def test_like_a_sorted_list(entries: list[tuple[int, bool]], ticks: list[int]) -> None:
    timers, ran = Timers(), list[tuple[int, int]]()
    for number, (deadline, cancel) in enumerate(entries):
        timer = timers.at(deadline, lambda now, d=deadline, n=number: ran.append((d, n)))  # type: ignore[misc]
        if cancel:
            timers.cancel(timer)
    wanted = sorted((d, n) for n, (d, cancel) in enumerate(entries) if not cancel)
    for now in sorted(ticks):
        timers.run(now)
        assert ran == [entry for entry in wanted if entry[0] <= now]
        rest = [entry for entry in wanted if entry[0] > now]
        assert timers.next() == (rest[0][0] if rest else None)
        assert len(timers) == len(rest)
