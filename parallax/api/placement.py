"""Placement groups: resources that are reserved together, for what belongs together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from parallax.errors import UsageError
from parallax.ids import hex_id
from parallax.options import check_amount, check_resources, check_timeout
from parallax.placement_options import STRATEGIES, BundleGroup
from parallax.refs import ObjectRef
from parallax.reprs import HtmlRepr, Rows
from parallax.sessions.current import current, current_of
from parallax.sessions.frames import callers_line

MAX_BUNDLES = 1000


class PlacementGroup(HtmlRepr, BundleGroup):
    """Bundles of resources, reserved all at once or not at all. Made by `placement_group`.

    Pass it as ``scheduling_strategy`` to run tasks and actors in it. Thread-safe, and picklable
    within its cluster. It does not end with its last handle, but with `remove_placement_group` or
    the program that made it.

        >>> import parallax as px
        >>> group = px.placement_group([{"CPU": 0.5}, {"CPU": 0.5}])
        >>> group.wait(10)
        True
        >>> double = px.remote(num_cpus=0.5, scheduling_strategy=group)(lambda x: 2 * x)
        >>> px.get(double.map([1, 2]))
        [2, 4]
        >>> px.remove_placement_group(group)

    Attributes:
        id: 16 hexadecimal digits.
        bundle_specs: what each bundle reserves, by the name of the resource.
        strategy: how its bundles are placed.
        name: shown in views.
    """

    def __init__(
        self, ref: ObjectRef[None], bundles: Sequence[Mapping[str, float]], strategy: str, name: str
    ) -> None:
        self._ref = ref
        self.number = ref.id
        self.specs = tuple(dict(bundle) for bundle in bundles)
        self.strategy = strategy
        self.name = name

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """See the class."""
        return [dict(bundle) for bundle in self.specs]

    @property
    def bundle_count(self) -> int:
        """How many bundles it has."""
        return len(self.specs)

    def ready(self) -> ObjectRef[None]:
        """A ref that is ready when all bundles are reserved. Returns at once.

        `get` of it raises `UsageError` when the cluster could never hold the group, and
        `PlacementGroupRemovedError` when it was removed before there was room.
        """
        return self._ref

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all bundles are reserved. Blocks.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            Whether they are; False when time ran out first.

        Raises:
            UsageError: the cluster could never hold the group, or its session is over.
            PlacementGroupRemovedError: it was removed.
        """
        with callers_line:
            session = current_of([self._ref])
            if not session.wait([self._ref], 1, check_timeout(timeout), fetch=True):
                return False
            session.get([self._ref], None)
            return True

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroup, (self._ref, self.specs, self.strategy, self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self._ref == other._ref

    def __hash__(self) -> int:
        return hash(self._ref)

    def __repr__(self) -> str:
        name = f"{self.name} " if self.name else ""
        specs = ", ".join(map(_text, self.specs[:4])) + (", ..." if len(self.specs) > 4 else "")
        return f"<placement group {name}{self.id} {self.strategy} [{specs}]>"


def placement_group(
    bundles: Iterable[Mapping[str, float]],
    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK",
    name: str = "",
    lifetime: Literal["detached"] | None = None,
) -> PlacementGroup:
    """Reserve bundles of resources, all of them at once or none. Returns at once.

    The group waits until there is room for all of its bundles, and holds nothing until then. If
    the cluster could never hold it, `PlacementGroup.ready` and what is to run in it fail at once.

        >>> import parallax as px
        >>> group = px.placement_group([{"CPU": 1}], strategy="STRICT_PACK")
        >>> group.bundle_specs
        [{'CPU': 1}]
        >>> px.remove_placement_group(group)

    Args:
        bundles: what each of them reserves on one host, such as ``[{"CPU": 1}, {"CPU": 1, "GPU":
            1}]``; memory in bytes. 1,000 at most.
        strategy: ``"PACK"`` on few hosts, ``"SPREAD"`` over many, as far as there is room;
            ``"STRICT_PACK"`` on one host, ``"STRICT_SPREAD"`` each on another one, or not at all.
        name: shown in views.
        lifetime: ``"detached"``: the group stays when the program that made it ends, until it is
            removed or the pool ends.

    Raises:
        UsageError: bundles or options that make no sense.
        ClusterLostError: the cluster is gone.
    """
    with callers_line:
        specs = _checked(bundles)
        if strategy not in STRATEGIES:
            raise UsageError(f"strategy={strategy!r} must be one of {', '.join(STRATEGIES)}.")
        if not isinstance(name, str):
            raise UsageError(f"name={name!r} must be a string.")
        if lifetime not in (None, "detached"):
            raise UsageError(f'lifetime={lifetime!r} must be "detached", or None.')
        detached = lifetime == "detached"
        ref = current().create_group(specs, strategy, name=name, detached=detached)
        return PlacementGroup(ref, specs, strategy, name)


def remove_placement_group(group: PlacementGroup) -> None:
    """Give a group's resources back, and end what runs or waits in it. Returns at once.

    Its tasks raise `PlacementGroupRemovedError` for their callers, its actors `ActorDiedError`; the
    engines that run them are killed. Removing it twice does no harm.

        >>> import parallax as px
        >>> group = px.placement_group([{"CPU": 1}])
        >>> px.remove_placement_group(group)
        >>> px.placement_group_table(group)["state"]
        'REMOVED'

    Args:
        group: what `placement_group` returned.

    Raises:
        TypeError: it is no placement group.
        UsageError: its session is over.
        ClusterLostError: the cluster is gone.
    """
    with callers_line:
        if not isinstance(group, PlacementGroup):
            raise TypeError(
                f"remove_placement_group takes a placement group, not {type(group).__name__}."
            )
        current_of([group.ready()]).remove_group(group.number)


def placement_group_table(group: PlacementGroup | None = None) -> Any:
    """The placement groups of the cluster, as plain data. One round trip to the hub.

        >>> import parallax as px
        >>> group = px.placement_group([{"CPU": 0.5}], name="example")
        >>> px.placement_group_table(group)["name"]
        'example'
        >>> px.remove_placement_group(group)

    Args:
        group: only this one.

    Returns:
        A list of rows, of which notebooks show a table, or the row of the one group. A row has
        ``placement_group_id``, ``name``, ``strategy``, ``state`` (``PENDING``, ``CREATED``,
        ``RESCHEDULING`` after the loss of a host, ``INFEASIBLE``, or for the last 100 that were
        removed ``REMOVED``), ``why`` it is over, ``detached``, and ``bundles``: of each its
        ``resources``, what is ``available`` of them, and its ``node``, -1 for nowhere.

    Raises:
        LookupError: nobody knows this group (any more).
    """
    with callers_line:
        rows = [
            {"placement_group_id": hex_id(row["group"])} | {k: row[k] for k in row if k != "group"}
            for row in current().ask("groups")
        ]
        if group is None:
            return Rows(rows, ("group", "name", "strategy", "state", "bundles"), _cells)
        for row in rows:
            if row["placement_group_id"] == group.id:
                return row
        raise LookupError(f"{group!r} is not known to the cluster (any more)")


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    bundles = [f"{_text(bundle['resources'])} on {bundle['node']}" for bundle in row["bundles"]]
    texts = [text.removesuffix(" on -1") for text in bundles]
    return row["placement_group_id"], row["name"], row["strategy"], row["state"], "; ".join(texts)


def _checked(bundles: Any) -> list[dict[str, float]]:
    if isinstance(bundles, Mapping | str | bytes) or not isinstance(bundles, Iterable):
        raise UsageError(
            f"bundles={bundles!r} must be a list of dicts of resources, such as "
            '[{"CPU": 1}, {"CPU": 1, "GPU": 1}].'
        )
    specs = list(bundles)
    if not 0 < len(specs) <= MAX_BUNDLES:
        raise UsageError(f"a placement group has 1 to {MAX_BUNDLES:,} bundles, not {len(specs)}.")
    for position, bundle in enumerate(specs):
        if not isinstance(bundle, Mapping):
            raise UsageError(
                f"bundle {position} is {bundle!r}; it must be a dict of resources, such as "
                '{"CPU": 1}.'
            )
        own = {name: bundle[name] for name in ("CPU", "GPU", "memory") if name in bundle}
        for name, amount in own.items():
            check_amount(f"bundle {position}: {name}", amount)
        check_resources({name: bundle[name] for name in bundle if name not in own})
        if bundle.get("GPU", 0) > 1 and bundle["GPU"] != int(bundle["GPU"]):
            raise UsageError(
                f"bundle {position}: GPU={bundle['GPU']} must be a whole number above 1; a "
                "fraction shares one GPU."
            )
        if not any(bundle.values()):
            raise UsageError(f"bundle {position} is {dict(bundle)!r}: it reserves nothing.")
    return [dict(bundle) for bundle in specs]


def _text(amounts: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{name!r}: {amount:g}" for name, amount in amounts.items()) + "}"
