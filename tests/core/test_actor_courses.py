"""Random courses of events around actors: calls in order, each ended once, nothing left behind.

Besides all invariants of the tables, the simulator checks that no call begins on an engine after
one that its caller made later, and that no attempt of a call begins twice.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from parallax.testing import (
    Client,
    Cluster,
    Emit,
    Faults,
    Raised,
    Ref,
    TaskContext,
    check_counts,
    check_empty,
    works,
)
from parallax.testing.programs import Steps
from tests.core.depth import examples

seeds = st.integers(0, 2**32 - 1)
picks = st.integers(0, 10_000)


class ActorCourses(RuleBasedStateMachine):
    """Users of actors, and fate."""

    def __init__(self) -> None:
        super().__init__()
        self.actors: dict[int, list[Ref]] = {}
        self.refs: dict[int, list[Ref]] = {}
        self.created: list[Ref] = []
        self.once: list[int] = []

    @initialize(
        seed=seeds,
        engines=st.integers(1, 3),
        nodes=st.integers(1, 3),
        duplicate=st.sampled_from([0.0, 0.2]),
    )
    def start(self, seed: int, engines: int, nodes: int, duplicate: float) -> None:
        self.rng = random.Random(seed)
        self.cluster = Cluster(
            engines,
            nodes,
            resources={"crane": 2.0},
            seed=seed,
            faults=Faults(duplicate=duplicate),
            checked=True,
            jitter=True,
        )
        self.join()

    # ---- users ----------------------------------------------------------------------------

    @precondition(lambda self: len(self.cluster.clients) < 4)
    @rule()
    def join(self) -> None:
        client = self.cluster.join()
        self.actors[client.peer] = []
        self.refs[client.peer] = []

    @rule(
        pick=picks,
        seed=seeds,
        restarts=st.sampled_from([0, 0, 1, -1]),
        how=st.fixed_dictionaries(
            {
                "ordered": st.sampled_from([True, True, True, False]),
                "keeps_cpus": st.booleans(),
                "detached": st.sampled_from([False, False, False, True]),
                "name": st.sampled_from(["", "", "x", "y"]),
            }
        ),
        crane=st.sampled_from([0.0, 0.0, 0.5]),
        cpus=st.sampled_from([0.0, 0.5, 1.0, 1.0]),
    )
    def create(
        self,
        pick: int,
        seed: int,
        restarts: int,
        how: dict[str, Any],
        crane: float,
        cpus: float,
    ) -> None:
        client = self.one(pick)
        # What lives for ever must not hold all there is.
        if how["detached"]:
            crane, how["keeps_cpus"] = 0.0, False
        actor = client.actor(
            works.constructor(seed),
            *self.some(client),
            restarts=restarts,
            num_cpus=cpus,
            resources={"crane": crane} if crane else {},
            **how,
        )
        self.actors[client.peer].append(actor)
        self.created.append(actor)

    @precondition(lambda self: any(self.actors.values()))
    @rule(pick=picks, seed=seeds, count=st.integers(1, 5), retries=st.sampled_from([0, 0, 1, -1]))
    def call(self, pick: int, seed: int, count: int, retries: int) -> None:
        client = self.one(pick)
        for number in range(count if self.actors[client.peer] else 0):
            actor = self.rng.choice(self.actors[client.peer])
            other = self.rng.choice(self.actors[client.peer])
            ref = client.call(
                actor,
                works.method(seed + number, other),
                *self.some(client),
                refs=[other],
                max_retries=retries,
            )
            self.refs[client.peer].append(ref)
            if not retries:
                self.once.append(ref.id)

    @rule(pick=picks, count=st.integers(0, 4))
    def stream(self, pick: int, count: int) -> None:
        client = self.one(pick)

        def items(task: TaskContext) -> Steps:
            for number in range(count):
                yield 0.001
                yield Emit(number)

        if self.actors[client.peer]:
            actor = self.rng.choice(self.actors[client.peer])
            client.call(actor, items, streaming=True, backpressure=self.rng.choice([0, 1]))

    @rule(pick=picks, seed=seeds)
    def submit(self, pick: int, seed: int) -> None:
        client = self.one(pick)
        self.refs[client.peer].append(client.submit(works.work(seed), *self.some(client)))

    @rule(pick=picks, other=picks)
    def share(self, pick: int, other: int) -> None:
        """One client gives a handle to another."""
        giver, taker = self.one(pick), self.one(other)
        if self.actors[giver.peer]:
            actor = self.rng.choice(self.actors[giver.peer])
            if actor not in self.actors[taker.peer]:
                taker.adopt([actor.id])
                taker.want(actor)
                self.actors[taker.peer].append(actor)

    @rule(pick=picks)
    def drop_handle(self, pick: int) -> None:
        client = self.one(pick)
        if self.actors[client.peer]:
            actor = self.rng.choice(self.actors[client.peer])
            self.actors[client.peer].remove(actor)
            client.drop(actor)

    @rule(pick=picks)
    def drop(self, pick: int) -> None:
        client = self.one(pick)
        for ref in dict.fromkeys(self.some(client)):
            self.refs[client.peer].remove(ref)
            client.drop(ref)

    @rule(pick=picks, restart=st.booleans())
    def kill(self, pick: int, restart: bool) -> None:
        client = self.one(pick)
        if self.actors[client.peer]:
            client.kill_actor(self.rng.choice(self.actors[client.peer]), restart=restart)

    @rule(pick=picks, force=st.booleans())
    def cancel(self, pick: int, force: bool) -> None:
        client = self.one(pick)
        client.cancel(*self.some(client), force=force)

    @rule(pick=picks)
    def look(self, pick: int) -> None:
        client = self.one(pick)
        for ref in self.some(client):
            try:
                client.result(ref)
            except Exception:  # noqa: BLE001 - failed, lost or not ready: all in order here
                continue

    @precondition(lambda self: sum(client.alive for client in self.cluster.clients) > 1)
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        self.one(pick).close()

    # ---- fate -----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0001, 0.001, 0.01, 0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        self.cluster.run(seconds)

    @rule(pick=picks)
    def crash(self, pick: int) -> None:
        engines = self.cluster.engines
        if engines:
            self.cluster.kill(engines[pick % len(engines)])

    @rule(pick=picks)
    def lose(self, pick: int) -> None:
        names = self.cluster.segments
        if names:
            self.cluster.lose(names[pick % len(names)])

    @precondition(lambda self: sum(node.alive for node in self.cluster.nodes) > 1)
    @rule(pick=picks)
    def lose_node(self, pick: int) -> None:
        alive = [node for node in self.cluster.nodes if node.alive]
        self.cluster.kill_node(alive[pick % len(alive)].number)

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        self.cluster.run(1.0)  # what those who left had said has arrived
        # Actors that hold what others wait for go first; then nothing may hang.
        for client in self.cluster.clients:
            for actor in self.created:
                client.kill_actor(actor)
        self.cluster.run(1.0)
        self.cluster.run()
        assert all(self.cluster.runs[object_id] <= 1 for object_id in self.once)
        self.cluster.close()
        check_empty(self.cluster.hub.machine)
        check_counts(self.cluster.hub.machine, sum(self.cluster.hub.submitted.values()))
        assert not self.cluster.hub.stopped

    # ---- help -----------------------------------------------------------------------------

    def one(self, pick: int) -> Client:
        alive = [client for client in self.cluster.clients if client.alive]
        return alive[pick % len(alive)]

    def some(self, client: Client) -> list[Ref]:
        mine = self.refs[client.peer]
        return self.rng.sample(mine, min(len(mine), self.rng.choice([0, 0, 1, 2])))


TestActorCourses = ActorCourses.TestCase
TestActorCourses.settings = examples(80, stateful_step_count=40)


@examples(60)
@given(seeds, st.sampled_from([0.0, 2.0, 20.0]))
def test_calls_with_retries_all_complete_in_order(seed: int, crashes_per_s: float) -> None:
    """Actors that may start anew as often as it takes, under a storm of crashes."""
    rng = random.Random(seed)
    faults = Faults(crashes_per_s=crashes_per_s, duplicate=0.1, losses_per_s=5.0)
    cluster = Cluster(2, seed=seed, faults=faults, checked=True, jitter=True)
    actors = [cluster.client.actor(0.001, restarts=-1) for _ in range(3)]
    refs = [
        cluster.client.call(rng.choice(actors), rng.choice([0.0, 0.001, 0.01]), max_retries=-1)
        for _ in range(60)
    ]
    cluster.run()
    for ref in refs:
        cluster.result(ref)
    cluster.close()
    check_empty(cluster.hub.machine)


def outcome(cluster: Cluster, ref: Ref) -> str:
    """Why there is no value, empty when there is one."""
    try:
        cluster.result(ref)
    except Raised as raised:
        return raised.kind
    return ""


@examples(60)
@given(seeds)
def test_calls_without_retries_end_once_and_never_hang(seed: int) -> None:
    rng = random.Random(seed)
    faults = Faults(crashes_per_s=20.0, duplicate=0.1)
    cluster = Cluster(2, seed=seed, faults=faults, checked=True, jitter=True)
    actors = [cluster.client.actor(0.001, restarts=rng.choice([0, 1, -1])) for _ in range(3)]
    refs = []
    for _ in range(40):
        refs.append(cluster.client.call(rng.choice(actors), rng.choice([0.0, 0.001, 0.01])))
        cluster.run(rng.choice([0.0, 0.001, 0.01]))
    cluster.run()
    for ref in refs:
        assert cluster.runs[ref.id] <= 1
        assert outcome(cluster, ref) in ("", "actor_died", "actor_unavailable")
    cluster.close()
    check_empty(cluster.hub.machine)
