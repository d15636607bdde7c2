"""Placement groups as options see them: their bundles, and how tasks and actors name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parallax.errors import UsageError
from parallax.ids import hex_id

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class BundleGroup:
    """What options need to know of a placement group. Users have `parallax.PlacementGroup`."""

    number: int
    """Its id in its cluster."""
    specs: Sequence[Mapping[str, float]]
    """What each bundle reserves, by the name of the resource."""

    @property
    def id(self) -> str:
        """The number as 16 hexadecimal digits."""
        return hex_id(self.number)


@dataclass(frozen=True, slots=True)
class PlacementGroupSchedulingStrategy:
    """Run in a bundle of this placement group.

    Args:
        placement_group: made by `parallax.placement_group`.
        placement_group_bundle_index: which of its bundles; -1 for any that has room.
        placement_group_capture_child_tasks: run what the task submits in the group too, unless it
            says where it wants to run.
    """

    placement_group: BundleGroup
    placement_group_bundle_index: int = -1
    placement_group_capture_child_tasks: bool = False


def group_strategy(strategy: object) -> PlacementGroupSchedulingStrategy | None:
    """The strategy as one of placement groups, if it is; a bare group means any of its bundles."""
    if isinstance(strategy, BundleGroup):
        return PlacementGroupSchedulingStrategy(strategy)
    return strategy if isinstance(strategy, PlacementGroupSchedulingStrategy) else None


def check_group(strategy: PlacementGroupSchedulingStrategy, demand: Mapping[str, float]) -> None:
    """Check that what is asked for fits into the bundle, or into some bundle of the group.

    Raises:
        UsageError: it does not, or there is no such group or bundle.
    """
    group, index = strategy.placement_group, strategy.placement_group_bundle_index
    if not isinstance(group, BundleGroup):
        raise UsageError(
            f"placement_group={group!r} must be what parallax.placement_group(...) returned."
        )
    if not isinstance(index, int) or isinstance(index, bool) or not -1 <= index < len(group.specs):
        raise UsageError(
            f"placement_group_bundle_index={index!r} must be an int from 0 to "
            f"{len(group.specs) - 1}, or -1 for any bundle of the placement group {group.id}."
        )
    bundles = group.specs if index < 0 else [group.specs[index]]
    if not any(_holds(bundle, demand) for bundle in bundles):
        where = "any bundle" if index < 0 else f"bundle {index}"
        has = "; ".join(map(_text, bundles[:8])) + ("; ..." if len(bundles) > 8 else "")
        raise UsageError(
            f"{_text(demand)} is more than {where} of the placement "
            f"group {group.id} has ({has}). Ask for less (num_cpus is 1 unless it is given), or "
            "make a group with larger bundles."
        )


def _holds(bundle: Mapping[str, float], demand: Mapping[str, float]) -> bool:
    return all(bundle.get(name, 0) >= amount for name, amount in demand.items())


def _text(amounts: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{name!r}: {amount:g}" for name, amount in amounts.items()) + "}"
