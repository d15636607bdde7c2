"""One measurement: `python -m benchmarks.measure SYSTEM WORKLOAD` prints one line of JSON.

The line holds `metrics`, a value by name, and `version`; or `unsupported`, the reason why this
system cannot do this work. Imports are few, since the cold start counts them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import NoReturn

from benchmarks import systems
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.base import ENGINES

_GRACE_S = 5
"""How long a system may take to stop when the runner has died."""


def measure(system_name: str, workload_name: str) -> dict[str, object]:
    """Start the system, do the work, stop the system."""
    system = systems.load(system_name)
    system.start(ENGINES)
    try:
        return {"metrics": WORKLOADS[workload_name].run(system)}
    except systems.Unsupported as reason:
        return {"unsupported": str(reason)}
    finally:
        system.stop()


def _stop_soon(_number: int, _frame: object) -> NoReturn:
    """Stop the system as at the end of the work, and if that hangs, by force."""
    signal.signal(signal.SIGALRM, _stop_now)
    signal.alarm(_GRACE_S)
    raise KeyboardInterrupt


def _stop_now(_number: int, _frame: object) -> NoReturn:
    from benchmarks.processes import stop_descendants

    stop_descendants()
    os._exit(1)


if __name__ == "__main__":
    # Comes when the runner has died and nobody else is left to stop what runs below.
    signal.signal(signal.SIGTERM, _stop_soon)
    print(json.dumps(measure(*sys.argv[1:])), flush=True)
