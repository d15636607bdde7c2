"""How long a function takes, as far as one can tell from its last calls."""

from __future__ import annotations

WEIGHT = 0.2
"""Of the newest sample. Large enough to notice within ten calls that tasks became long."""


class DurationEstimate:
    """An exponentially weighted mean. Unknown until the first sample."""

    __slots__ = ("mean_s", "samples")

    def __init__(self) -> None:
        self.mean_s = -1.0
        self.samples = 0

    def add(self, duration_s: float, count: int = 1) -> None:
        """Record that `count` calls took `duration_s` seconds together."""
        each_s = duration_s / count
        self.samples += count
        if self.mean_s < 0.0:
            self.mean_s = each_s
        else:
            self.mean_s += WEIGHT * (each_s - self.mean_s)
