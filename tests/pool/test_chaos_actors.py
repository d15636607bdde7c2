"""Actors in storms: with retries every call completes, in order; without none hangs."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

import parallax as px
from parallax.testing import chaos
from tests.pool import ledgers
from tests.pool.ledgers import Entry

CALLS = 300
"""Of the driver to each actor."""
TIMEOUT_S = 60.0
"""A call that takes longer hangs."""
AT_ONCE = 4
PAUSE_S = 0.003
"""A call takes half of that, and so much longer as there are at once."""
KINDS = {
    "plain": px.remote(ledgers.Ledger),
    "threaded": px.remote(max_concurrency=AT_ONCE)(ledgers.Ledger),
    "asyncio": px.remote(max_concurrency=AT_ONCE)(ledgers.AsyncLedger),
}

call_in_turn = px.remote(max_retries=-1)(ledgers.call_in_turn)


def _actors(folder: Path, **options: Any) -> dict[str, Any]:
    return {
        kind: cls.options(max_restarts=-1, **options).remote(str(folder / kind))
        for kind, cls in KINDS.items()
    }


def _calls(actors: dict[str, Any], dice: random.Random) -> dict[str, list[Any]]:
    """Calls of the driver to all actors, in turns."""
    refs: dict[str, list[Any]] = defaultdict(list)
    for number in range(CALLS):
        for kind, actor in actors.items():
            most_s = PAUSE_S if "plain" in kind else AT_ONCE * PAUSE_S
            refs[kind].append(actor.enter.remote("driver", number, dice.uniform(0.0, most_s)))
    return refs


@pytest.mark.seeds(3)
def test_with_retries_all_calls_complete_and_each_caller_s_in_order(
    cluster: str, tmp_path: Path, storm_seed: int
) -> None:
    # Given an actor of each kind, and several callers of all of them
    actors = _actors(tmp_path, max_task_retries=-1)
    px.get([actor.ready() for actor in actors.values()])
    # When engines die, of actors and of callers
    with chaos(storm_seed, kill_engines_every_s=0.05) as storm:
        refs = _calls(actors, random.Random(storm_seed))
        callers = [call_in_turn.remote(actors, f"task {n}", 30) for n in range(8)]
        values = {kind: px.get(mine, timeout=TIMEOUT_S) for kind, mine in refs.items()}
        assert px.get(callers, timeout=TIMEOUT_S) == [list(range(30)) * len(KINDS)] * 8
    # Then all calls were answered
    assert values == {key: list(range(CALLS)) for key in KINDS}
    entries = {kind: ledgers.entries(tmp_path / kind) for kind in KINDS}
    lives = {kind: len({entry.life for entry in entries[kind]}) for kind in KINDS}
    print(f"{storm!r}, lives: {lives}")
    for kind in KINDS:
        assert set(_by_caller(entries[kind])["driver"]) == set(range(CALLS))
    # And the one that takes a call at a time took those of each caller in the order they were made
    assert not _out_of_order(entries["plain"])


def _by_caller(entries: list[Entry]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        found[entry.caller].append(entry.number)
    return found


def _out_of_order(entries: list[Entry]) -> list[str]:
    """Callers whose calls were taken in another order than they were made.

    A crash may have the last one or more taken again, in the next life; never in the same.
    """
    wrong = []
    for caller, numbers in _by_caller(entries).items():
        if list(dict.fromkeys(numbers)) != sorted(set(numbers)):
            wrong.append(f"{caller}: {numbers}")
    by_life: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in entries:
        by_life[entry.caller, entry.life].append(entry.number)
    for (caller, life), numbers in by_life.items():
        if numbers != sorted(set(numbers)):
            wrong.append(f"{caller} in life {life}: {numbers}")
    return wrong


@pytest.mark.seeds(3)
def test_without_retries_each_call_has_a_value_or_an_error(
    cluster: str, tmp_path: Path, storm_seed: int
) -> None:
    # Given actors that start anew, and one of each kind that does so twice only
    actors = _actors(tmp_path)
    (tmp_path / "mortal").mkdir()
    mortals = {
        f"mortal {kind}": cls.options(max_restarts=2).remote(str(tmp_path / "mortal" / kind))
        for kind, cls in KINDS.items()
    }
    everybody = actors | mortals
    px.get([actor.ready() for actor in everybody.values()])
    # When engines die
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    with chaos(storm_seed, kill_engines_every_s=0.02) as storm:
        for kind, refs in _calls(everybody, random.Random(storm_seed)).items():
            for number, ref in enumerate(refs):
                try:
                    assert px.get(ref, timeout=TIMEOUT_S) == number
                    outcomes[kind]["values"] += 1
                except px.errors.ActorError as error:
                    outcomes[kind][type(error).__name__] += 1
    print(f"{storm!r}, outcomes: { {kind: dict(counts) for kind, counts in outcomes.items()} }")
    # Then all calls have ended
    for kind in actors:
        assert sum(outcomes[kind].values()) == CALLS
        assert set(outcomes[kind]) <= {"values", "ActorUnavailableError"}
    for kind in mortals:
        assert sum(outcomes[kind].values()) == CALLS
        assert set(outcomes[kind]) <= {"values", "ActorUnavailableError", "ActorDiedError"}
    # And none has run twice
    for path in [*(tmp_path / kind for kind in KINDS), *(tmp_path / "mortal").iterdir()]:
        numbers = [entry.number for entry in ledgers.entries(path)]
        assert len(numbers) == len(set(numbers))
    assert storm.counts.engines > 0
