"""A named pool that tests start, kill and start anew."""

from __future__ import annotations

import parallax as px
from parallax.sessions.current import current
from tests.pool.clusters import process, wait_gone, wait_until

NAME = "durable"


def begin(num_cpus: int = 1) -> str:
    """Join the pool, or start it; its cluster."""
    px.init(name=NAME, num_cpus=num_cpus)
    return current().cluster


def kill() -> None:
    """Kill the hub, and wait until nothing of the pool is left."""
    process(current().cluster, "parallax-hub").kill()
    wait_killed()


def wait_killed() -> None:
    """The hub was killed: wait until nothing of the pool is left."""
    cluster = current().cluster
    wait_until(lambda: not px.is_initialized())
    px.shutdown()
    wait_gone(cluster)
