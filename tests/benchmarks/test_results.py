"""Ratios are taken round by round, so that a machine's drift cancels out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.results import Quantity, Results, Sample, Spread

OURS, THEIRS = Quantity("parallax", "work", "time"), Quantity("stdlib", "work", "time")

durations = st.floats(min_value=1e-6, max_value=1e3)


def sample(system: str, number: int, value: float) -> Sample:
    return Sample(system=system, workload="work", round=number, metrics={"time": value})


def run(ours: list[float], theirs: list[float]) -> Results:
    samples = [sample("parallax", i, value) for i, value in enumerate(ours)]
    samples += [sample("stdlib", i, value) for i, value in enumerate(theirs)]
    return Results({}, samples)


@given(
    rounds=st.lists(st.tuples(durations, durations), min_size=1, max_size=7),
    drift=st.lists(st.floats(min_value=0.1, max_value=10), min_size=7, max_size=7),
)
def test_drift_that_hits_both_sides_of_a_round_leaves_the_ratio(
    rounds: list[tuple[float, float]], drift: list[float]
) -> None:
    steady = run([a for a, _ in rounds], [b for _, b in rounds])
    drifting = run(
        [a * d for (a, _), d in zip(rounds, drift, strict=False)],
        [b * d for (_, b), d in zip(rounds, drift, strict=False)],
    )
    before, after = steady.ratio(OURS, THEIRS), drifting.ratio(OURS, THEIRS)
    assert before is not None
    assert after is not None
    assert after.typical == pytest.approx(before.typical)
    assert (after.low, after.high) == (pytest.approx(before.low), pytest.approx(before.high))


def test_only_rounds_that_have_both_sides_count() -> None:
    results = run([1.0, 2.0, 900.0], [2.0, 2.0])
    assert results.ratio(OURS, THEIRS) == Spread(typical=0.75, low=0.5, high=1.0)


def test_a_ratio_without_a_common_round_is_none() -> None:
    assert run([1.0], []).ratio(OURS, THEIRS) is None


def test_a_spread_is_the_median_and_the_extremes() -> None:
    assert run([5.0, 1.0, 2.0], []).spread(OURS) == Spread(typical=2.0, low=1.0, high=5.0)


def test_a_reason_counts_only_where_no_round_has_a_value() -> None:
    failed = Sample(system="parallax", workload="work", round=1, reason="failed: oops")
    never = Sample(system="stdlib", workload="work", round=0, reason="has no futures")
    results = Results({}, [sample("parallax", 0, 1.0), failed, never])
    assert results.reasons() == {("stdlib", "work"): "has no futures"}


def test_a_saved_run_loads_as_it_was(tmp_path: Path) -> None:
    results = Results({"memory": "24 GiB"}, [*run([1.0], [2.0]).samples])
    path = tmp_path / "out" / "run.json"
    results.save(path)
    assert Results.load(path) == results
