"""What waits end by, when not by what was waited for."""

from __future__ import annotations

import enum
import queue
import threading

from parallax.errors import DeadlockError, GetTimeoutError, ParallaxError


class Empty(GetTimeoutError, queue.Empty):
    """The queue had no item, or none in time. Also a `queue.Empty` and a `TimeoutError`."""


class Full(GetTimeoutError, queue.Full):
    """The queue had no room, or none in time. Also a `queue.Full` and a `TimeoutError`."""


class ShutDown(ParallaxError, getattr(queue, "ShutDown", Exception)):  # type: ignore[misc]
    """The queue was shut down. Also a `queue.ShutDown`, where Python has it (3.13)."""


class BrokenBarrierError(ParallaxError, threading.BrokenBarrierError):
    """Somebody who was waited for does not come. Also a `threading.BrokenBarrierError`."""


class Outcome(enum.Enum):
    """How a wait has ended, as a desk says it."""

    DONE = "done"
    TIMEOUT = "timeout"
    NEVER = "never"
    """Nobody could end it: the session is inline."""
    SHUT_DOWN = "shut down"
    BROKEN = "broken"


def error_of(outcome: Outcome, what: str, late: type[GetTimeoutError], why: str) -> ParallaxError:
    """The error that stands for this outcome.

    Args:
        what: was asked for, as the user wrote it.
        late: what a timeout raises.
        why: it could not be had, as a sentence without its end.
    """
    if outcome is Outcome.TIMEOUT:
        return late(f"{what}: {why}. Try again, or wait longer.")
    if outcome is Outcome.SHUT_DOWN:
        return ShutDown(f"{what}: the queue was shut down; make a new one.")
    if outcome is Outcome.BROKEN:
        return BrokenBarrierError(f"{what}: {why}. Call reset() to use the barrier again.")
    return DeadlockError(
        f"{what}: {why}, and in an inline session nobody else runs while this call waits. Do not "
        "wait here, or use a pool: parallax.init()."
    )
