"""The page says what was measured, and never more."""

from __future__ import annotations

import pytest

from benchmarks.bars import BARS
from benchmarks.report import quantity, render, table, verdict
from benchmarks.results import Results, Sample
from benchmarks.workloads.base import Unit

TRIPS = next(bar for bar in BARS if bar.name == "round_trip-stdlib")


def trips(ours_s: float, theirs_s: float) -> Results:
    return Results(
        {"memory": "24 GiB"},
        [
            Sample(system=name, workload="round_trip", round=0, metrics={"round_trip": value})
            for name, value in (("parallax", ours_s), ("stdlib", theirs_s))
        ],
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5e-8, "s", "25 ns"),
        (85.4321e-6, "s", "85.4 µs"),
        (0.00099951, "s", "1 ms"),
        (0.0123, "s", "12.3 ms"),
        (13.12, "s", "13.1 s"),
        (61_234.0, "/s", "61,200 /s"),
        (512.0, "B", "512 B"),
        (200 * 2.0**20, "B", "200 MiB"),
        (1.934, "ratio", "1.93×"),  # noqa: RUF001
        (0.0, "%", "0 %"),
        (5, "count", "5"),
    ],
)
def test_a_number_has_three_digits_and_a_fitting_unit(value: float, unit: Unit, text: str) -> None:
    assert quantity(value, unit) == text


def test_a_table_escapes_pipes() -> None:
    assert table(["a"], [["x | y"]]) == "| a |\n| --- |\n| x \\| y |\n"


@pytest.mark.parametrize(
    ("ours_s", "expected"), [(0.74, "meets"), (0.75, "meets"), (0.76, "**falls short**")]
)
def test_a_verdict_compares_with_the_limit(ours_s: float, expected: str) -> None:
    assert verdict(TRIPS, trips(ours_s, 1.0)) == expected


def test_a_bar_without_its_peer_is_not_measured() -> None:
    results = Results({}, [s for s in trips(1.0, 1.0).samples if s.system == "parallax"])
    assert verdict(TRIPS, results) == "not measured"


def test_a_bar_that_falls_short_is_explained_only_while_it_does() -> None:
    remarks = {TRIPS.name: "the pipe is slow"}
    assert f"- **{TRIPS.what}**: the pipe is slow" in render(trips(2.0, 1.0), remarks)
    assert "the pipe is slow" not in render(trips(0.5, 1.0), remarks)
    assert f"- **{TRIPS.what}**: not explained yet" in render(trips(2.0, 1.0), {})


def test_a_dash_comes_with_its_reason() -> None:
    results = trips(1.0, 1.0)
    absent = Sample(system="loky", workload="round_trip", round=0, reason="failed: no room")
    page = render(Results(results.machine, [*results.samples, absent]), {})
    assert "| round trip | 1 s | 1 s | — |" in page
    assert "- **failed: no room**: loky (round_trip)" in page


def test_only_systems_that_ran_have_a_column() -> None:
    page = render(trips(1.0, 1.0), {})
    assert "ProcessPoolExecutor" in page
    assert "ipyparallel" not in page
