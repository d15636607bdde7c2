"""A machine with peers, driven by hand: for tests that are about one message."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

from parallax.core.machine import Machine, PeerJoined, PeerLost, Received, Ticked
from parallax.core.outbox import Action, Drop, Send, Stop
from parallax.messages import (
    Assignment,
    Done,
    EngineExited,
    EnginesWanted,
    FromHub,
    Hello,
    ObjectsReady,
    TasksAssigned,
    TasksFinished,
    TaskSpec,
    TasksSubmitted,
    TemplateDefined,
    ToHub,
    Value,
)
from parallax.testing import check

NODE, CLIENT = 1, 2
FIRST_ENGINE = 100
Word = TypeVar("Word")


def hello(role: str, number: int = 0, *, owner: bool = False, **resources: float) -> Hello:
    return Hello(1, "v", "3", role, "", 1, "host", number=number, resources=resources, owner=owner)


class Bench:
    """One node, one client and as many engines as the node has CPUs.

    Every call checks all invariants, and keeps what was said in `said`.
    """

    def __init__(self, cpus: float = 1, *, owner: bool = False, **resources: float) -> None:
        self.machine = Machine()
        self.now = 0.0
        self.said: dict[int, list[FromHub]] = {}
        self.dropped: dict[int, str] = {}
        self.stopped: list[str] = []
        self._templates = itertools.count(1)
        self.begin()
        self.join(NODE, hello("node", CPU=cpus, **resources))
        self.start_engines()
        self.join(CLIENT, hello("client", owner=owner))

    def begin(self) -> None:
        """What happens before anybody joins: nothing."""

    # ---- events ---------------------------------------------------------------------------

    def handle(self, *events: Any) -> list[Action]:
        actions = self.machine.handle(events, self.now)
        for action in actions:
            if isinstance(action, Send):
                self.said.setdefault(action.peer, []).extend(action.messages)
            elif isinstance(action, Drop):
                self.dropped[action.peer] = action.reason
            elif isinstance(action, Stop):
                self.stopped.append(action.reason)
        check(self.machine)
        return actions

    def join(self, peer: int, hello: Hello) -> None:
        self.handle(PeerJoined(peer, hello))

    def lose(self, peer: int) -> None:
        self.handle(PeerLost(peer))

    def say(self, peer: int, *messages: ToHub) -> None:
        self.handle(*(Received(peer, message) for message in messages))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.handle(Ticked())

    # ---- engines --------------------------------------------------------------------------

    def start_engines(self) -> None:
        """Every engine that was asked for says hello."""
        for message in self.heard(NODE, EnginesWanted):
            for number in message.numbers:
                self.join(FIRST_ENGINE + number, hello("engine", number))

    @property
    def engines(self) -> list[int]:
        """The peers of the engines."""
        return [engine.peer for engine in self.machine.fleet.engines.values()]

    def assigned(self, peer: int) -> list[Assignment]:
        """What this engine was given since last asked."""
        return [task for message in self.heard(peer, TasksAssigned) for task in message.tasks]

    def finish(
        self, peer: int, task: Assignment, *values: Value, duration_s: float = 0.001, **done: Any
    ) -> None:
        """The engine ends this task."""
        self.say(
            peer,
            TasksFinished(
                [Done(task.id, task.attempt, list(values), duration_s=duration_s, **done)]
            ),
        )

    def die(self, peer: int, running: int = 0, status: int = -9, turns: Sequence[int] = ()) -> None:
        """The engine's process and its link end."""
        self.say(NODE, EngineExited(peer - FIRST_ENGINE, status, running, "", [*turns]))
        self.lose(peer)
        self.wait(0.1)

    # ---- clients --------------------------------------------------------------------------

    def template(self, *, cpus: float = 1, peer: int = CLIENT, **options: Any) -> int:
        number = peer * 1000 + next(self._templates)
        demand = {"CPU": float(cpus), **options.pop("resources", {})}
        self.say(peer, TemplateDefined(number, "f", b"", demand=demand, **options))
        return number

    def submit(self, *specs: TaskSpec, peer: int = CLIENT, parent: int = 0, job: int = 1) -> None:
        self.say(peer, TasksSubmitted(job, parent, list(specs)))

    def ready(self, peer: int = CLIENT) -> dict[int, Value]:
        """The values that this client was told since last asked."""
        return {i: value for m in self.heard(peer, ObjectsReady) for i, value in m.items}

    def heard(self, peer: int, kind: type[Word]) -> list[Word]:
        """Messages of this kind to this peer since last asked; others stay."""
        messages = self.said.get(peer, [])
        self.said[peer] = [m for m in messages if not isinstance(m, kind)]
        return [m for m in messages if isinstance(m, kind)]
