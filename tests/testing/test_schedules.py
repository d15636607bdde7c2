"""Random schedules of faults: what they promise holds, they are the same again, and say enough."""

from __future__ import annotations

import doctest

import pytest

import parallax.testing.schedules
from parallax.core.recovery import Recovery
from parallax.testing import Schedule, run_schedule
from parallax.testing.schedule_runs import FIRST_SEED, main, run

KINDS = {"crash", "delay", "duplicate", "reorder", "partition", "lost segment"}
IN_CI = 1500
"""``make schedules`` runs the rest."""


def test_the_example_of_its_module_runs() -> None:
    assert doctest.testmod(parallax.testing.schedules).failed == 0


def test_a_seed_decides_everything() -> None:
    def trail() -> list[str]:
        schedule = Schedule(11, record=True)
        schedule.run()
        return [repr(batch) for batch in schedule.cluster.hub.trail or ()]

    assert trail() == trail()


def test_a_hundred_schedules_hold_and_have_every_kind_of_fault() -> None:
    tally, failures = run(FIRST_SEED, 100)
    assert failures == {}
    assert tally.schedules == 100
    assert tally.calls > 1000
    assert tally.events > 5000
    assert set(tally.faults) == KINDS


@pytest.mark.slow
@pytest.mark.timeout(300)  # half a minute on two cores that have nothing else to do
def test_many_schedules_hold() -> None:
    tally, failures = run(FIRST_SEED + 100, IN_CI - 100, processes=2)
    assert failures == {}
    assert tally.schedules == IN_CI - 100


def test_the_command_prints_its_seeds_and_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["3", "--first", "5", "--processes", "1"]) == 0
    out = capsys.readouterr().out
    assert "3 schedules, seeds 5 to 7: every invariant holds" in out
    assert "events, and after each a check of every invariant" in out


def test_a_schedule_that_fails_says_how_to_run_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a core that forgets what a dead engine had.
    monkeypatch.setattr(Recovery, "engine_lost", lambda *_: None)

    assert main(["20", "--processes", "1"]) == 1
    out = capsys.readouterr().out
    assert "20 schedules, seeds 1 to 20:" in out
    assert "FAIL" in out
    command = next(line for line in out.splitlines() if "again:" in line)
    seed = command.rpartition(" ")[2]
    assert command.endswith(f"python -m parallax.testing --seed {seed}")

    # When that one is run alone, its end is shown.
    assert main(["--seed", seed]) == 1
    out = capsys.readouterr().out
    assert f"seed {seed}: " in out
    assert "Error" in out
    assert "PeerLost" in out or "EngineExited" in out


def test_one_that_holds_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3"]) == 0
    assert "each ended once" in capsys.readouterr().out
    assert run_schedule(3).schedules == 1
