"""A soak notices what grows, and nothing else."""

from __future__ import annotations

import pytest

from tools.soak.gauge import MIB, Quantity, judge

MEMORY = Quantity("memory of hub", is_memory=True)
COUNT = Quantity("descriptors of hub")


def _judge(quantity: Quantity, values: list[float]) -> tuple[bool, str]:
    (verdict,) = judge([{quantity: value} for value in values], growth=0.05)
    return verdict.flat, str(verdict)


@pytest.mark.parametrize(
    ("quantity", "values", "flat"),
    [
        (MEMORY, [20 * MIB] * 3, True),
        (MEMORY, [20 * MIB, 20 * MIB, 21 * MIB], True),
        (MEMORY, [20 * MIB, 20 * MIB, 21.1 * MIB], False),
        (MEMORY, [20 * MIB + n * MIB / 10 for n in range(30)], False),
        (MEMORY, [20 * MIB, 19 * MIB, 20 * MIB, 35 * MIB, 20 * MIB, 19 * MIB], True),
        (MEMORY, [30 * MIB, 20 * MIB, 10 * MIB], True),
        (COUNT, [12, 12, 13], True),
        (COUNT, [12, 13, 14], False),
        (COUNT, [0, 0, 0], True),
        (COUNT, [0, 0, 2], False),
    ],
)
def test_growth(quantity: Quantity, values: list[float], flat: bool) -> None:
    assert _judge(quantity, values)[0] == flat


def test_a_verdict_has_its_numbers() -> None:
    grows = " ".join(_judge(MEMORY, [20 * MIB, 20 * MIB, 25 * MIB])[1].split())
    assert grows == "memory of hub 20.00 MiB → 25.00 MiB +25.0% GROWS"
    assert " ".join(_judge(COUNT, [0, 0, 0])[1].split()) == "descriptors of hub 0 → 0 flat"


def test_what_is_gone_at_the_end_does_not_grow() -> None:
    verdicts = judge([{MEMORY: 1.0, COUNT: 3.0}, {MEMORY: 1.0}, {MEMORY: 1.0}], growth=0.05)
    assert all(verdict.flat for verdict in verdicts)
