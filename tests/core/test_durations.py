"""Estimates of how long a function takes."""

from __future__ import annotations

import pytest

from parallax.core.durations import DurationEstimate


def test_is_unknown_until_the_first_sample() -> None:
    estimate = DurationEstimate()
    assert estimate.mean_s < 0
    estimate.add(0.5)
    assert estimate.mean_s == 0.5


def test_counts_each_call_of_a_chunk() -> None:
    estimate = DurationEstimate()
    estimate.add(1.0, 100)
    assert estimate.mean_s == pytest.approx(0.01)
    assert estimate.samples == 100


def test_notices_within_ten_calls_that_tasks_became_long() -> None:
    estimate = DurationEstimate()
    for _ in range(1000):
        estimate.add(0.001)
    for _ in range(10):
        estimate.add(1.0)
    assert estimate.mean_s > 0.5
