"""A run interleaves the systems and measures most what the bars read."""

from __future__ import annotations

from benchmarks import systems
from benchmarks.bars import BARS, barred_pairs
from benchmarks.plan import plan, rounds
from benchmarks.workloads import WORKLOADS

ALL = plan(list(WORKLOADS), systems.NAMES, quick=False)


def test_each_bar_reads_metrics_that_exist() -> None:
    for bar in BARS:
        for side in (bar.value, bar.over):
            if side is not None:
                assert side.metric in WORKLOADS[side.workload].metrics, bar.name
                assert side.system in systems.NAMES, bar.name
                assert side.system not in WORKLOADS[side.workload].left_out, bar.name


def test_bars_have_names_of_their_own() -> None:
    names = [bar.name for bar in BARS]
    assert len(set(names)) == len(names)


def test_a_full_run_takes_each_pair_as_often_as_it_deserves() -> None:
    for workload in WORKLOADS:
        for system in systems.NAMES:
            taken = [s.round for s in ALL if (s.system, s.workload) == (system, workload)]
            assert taken == list(range(rounds(system, workload)))


def test_what_a_bar_reads_is_measured_more_than_once() -> None:
    assert all(rounds(system, workload) >= 3 for system, workload in barred_pairs())


def test_systems_take_turns_within_a_workload() -> None:
    # Given one workload and two systems, no system does two rounds in a row by itself.
    steps = plan(["no_ops"], ["parallax", "stdlib"], quick=False)
    for number in range(rounds("parallax", "no_ops")):
        turn = [step.system for step in steps if step.round == number]
        assert sorted(turn) == ["parallax", "stdlib"]
    assert [step.round for step in steps] == sorted(step.round for step in steps)


def test_each_round_starts_with_another_system() -> None:
    first = [s.system for s in plan(["no_ops"], ["parallax", "stdlib"], quick=False)][::2]
    assert first[:2] == ["parallax", "stdlib"]


def test_a_quick_run_has_one_round() -> None:
    steps = plan(list(WORKLOADS), ["parallax", "stdlib"], quick=True)
    assert len(steps) == 2 * len(WORKLOADS)
    assert {step.round for step in steps} == {0}
