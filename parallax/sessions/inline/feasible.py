"""Whether an inline session has what a task asks for."""

from __future__ import annotations

from collections.abc import Mapping

from parallax.core.resources import Demand
from parallax.messages import Failure
from parallax.options import NodeAffinity
from parallax.sessions.protocol import Call


def infeasible(call: Call, task_id: int, resources: Mapping[str, float]) -> Failure | None:
    """Why a task can never run here; None when it can."""
    options = call.task_options
    strategy = options.scheduling_strategy
    where = ""
    if isinstance(strategy, NodeAffinity) and strategy.node != 0 and not strategy.soft:
        where = f" on node {strategy.node}"
    fits = all(resources.get(name, 0) >= n for name, n in options.demand.items())
    if fits and not where:
        return None
    return Failure(
        "infeasible",
        f"{call.name} asks for {Demand(options.demand).describe()}{where}, which no node of "
        f"this session has (node 0: {Demand(resources).describe()}). Ask for less with "
        ".options(...), or give this process more with parallax.init('inline', num_cpus=...).",
        b"",
        task_id,
    )
