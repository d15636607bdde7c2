"""Ready tasks, queued so that nobody ever scans them, and whose turn it is.

Two tasks have one *shape* when they ask for the same resources in the same place: what fits one
fits the other. The ready tasks of one shape, one job and one depth of nesting form a *lane*. In a
lane those that were submitted first run first, whenever they became ready: what was begun is
brought to its end, and its memory is free, before something new is begun. Between lanes

- the job that has had least of the engines' time comes first (start-time fair queueing, Goyal et
  al. 1996), so that a small job never waits for a large one that came before it;
- within a job the deepest lane comes first: a parent that waits for nested tasks keeps an engine
  while it does, and so their number stays bounded.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from parallax.core.states import TaskState

if TYPE_CHECKING:
    from parallax.core.group_records import GroupRecord
    from parallax.core.jobs import JobRecord
    from parallax.core.records import TaskRecord
    from parallax.core.resources import Demand, Stock

UNKNOWN_S = 0.001
"""What a task of unknown duration is charged to its job."""


class Shape:
    """One kind of demand, and the lanes of ready tasks that make it."""

    __slots__ = (
        "__weakref__",
        "affinity",
        "bundle",
        "count",
        "demand",
        "feasible",
        "group",
        "hungry_since",
        "lanes",
        "needs_spare",
        "reserved",
        "served",
        "soft",
        "spread",
    )

    def __init__(
        self,
        demand: Demand,
        *,
        spread: bool = False,
        affinity: int = -1,
        soft: bool = False,
        group: GroupRecord | None = None,
        bundle: int = -1,
    ) -> None:
        self.demand = demand
        self.spread = spread
        self.affinity = affinity
        self.soft = soft
        self.group = group
        """The placement group whose bundles it takes from, instead of what is free on a node."""
        self.bundle = bundle
        """Which of them; negative for any."""
        if group is not None:
            group.shapes.add(self)
        self.needs_spare = bool(demand.cpus) and group is None
        """Only a node with some CPU free can run it."""
        self.feasible = False
        """Some node could run it. Kept by the fleet."""
        self.count = 0
        """Ready tasks in all lanes."""
        self.lanes: list[Lane] = []
        """Those that have ready tasks."""
        self.served = 0
        """When it had its last turn among shapes that wait for engines."""
        self.hungry_since = -1.0
        """Since when none of its ready tasks has found an engine; negative when it has none."""
        self.reserved: Stock | None = None
        """The node, or bundle, that takes nothing else until this shape fits there."""

    def within(self, demand: Demand) -> Shape:
        """The shape of tasks with this demand in any bundle of this shape's group."""
        assert self.group is not None
        shape = Shape(demand, group=self.group)
        shape.feasible = self.group.could_run(shape)
        return shape

    def first(self) -> Lane:
        """The lane whose turn it is. The caller has checked `count`."""
        lanes = self.lanes
        return lanes[0] if len(lanes) == 1 else min(lanes, key=_turn)

    def unreserve(self) -> None:
        """Nothing is emptied for this shape any more."""
        if self.reserved is not None:
            self.reserved.reserved = None
            self.reserved = None


class Lane:
    """The ready tasks of one shape, one job and one depth, in the order of their submission.

    Most become ready in that order and go through a queue, in O(1). Those that come after one
    that was submitted later (they waited for arguments, or come back) go through a heap.
    """

    __slots__ = ("count", "depth", "job", "late", "queue", "shape")

    def __init__(self, shape: Shape, job: JobRecord, depth: int) -> None:
        self.shape = shape
        self.job = job
        self.depth = depth
        self.queue: deque[TaskRecord] = deque()
        """In order. Besides ready tasks also some that have ended meanwhile; so in `late`."""
        self.late: list[tuple[int, int, TaskRecord]] = []
        """A heap, by order and id."""
        self.count = 0
        """Ready tasks."""

    def peek(self) -> TaskRecord:
        """The task that comes next. The caller has checked `count`."""
        queue, late = self.queue, self.late
        if not late:
            while queue[0].state is not TaskState.READY:
                queue.popleft()
            return queue[0]
        while late and late[0][2].state is not TaskState.READY:
            heappop(late)
        while queue and queue[0].state is not TaskState.READY:
            queue.popleft()
        if not late or (queue and queue[0].order < late[0][0]):
            return queue[0]
        return late[0][2]

    def clear(self) -> None:
        """Drop what is left of tasks that have ended."""
        self.queue.clear()
        self.late.clear()


def _turn(lane: Lane) -> tuple[float, int]:
    return lane.job.used_s, -lane.depth


class ReadyTable:
    """All ready tasks."""

    __slots__ = ("_clock_s", "_turns", "shapes")

    def __init__(self) -> None:
        self.shapes: dict[Shape, None] = {}
        """Those that have ready tasks."""
        self._clock_s = 0.0
        """How much time the job that was served last had had until then."""
        self._turns = 0

    @property
    def count(self) -> int:
        """All ready tasks."""
        return sum(shape.count for shape in self.shapes)

    def push(self, task: TaskRecord) -> None:
        """Queue a task: O(1) when it was submitted after those of its lane, else O(log n)."""
        lane = task.group.lane
        task.state = TaskState.READY
        if not lane.count:
            self._open(lane)
        lane.count += 1
        lane.shape.count += 1
        queue = lane.queue
        if not queue or queue[-1].order < task.order:
            queue.append(task)
        else:
            heappush(lane.late, (task.order, task.id, task))

    def pop(self, lane: Lane, task: TaskRecord) -> None:
        """Remove the task that the lane's `peek` has just shown."""
        queue = lane.queue
        if queue and queue[0] is task:
            queue.popleft()
        else:
            heappop(lane.late)
        lane.count -= 1
        lane.shape.count -= 1
        if not lane.count:
            self._close(lane)

    def discard(self, task: TaskRecord) -> None:
        """Count off a ready task that has ended. `peek` drops it when its turn comes: O(1)."""
        assert task.state is TaskState.ENDED
        lane = task.group.lane
        lane.count -= 1
        lane.shape.count -= 1
        if not lane.count:
            self._close(lane)

    def charge(self, job: JobRecord, seconds: float) -> None:
        """The job gets so much of an engine's time."""
        if job.used_s > self._clock_s:
            self._clock_s = job.used_s
        job.used_s += seconds

    def order(self) -> list[Shape]:
        """Shapes with ready tasks, the one whose turn it is first."""
        shapes = list(self.shapes)
        if len(shapes) > 1:
            shapes.sort(key=_shape_turn)
        return shapes

    def serve(self, shape: Shape) -> None:
        """The shape had its turn."""
        self._turns += 1
        shape.served = self._turns

    def _open(self, lane: Lane) -> None:
        shape = lane.shape
        shape.lanes.append(lane)
        if not shape.count:
            self.shapes[shape] = None
        # A job that had nothing to do has saved up no claim for it.
        lane.job.used_s = max(lane.job.used_s, self._clock_s)

    def _close(self, lane: Lane) -> None:
        shape = lane.shape
        lane.clear()
        shape.lanes.remove(lane)
        if not shape.count:
            del self.shapes[shape]
            shape.hungry_since = -1.0
            shape.unreserve()


def _shape_turn(shape: Shape) -> tuple[float, int, int]:
    lane = shape.first()
    return lane.job.used_s, -lane.depth, shape.served
