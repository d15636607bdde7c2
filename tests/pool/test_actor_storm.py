"""Actors in a storm of crashes, kills, cancels and lost handles: every call ends, nothing stays."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
from collections import Counter
from typing import Any

import pytest

import parallax as px
from parallax.sessions.current import current
from tests.pool.clusters import engines, wait_until

square = px.remote(lambda x: x * x)
STEPS = 150
TIMEOUT_S = 60.0


@px.remote
class Worker:
    """Does a little of everything."""

    def __init__(self, other: Any = None) -> None:
        self.other = other

    def add(self) -> int:
        return 1

    def relay(self) -> Any:
        return px.get(self.other.add.remote()) if self.other is not None else 1

    def nest(self) -> Any:
        return px.get(square.remote(3))

    def count_to(self, n: int) -> Any:
        yield from range(n)

    def large(self) -> Any:
        return bytearray(1 << 20)

    def die(self) -> None:
        os._exit(1)


@px.remote
class Loop:
    """The same on an event loop."""

    async def add(self) -> int:
        await asyncio.sleep(0)
        return 1

    async def nest(self) -> Any:
        return await square.remote(3)


class User:
    """Makes actors and calls them, all decided by the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.actors: list[Any] = []
        self.refs: list[Any] = []
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        for _ in range(STEPS):
            self.step()
            if len(self.refs) > 60:
                self.settle()
        self.settle()
        self.actors.clear()

    def step(self) -> None:
        rng = self.rng
        if len(self.actors) < 2 or (len(self.actors) < 4 and rng.random() < 0.1):
            self.actors.append(self.make())
        actor = rng.choice(self.actors)
        match rng.randrange(40):
            case 0:
                px.kill(actor, no_restart=rng.random() < 0.5)
            case 1:
                self.actors.remove(actor)
            case 2 if "die" in dir(actor):
                self.refs.append(actor.die.options(max_task_retries=0).remote())
            case 3 | 4 if "count_to" in dir(actor):
                self.refs += list(actor.count_to.remote(rng.randrange(4)))
            case 5 | 6 | 7 if self.refs:
                px.cancel(rng.choice(self.refs))
            case _:
                names = [name for name in ("add", "nest", "relay", "large") if name in dir(actor)]
                method = getattr(actor, rng.choice(names))
                self.refs += [method.remote() for _ in range(rng.choice([1, 1, 20]))]

    def make(self) -> Any:
        rng = self.rng
        options = {
            "max_restarts": rng.choice([0, 1, -1]),
            "max_task_retries": rng.choice([0, 0, -1]),
        }
        if rng.random() < 0.3:
            return Loop.options(**options).remote()
        others = [actor for actor in self.actors if "relay" in dir(actor)]
        other = rng.choice([None, *others])
        return Worker.options(max_concurrency=rng.choice([1, 1, 3]), **options).remote(other)

    def settle(self) -> None:
        for ref in self.refs:
            try:
                px.get(ref, timeout=TIMEOUT_S)
                self.outcomes["value"] += 1
            except (px.errors.ActorError, px.errors.TaskCancelledError) as error:
                self.outcomes[type(error).__name__] += 1
        self.refs.clear()


@pytest.mark.parametrize("seed", [1, 2])
def test_every_call_ends_and_nothing_stays(cluster: str, seed: int) -> None:
    users = [User(seed * 100 + number) for number in range(3)]
    threads = [threading.Thread(target=user.run) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum((user.outcomes for user in users), Counter[str]())
    print(f"seed {seed}: {dict(total)}")
    assert total["value"] > 0
    assert total["ActorDiedError"] > 0
    gc.collect()

    def rests() -> bool:
        px.get(square.remote(2))
        states = [engine["state"] for engine in engines()]
        return not current().ask("actors") and set(states) == {"idle"}

    wait_until(rests)
