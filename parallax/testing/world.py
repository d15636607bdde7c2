"""A virtual clock, and wires whose messages take their time on it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class World:
    """Things that are to happen, in the order of virtual time.

    The same seed and the same calls give the same course of events.
    """

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.happened: Counter[str] = Counter()
        """How many faults there were, by kind."""
        self.random = random.Random(seed)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do this at that time, or now if it has passed."""
        heapq.heappush(self._heap, (max(time, self.now), next(self._order), action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do this in so many seconds."""
        self.at(self.now + delay_s, action)

    def step(self) -> bool:
        """Let the next thing happen. False when there is none."""
        if not self._heap:
            return False
        self.now, _, action = heapq.heappop(self._heap)
        action()
        return True

    @property
    def next_time(self) -> float | None:
        """When the next thing will happen."""
        return self._heap[0][0] if self._heap else None


class Wire(Generic[Item]):
    """One direction of a connection: what is sent arrives in order, each after a random delay.

    Args:
        deliver: gets what arrives.
        latency_s: of a message at best; most take up to twice as long.
        jitter: one message in ten takes up to twenty times, one in a hundred up to two hundred
            times as long, and those behind it wait.
    """

    def __init__(
        self,
        world: World,
        deliver: Callable[[Item], None],
        latency_s: float,
        *,
        jitter: bool = False,
    ) -> None:
        self._world = world
        self._deliver = deliver
        self._latency_s = latency_s
        self._jitter = jitter
        self.last = 0.0
        """When the last message that was sent arrives."""
        self._under_way: deque[Item] = deque()
        self._held_until = 0.0
        self._cut = False

    def send(self, item: Item, *, overtakes: bool = False) -> None:
        """Send one message.

        Args:
            overtakes: it may arrive before any of those that are under way.
        """
        if self._cut:
            return
        draw = self._world.random.random()
        factor = 1.0 + draw
        if self._jitter and draw > 0.9:
            factor *= 10.0 if draw < 0.99 else 100.0
            self._world.happened["delay"] += 1
        self.last = max(self.last, self._world.now + self._latency_s * factor)
        if overtakes and self._under_way:
            place = self._world.random.randrange(len(self._under_way))
            self._under_way.insert(place, item)
            self._world.happened["reorder"] += 1
        else:
            self._under_way.append(item)
        self._world.at(self.last, self._arrive)

    def cut(self, *, keep: int | None = None) -> None:
        """The sender is gone: all but the first `keep` messages that are under way are lost."""
        self._cut = True
        while keep is not None and len(self._under_way) > keep:
            self._under_way.pop()

    def hold(self, until: float) -> None:
        """Nothing arrives before this time; what is sent meanwhile waits in its order."""
        self._held_until = max(self._held_until, until)
        self.last = max(self.last, until)

    def end(self, then: Callable[[], None]) -> None:
        """The sender is gone: do this when all that is still under way has arrived."""
        self._cut = True
        self._world.at(self.last, lambda: self._end(then))

    @property
    def under_way(self) -> int:
        """Messages that have been sent and not yet arrived."""
        return len(self._under_way)

    def _end(self, then: Callable[[], None]) -> None:
        if self._under_way or self._world.now < self._held_until:
            self._world.at(self._held_until, lambda: self._end(then))
        else:
            then()

    def _arrive(self) -> None:
        if self._world.now < self._held_until:
            self._world.at(self._held_until, self._arrive)
        elif self._under_way:
            self._deliver(self._under_way.popleft())
