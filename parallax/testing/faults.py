"""What may go wrong in a simulated cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """What goes wrong. Rates are per second of virtual time, the others are probabilities."""

    crashes_per_s: float = 0.0
    """Engines die."""
    losses_per_s: float = 0.0
    """Large values disappear from the store."""
    presses_per_s: float = 0.0
    """Hosts run out of memory."""
    nodes_lost_per_s: float = 0.0
    """Hosts are lost, but for the last one."""
    start_fails: float = 0.0
    """An engine dies before it says hello."""
    slow_engines: float = 0.0
    """An engine is ten times as slow as the others."""
    duplicate: float = 0.0
    """A submission or a result is sent twice."""
    stubborn: float = 0.0
    """A running task ignores its interrupt."""
    forgetful: float = 0.0
    """A client drops a template after a submission, unless messages are sent twice."""
