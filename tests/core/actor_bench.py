"""A bench with actors: the constructor and the calls are ended by hand."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from parallax.messages import (
    CALL,
    CONSTRUCTOR,
    ActorCreated,
    ActorStopped,
    Assignment,
    CallsSubmitted,
    Failure,
    RefsChanged,
    TaskSpec,
)
from tests.core.builders import CLIENT, Bench

NONE = b"none"


class ActorBench(Bench):
    """A node, a client and engines, and templates for one class."""

    def __init__(self, cpus: float = 1, **resources: float) -> None:
        super().__init__(cpus, **resources)
        self.numbers: Counter[tuple[int, int]] = Counter()
        self.method = self.template(cpus=0, role=CALL, method="m", max_retries=0)
        self._ids = itertools.count(CLIENT * 1000 + 500)

    def create(
        self,
        *,
        cpus: float = 1,
        restarts: int = 0,
        deps: list[int] | None = None,
        refs: list[int] | None = None,
        resources: dict[str, float] | None = None,
        groups: dict[str, int] | None = None,
        **how: Any,
    ) -> int:
        template = self.template(
            cpus=cpus,
            role=CONSTRUCTOR,
            max_retries=restarts,
            resources=resources or {},
            concurrency_groups=groups or {},
        )
        actor = next(self._ids)
        spec = TaskSpec(actor, template, b"", deps or [], refs or [])
        self.say(CLIENT, ActorCreated(1, 0, spec, **how))
        return actor

    def call(
        self,
        actor: int,
        count: int = 1,
        *,
        peer: int = CLIENT,
        template: int = 0,
        deps: list[int] | None = None,
        refs: list[int] | None = None,
    ) -> list[int]:
        ids = [next(self._ids) for _ in range(count)]
        calls = [TaskSpec(i, template or self.method, b"", deps or [], refs or []) for i in ids]
        first = self.numbers[peer, actor]
        self.numbers[peer, actor] += count
        self.say(peer, CallsSubmitted(1, 0, actor, first, calls))
        return ids

    def settle(self) -> int:
        """The constructor that some engine has just got ends well; the peer of that engine."""
        peer, task = self.begun()
        self.finish(peer, task, NONE)
        self.start_engines()
        return peer

    def begun(self) -> tuple[int, Assignment]:
        """The one assignment that was made since last asked, and whose it is."""
        ((peer, task),) = [(peer, task) for peer in self.engines for task in self.assigned(peer)]
        return peer, task

    def drop(self, *ids: int, peer: int = CLIENT) -> None:
        self.say(peer, RefsChanged([], list(ids)))

    def ids(self, peer: int) -> list[int]:
        """The tasks that this engine was given since last asked."""
        return [task.id for task in self.assigned(peer)]

    def failure(self, object_id: int, peer: int = CLIENT) -> Failure:
        value = self.ready(peer)[object_id]
        assert isinstance(value, Failure)
        return value

    def stopped_actors(self, peer: int) -> list[int]:
        return [message.actor for message in self.heard(peer, ActorStopped)]
