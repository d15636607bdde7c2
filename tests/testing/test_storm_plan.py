"""What a storm is asked to do is checked where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.errors import UsageError
from parallax.testing import StormCounts, chaos


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "does nothing: give kill_engines_every_s, .* or delay_s"),
        ({"seed": "7", "delay_s": 1}, "seed='7' must be an int"),
        ({"seed": True, "delay_s": 1}, "seed=True must be an int"),
        ({"kill_engines_every_s": 0}, "kill_engines_every_s=0 leaves no time"),
        ({"sever_links_every_s": -1}, "sever_links_every_s=-1 must be a number"),
        ({"kill_nodes_every_s": "1"}, "kill_nodes_every_s='1' must be a number"),
        ({"delay_s": float("inf")}, "delay_s=inf must be a number"),
        ({"kill_engines_every_s": 1, "ways": ["SIGTERM"]}, "ways=.'SIGTERM',.: some of SIGKILL"),
        ({"kill_engines_every_s": 1, "ways": []}, "ways=.*: some of SIGKILL"),
    ],
)
def test_it_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        chaos(**arguments)


def test_a_seed_is_drawn_and_shown() -> None:
    storms = [chaos(delay_s=0.1) for _ in range(3)]
    assert len({storm.seed for storm in storms}) == 3
    assert repr(storms[0]) == f"<chaos seed={storms[0].seed}: nothing yet>"
    assert storms[0].counts == StormCounts()
    assert chaos(7, delay_s=0.1).seed == 7
