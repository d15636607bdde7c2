"""Every workload, by name, in the order of the report."""

from __future__ import annotations

from benchmarks.workloads import (
    actors,
    core,
    cpu,
    graphs,
    idle,
    objects,
    placement,
    small,
    start,
)
from benchmarks.workloads.base import Metric, Workload

__all__ = ["WORKLOADS", "Metric", "Workload"]

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for family in (start, small, graphs, objects, cpu, placement, core, idle, actors)
    for workload in family.WORKLOADS
}
