"""What may go wrong in a simulated cluster."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.messages import (
    CancelRequested,
    EngineExited,
    ItemsConsumed,
    ItemsReturned,
    ItemYielded,
    MemoryPressed,
    ObjectMissing,
    ObjectPut,
    ObjectsWanted,
    Ping,
    Printed,
    RefsChanged,
    TasksFinished,
    TaskStalled,
)

REPEATABLE = (
    CancelRequested,
    EngineExited,
    ItemsConsumed,
    ItemsReturned,
    ItemYielded,
    ObjectMissing,
    ObjectsWanted,
    TasksFinished,
    TaskStalled,
)
"""What may come again and late without harm: it names the attempt, or asks for what is so already.
The others are news of their sender's own state, and come once and in order."""
REPEATABLE_AT_ONCE = (*REPEATABLE, ObjectPut, RefsChanged)
"""What may come twice in a row without harm."""
UNORDERED = (EngineExited, ItemsConsumed, MemoryPressed, Ping, Printed)
"""What may overtake anything that its sender has said before: it is about itself alone."""


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
    start_hangs: float = 0.0
    """An engine never says hello, and is there until it is killed."""
    slow_engines: float = 0.0
    """An engine is ten times as slow as the others."""
    stalls_per_s: float = 0.0
    """One direction of a link stands still for a while, from a millisecond to a minute."""
    partitions_per_s: float = 0.0
    """A host or a client is cut off for a while. Half of them are taken for dead meanwhile, and
    what they had said arrives afterwards."""
    clients_lost_per_s: float = 0.0
    """Clients die, but for the first."""
    greetings_per_s: float = 0.0
    """A process says its hello a second time, through another link."""
    duplicate: float = 0.0
    """A submission or a result is sent twice."""
    echo: float = 0.0
    """A message that may come again (`REPEATABLE`) does, at once or late."""
    reorder: float = 0.0
    """A batch of events is digested in another order, but for that of each sender; and a message
    that may overtake others (`UNORDERED`) does."""
    disk_fails: float = 0.0
    """The journal cannot do what it is told."""
    stubborn: float = 0.0
    """A running task ignores its interrupt."""
    forgetful: float = 0.0
    """A client drops a template after a submission, unless messages are sent twice."""
