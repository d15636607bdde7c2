"""Ready tasks, grouped by shape so that nobody ever scans them.

Two tasks have one shape when they ask for the same resources in the same place: what fits one
fits the other. Inside a shape the deepest nested tasks come first (a parent waits for them and
holds an engine while it does), then the oldest.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from parallax.core.resources import Demand
from parallax.core.states import TaskState

if TYPE_CHECKING:
    from parallax.core.records import TaskRecord


class Shape:
    """One kind of demand, and the ready tasks that make it."""

    __slots__ = ("affinity", "by_depth", "count", "demand", "depths", "soft", "spread")

    def __init__(self, demand: Demand, *, spread: bool, affinity: int, soft: bool) -> None:
        self.demand = demand
        self.spread = spread
        self.affinity = affinity
        self.soft = soft
        self.count = 0
        self.by_depth: dict[int, deque[TaskRecord]] = {0: deque()}
        self.depths: list[int] = [0]
        """Those in use, ascending."""

    def push(self, task: TaskRecord) -> None:
        """Add a task behind those of its depth."""
        self._queue(task.depth).append(task)
        self.count += 1

    def push_front(self, task: TaskRecord) -> None:
        """Add a task that had its turn already, before those of its depth."""
        self._queue(task.depth).appendleft(task)
        self.count += 1

    def pop(self) -> TaskRecord:
        """Take the next task. The caller has checked `count`."""
        self.count -= 1
        return self._first().popleft()

    def peek(self) -> TaskRecord:
        """The task that `pop` would take. The caller has checked `count`."""
        return self._first()[0]

    def discard(self, task: TaskRecord) -> None:
        """Forget a ready task that has ended. It is dropped when its turn comes: O(1)."""
        assert task.state is TaskState.ENDED
        self.count -= 1

    def _first(self) -> deque[TaskRecord]:
        depths = self.depths
        while True:
            queue = self.by_depth[depths[-1]]
            while queue and queue[0].state is not TaskState.READY:
                queue.popleft()
            if queue:
                return queue
            del self.by_depth[depths.pop()]

    def _queue(self, depth: int) -> deque[TaskRecord]:
        queue = self.by_depth.get(depth)
        if queue is None:
            queue = self.by_depth[depth] = deque()
            self.depths.append(depth)
            self.depths.sort()
        return queue
