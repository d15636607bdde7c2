"""Answers to questions about placement groups, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parallax.core.records import PeerRecord
from parallax.core.resources import UNIT

if TYPE_CHECKING:
    from parallax.core.group_records import Bundle, GroupRecord
    from parallax.core.machine import Machine


def groups(machine: Machine, peer: PeerRecord, argument: Any) -> Any:
    """Every placement group, and the last of those that have ended."""
    rows = [*machine.groups.rows.values(), *machine.groups.ended]
    return [row_of(group) for group in sorted(rows, key=lambda group: group.id)]


def row_of(group: GroupRecord) -> dict[str, Any]:
    """One group."""
    return {
        "group": group.id,
        "name": group.name,
        "strategy": group.strategy,
        "state": group.state.value,
        "bundles": [_bundle(bundle) for bundle in group.bundles],
        "detached": not group.owner,
        "why": group.failure.message if group.failure is not None else "",
    }


def _bundle(bundle: Bundle) -> dict[str, Any]:
    total = bundle.demand.quantities
    node = bundle.node
    return {
        "resources": {name: amount / UNIT for name, amount in total.items()},
        "available": {name: max(0, bundle.available[name]) / UNIT for name in total if node},
        "node": node.number if node is not None else -1,
    }
