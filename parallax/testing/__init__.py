"""Tools to test what runs on Parallax, and Parallax itself.

`chaos` has things go wrong in a real pool. `Cluster` runs the real scheduler on a virtual clock
among simulated nodes, engines and clients: without processes and without waiting.
"""

from parallax.testing.chaos import chaos
from parallax.testing.clients import Client
from parallax.testing.cluster import Cluster, StuckError
from parallax.testing.faults import Faults
from parallax.testing.figures import CoreCost, core_cost, waiting_task_bytes
from parallax.testing.invariants import InvariantError, check, check_counts, check_empty
from parallax.testing.programs import Emit, Large, Options, Raised, Ref
from parallax.testing.schedules import Schedule, Tally, run_schedule
from parallax.testing.storm import Storm, StormCounts
from parallax.testing.task_context import TaskContext

__all__ = [
    "Client",
    "Cluster",
    "CoreCost",
    "Emit",
    "Faults",
    "InvariantError",
    "Large",
    "Options",
    "Raised",
    "Ref",
    "Schedule",
    "Storm",
    "StormCounts",
    "StuckError",
    "Tally",
    "TaskContext",
    "chaos",
    "check",
    "check_counts",
    "check_empty",
    "core_cost",
    "run_schedule",
    "waiting_task_bytes",
]
