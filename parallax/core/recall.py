"""Taking queued work back from engines that are slow, for engines that are idle."""

from __future__ import annotations

from parallax.core.fleet import Fleet
from parallax.core.outbox import Outbox
from parallax.core.records import EngineRecord
from parallax.core.timers import Timers
from parallax.messages import TasksRecalled

WORTH_S = 0.002
"""Queued work worth sharing with an idle engine: several round trips."""
STUCK_AFTER_S = 0.003
"""An engine whose head has not moved for so long gives up all that it has not begun."""
LOOKED_AT = 16
"""Crowded engines looked at in one go, in turns."""


class Recall:
    """Engines with more in their queue than they compute, and what is asked back from them."""

    def __init__(self, fleet: Fleet, outbox: Outbox, timers: Timers) -> None:
        self.crowded: dict[int, EngineRecord] = {}
        """Engines with more than one task in their queue."""
        self._fleet = fleet
        self._outbox = outbox
        self._timers = timers
        self._look_due = -1.0

    def run(self, now: float) -> None:
        """Some engine is idle, and nothing that is ready fits it."""
        takers = self._fleet.idle
        fresh = False
        for _ in range(min(LOOKED_AT, len(self.crowded))):
            number = next(iter(self.crowded))
            engine = self.crowded[number] = self.crowded.pop(number)
            if engine.recalling or engine.dying or not self._has_taker(engine):
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
        if fresh and now >= self._look_due:
            self._look_due = now + STUCK_AFTER_S
            self._timers.at(self._look_due, _look_again)

    def ask_back(self, engine: EngineRecord, tasks: list[int]) -> None:
        """Ask for tasks that the engine has not begun; it says which they were."""
        engine.recalling = True
        self._outbox.send(engine.peer, TasksRecalled(tasks))

    def _has_taker(self, engine: EngineRecord) -> bool:
        assert engine.shape is not None
        return any(node.idle for node in self._fleet.candidates(engine.shape))


def _look_again(now: float) -> None:
    """The tick itself is what was wanted: engines are looked at again after it."""
