"""The rows of the table of placement groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING
from weakref import WeakSet

from parallax.core.resources import UNIT, Demand, NodeRecord, Stock, describe
from parallax.ids import hex_id
from parallax.messages import Failure

if TYPE_CHECKING:
    from parallax.core.ready import Shape


class GroupState(Enum):
    """Where a placement group stands."""

    PENDING = "PENDING"
    """Nothing is reserved: all of its bundles wait for room."""
    CREATED = "CREATED"
    """All of its bundles are reserved."""
    RESCHEDULING = "RESCHEDULING"
    """A node was lost: its bundles wait for room elsewhere, the others stay."""
    INFEASIBLE = "INFEASIBLE"
    """The cluster could never place it."""
    REMOVED = "REMOVED"


class Bundle(Stock):
    """Resources that a group reserves together on one node; its tasks take of them."""

    __slots__ = ("demand", "gpus", "node")

    def __init__(self, demand: Demand) -> None:
        super().__init__(demand.quantities, {})
        self.demand = demand
        self.node: NodeRecord | None = None
        """Where it is; None while it is nowhere."""
        self.gpus: list[int] = []

    def could_fit(self, demand: Demand) -> bool:
        """See `Stock`."""
        return all(self.total.get(name, 0) >= amount for name, amount in demand.items)

    def times(self, demand: Demand) -> int:
        """How many of these demands fit now, but for the GPUs."""
        return min((self.available[n] // a for n, a in demand.items), default=1 << 30)

    def put(self, node: NodeRecord, gpus: list[int]) -> None:
        """It is on this node from now on, where it was acquired."""
        self.node, self.gpus = node, gpus
        self.available = dict(self.total)
        self.gpu_free = dict.fromkeys(gpus, min(self.demand.gpus, UNIT))
        node.keep(self.demand, 1)

    def lift(self) -> None:
        """It is nowhere from now on. What engines have of it is for the caller to see to."""
        node, self.node = self.node, None
        if node is not None:
            node.keep(self.demand, -1)
            node.release(self.demand, self.gpus)
        if self.reserved is not None:
            self.reserved.unreserve()
        self.gpus, self.held = [], {}


class GroupRecord:
    """One placement group, from its creation until it is removed."""

    __slots__ = (
        "bundles",
        "emptied",
        "failure",
        "hungry_since",
        "id",
        "name",
        "owner",
        "shapes",
        "state",
        "strategy",
        "value",
    )

    def __init__(
        self,
        number: int,
        name: str,
        bundles: Sequence[Mapping[str, float]],
        strategy: str,
        owner: int,
        value: bytes,
    ) -> None:
        self.id = number
        self.name = name
        self.bundles = [Bundle(Demand(amounts)) for amounts in bundles]
        self.strategy = strategy
        self.owner = owner
        """The client with which it ends; 0 for none."""
        self.value = value
        """What those get who wait for it."""
        self.state = GroupState.PENDING
        self.failure: Failure | None = None
        """Why nothing will ever run in it (any more)."""
        self.shapes: WeakSet[Shape] = WeakSet()
        """What runs, or is to run, in it."""
        self.hungry_since = -1.0
        """Since when there has been no room for it; negative before a look."""
        self.emptied: list[Shape] = []
        """Each stands for a node that is being emptied for it."""

    @property
    def unplaced(self) -> list[Bundle]:
        """The bundles that are nowhere."""
        return [bundle for bundle in self.bundles if bundle.node is None]

    def choices(self, shape: Shape) -> list[Bundle]:
        """The bundles that tasks of this shape, which is of this group, may take from."""
        if shape.bundle < 0:
            return self.bundles
        return self.bundles[shape.bundle : shape.bundle + 1]

    def could_run(self, shape: Shape) -> bool:
        """Is there, or will there be, a bundle that has what such tasks ask for?"""
        return self.failure is None and any(
            bundle.could_fit(shape.demand) for bundle in self.choices(shape)
        )

    def fail(self, failure: Failure, state: GroupState) -> None:
        """Nothing will begin in it any more."""
        self.failure, self.state = failure, state
        for shape in self.shapes:
            shape.feasible = False

    def unreserve(self) -> None:
        """No nodes are emptied for it any more."""
        for shape in self.emptied:
            shape.unreserve()
        self.emptied.clear()

    @property
    def title(self) -> str:
        """For messages."""
        return f"placement group {self.name + ' ' if self.name else ''}{hex_id(self.id)}"

    def refusal(self, name: str, shape: Shape, task: int) -> Failure:
        """What the caller of a task gets that this group will never run."""
        if self.failure is not None:
            what = "was cancelled" if self.state is GroupState.REMOVED else "cannot run"
            text = f"{name} {what}: {self.failure.message}"
            return Failure(self.failure.kind, text, b"", task)
        which = f"bundle {shape.bundle}" if shape.bundle >= 0 else "no bundle"
        has = describe_bundles(self.choices(shape))
        return Failure(
            "infeasible",
            f"{name} asks for {shape.demand.describe()}, for which {which} of the {self.title} is "
            f"{'not ' if shape.bundle >= 0 else ''}large enough ({has}). Ask for less with "
            ".options(...), or make a group with larger bundles.",
            b"",
            task,
        )


def removed_group(number: int) -> GroupRecord:
    """What stands for a group that is not there any more."""
    group = GroupRecord(number, "", [], "PACK", 0, b"")
    group.fail(removed(group, "it was removed, or its owner has left"), GroupState.REMOVED)
    return group


def removed(group: GroupRecord, why: str) -> Failure:
    """What those get who still want something of it."""
    return Failure("group_removed", f"the {group.title} is gone: {why}", b"", group.id)


def describe_bundles(bundles: Sequence[Bundle]) -> str:
    """For people: ``num_cpus=1; num_cpus=1, num_gpus=1``, of many the first few."""
    texts = [describe(bundle.demand.quantities) or "nothing" for bundle in bundles[:8]]
    more = f"; and {len(bundles) - 8} more" if len(bundles) > 8 else ""
    return "; ".join(texts) + more
