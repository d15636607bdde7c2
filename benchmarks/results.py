"""What was measured, and how two measurements become one ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement: its metrics, or the reason why there are none."""

    system: str
    workload: str
    round: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True)
class Quantity:
    """One metric of one workload on one system."""

    system: str
    workload: str
    metric: str


@dataclass(frozen=True)
class Spread:
    """The median of some values, and how far they spread."""

    typical: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of the values, or None when there are none."""
        return cls(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Results:
    """A whole run."""

    machine: Mapping[str, str]
    samples: Sequence[Sample]

    def by_round(self, quantity: Quantity) -> dict[int, float]:
        """Return the values of a quantity, by round."""
        return {
            sample.round: sample.metrics[quantity.metric]
            for sample in self.samples
            if (sample.system, sample.workload) == (quantity.system, quantity.workload)
            and quantity.metric in sample.metrics
        }

    def spread(self, quantity: Quantity) -> Spread | None:
        """Return the spread of a quantity over the rounds, or None when it has no value."""
        return Spread.of(list(self.by_round(quantity).values()))

    def ratio(self, value: Quantity, over: Quantity) -> Spread | None:
        """Return the spread of the ratio, taken round by round.

        Both sides of a round were measured close in time, so that a machine that slows down in
        the middle of a run slows both: pairing removes what a ratio of two medians would keep.
        """
        values, overs = self.by_round(value), self.by_round(over)
        return Spread.of([values[r] / overs[r] for r in sorted(values.keys() & overs.keys())])

    def reasons(self) -> dict[tuple[str, str], str]:
        """Return why a (system, workload) has no value at all."""
        measured = {(s.system, s.workload) for s in self.samples if s.metrics}
        return {
            (s.system, s.workload): s.reason
            for s in self.samples
            if s.reason is not None and (s.system, s.workload) not in measured
        }

    def save(self, path: Path) -> None:
        """Write the run as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a run that `save` wrote.

        Raises:
            msgspec.ValidationError: The file holds something else.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)
