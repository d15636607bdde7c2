"""The two figures of the scheduler, small: they measure, and stay in their bounds by far."""

from __future__ import annotations

from parallax.testing import core_cost, waiting_task_bytes


def test_a_waiting_task_takes_far_less_than_two_kib() -> None:
    plain = waiting_task_bytes(5_000)
    dependent = waiting_task_bytes(5_000, dependency=True)
    assert 100 < plain < dependent < 2048


def test_the_cost_of_a_task_does_not_grow_with_their_number() -> None:
    few = min(core_cost(1_000, engines=100).total_s for _ in range(5))
    many = min(core_cost(20_000, engines=100).total_s for _ in range(3))
    assert 0 < many < 2 * few
