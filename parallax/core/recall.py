"""Taking queued work back from engines that are slow, for engines that are idle or could be."""

from __future__ import annotations

from parallax.core.fleet import Fleet
from parallax.core.outbox import Outbox
from parallax.core.ready import Shape
from parallax.core.records import EngineRecord
from parallax.core.timers import Timers
from parallax.messages import TasksRecalled

WORTH_S = 0.002
"""Queued work worth sharing with an idle engine: several round trips."""
STUCK_AFTER_S = 0.003
"""An engine whose head has not moved for so long gives up all that it has not begun."""
LOOKED_AT = 16
"""Crowded engines looked at in one go, in turns."""
SWEEP_S = 0.01
"""All crowded engines are looked at no more often. One whose head has not moved for so long is
worth that another engine is started, which takes longer than to ask an idle one."""


class Recall:
    """Engines with more in their queue than they compute, and what is asked back from them."""

    def __init__(self, fleet: Fleet, outbox: Outbox, timers: Timers) -> None:
        self.crowded: dict[int, EngineRecord] = {}
        """Engines with more than one task in their queue."""
        self.looks_at = -1.0
        """When they will be looked at again even if nothing happens; in the past when nobody
        needs it."""
        self.weightless = False
        """Some of them may have a shape that needs no node with CPU to spare."""
        self._fleet = fleet
        self._outbox = outbox
        self._timers = timers
        self._swept_at = -SWEEP_S

    def run(self, now: float) -> None:
        """Some engine is crowded, and nothing that is ready can be placed."""
        fleet = self._fleet
        if not (fleet.spare or self.weightless):
            return  # nobody could take it, until something is given back
        if fleet.idle:
            self._share(now)
        sweep_at = self._swept_at + SWEEP_S
        if now >= sweep_at:
            self._sweep(now)
        else:
            self._look_again(sweep_at, now)

    def _share(self, now: float) -> None:
        """Find work for idle engines."""
        takers = self._fleet.idle
        fresh = False
        for _ in range(min(LOOKED_AT, len(self.crowded))):
            number = next(iter(self.crowded))
            engine = self.crowded[number] = self.crowded.pop(number)
            if engine.recalling or engine.dying or not self._has_taker(engine.shape):
                continue
            tail = list(engine.queue)[1:]
            if now - engine.moved_at < STUCK_AFTER_S:
                if engine.load_s < WORTH_S:
                    fresh = True
                    continue
                tail = tail[len(tail) // 2 :]
            self.ask_back(engine, tail)
            takers -= 1
            if not takers:
                return
        if fresh:
            self._look_again(now + STUCK_AFTER_S, now)

    def _sweep(self, now: float) -> None:
        """Find work that waits behind a task that has become long, while an engine could be
        started for it, or one is idle that `_share` has not found. O(crowded engines)."""
        self._swept_at = now
        self.weightless = False
        movable: dict[Shape, bool] = {}
        fresh = False
        for engine in self.crowded.values():
            shape = engine.shape
            assert shape is not None
            if not shape.needs_spare:
                self.weightless = True
            if engine.recalling or engine.dying:
                continue
            if shape not in movable:
                movable[shape] = self._has_taker(shape) or self._fleet.could_start(shape, now)
            if not movable[shape]:
                continue
            if now - engine.moved_at < SWEEP_S:
                fresh = True
            else:
                self.ask_back(engine, list(engine.queue)[1:])
        if fresh:
            self._look_again(now + SWEEP_S, now)

    def _look_again(self, at: float, now: float) -> None:
        if not now < self.looks_at <= at:
            self.looks_at = at
            self._timers.at(at, _tick)

    def ask_back(self, engine: EngineRecord, tasks: list[int]) -> None:
        """Ask for tasks that the engine has not begun; it says which they were."""
        engine.recalling = True
        self._outbox.send(engine.peer, TasksRecalled(tasks))

    def _has_taker(self, shape: Shape | None) -> bool:
        assert shape is not None
        return any(node.idle for node in self._fleet.candidates(shape))


def _tick(now: float) -> None:
    """The tick itself is what was wanted: engines are looked at again after it."""
