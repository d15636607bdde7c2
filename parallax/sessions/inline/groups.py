"""The placement groups of an inline session: bundles of this process, there at once or never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parallax.core.group_records import GroupRecord, GroupState, removed
from parallax.core.group_views import row_of
from parallax.core.packing import pack
from parallax.core.resources import UNIT, NodeRecord, describe
from parallax.errors import UsageError
from parallax.messages import Failure
from parallax.options import TaskOptions


class InlineGroups:
    """Not thread-safe: the session's lock is held around all of it.

    Args:
        resources: what the process has.
    """

    def __init__(self, resources: Mapping[str, float]) -> None:
        self._rows: dict[int, GroupRecord] = {}
        self._node = NodeRecord(0, 0, "", resources)

    def check(self, bundles: Sequence[Mapping[str, float]], strategy: str) -> None:
        """See that there is room for such a group now. Later there is nobody to wait for it.

        Raises:
            UsageError: there is none.
        """
        demands = [bundle.demand for bundle in _record(0, bundles, strategy, "").bundles]
        places = pack(demands, strategy, [self._node])
        if places is None:
            node = self._node
            free = {name: amount for name, amount in node.available.items() if amount}
            raise UsageError(
                f"an inline session is one host and waits for nobody: {len(bundles)} bundles "
                f"({'; '.join(demand.describe() for demand in demands)}) with strategy "
                f"{strategy!r} do not fit into what is free ({describe(free) or 'nothing'} of "
                f"{describe(node.total)}). Remove other groups, or give this process more with "
                "parallax.init('inline', num_cpus=..., resources=...)."
            )
        for (_, gpus), demand in zip(places, demands, strict=True):
            self._node.release(demand, gpus)

    def add(
        self, number: int, bundles: Sequence[Mapping[str, float]], strategy: str, name: str
    ) -> None:
        """Keep a group for which there is room."""
        group = self._rows[number] = _record(number, bundles, strategy, name)
        for bundle in group.bundles:
            bundle.put(self._node, self._node.acquire(bundle.demand))
        group.state = GroupState.CREATED

    def remove(self, number: int) -> Failure | None:
        """Give a group's resources back; why nothing runs in it any more, if it was there."""
        group = self._rows.get(number)
        if group is None or group.failure is not None:
            return None
        for bundle in group.bundles:
            bundle.lift()
        failure = removed(group, "it was removed by remove_placement_group()")
        group.fail(failure, GroupState.REMOVED)
        return failure

    def why_not(self, options: TaskOptions, name: str, task: int) -> Failure | None:
        """Why a task with these options cannot run in the group that they name, if so."""
        if options.group is None:
            return None
        group = self._rows.get(options.group.placement_group.number)
        if group is not None and group.failure is None:
            return None
        why = group.failure.message if group is not None and group.failure else "it is not known"
        return Failure("group_removed", f"{name} was cancelled: {why}", b"", task)

    def reserved(self) -> dict[str, float]:
        """What groups have of the process's resources."""
        return {name: amount / UNIT for name, amount in self._node.held.items()}

    def view(self) -> list[dict[str, Any]]:
        """See `parallax.core.group_views`."""
        return [row_of(group) for group in self._rows.values()]


def _record(
    number: int, bundles: Sequence[Mapping[str, float]], strategy: str, name: str
) -> GroupRecord:
    return GroupRecord(number, name, bundles, strategy, 1, b"")
