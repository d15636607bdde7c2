"""Random courses of events: whatever is submitted, cancelled, dropped and killed, the rules hold.

The simulator checks every invariant of the tables after every batch of events, that nothing is
begun more often than it may be, and that nothing is freed that is needed. At the end of each course
everything has ended once, nothing is left, and a second machine that is told the same says the
same.

``PARALLAX_EXAMPLES=100 pytest tests/core`` runs far more of them.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from parallax.core.machine import Machine, Received
from parallax.testing import (
    Client,
    Cluster,
    Faults,
    Large,
    Ref,
    TaskContext,
    check_counts,
    check_empty,
    works,
)
from parallax.testing.faults import REPEATABLE
from parallax.testing.programs import Program, Steps
from tests.core.depth import examples

seeds = st.integers(0, 2**32 - 1)
picks = st.integers(0, 10_000)


class Courses(RuleBasedStateMachine):
    """Users, and fate."""

    def __init__(self) -> None:
        super().__init__()
        self.refs: dict[int, list[Ref]] = {}
        self.streams: list[tuple[Client, Ref, int]] = []
        """Who reads them, and how many items they have."""

    @initialize(
        seed=seeds,
        engines=st.integers(1, 4),
        nodes=st.integers(1, 3),
        duplicate=st.sampled_from([0.0, 0.1]),
        stubborn=st.sampled_from([0.0, 0.3]),
        forgetful=st.sampled_from([0.0, 0.5]),
        slow=st.sampled_from([0.0, 0.3]),
    )
    def start(
        self,
        seed: int,
        engines: int,
        nodes: int,
        duplicate: float,
        stubborn: float,
        forgetful: float,
        slow: float,
    ) -> None:
        self.rng = random.Random(seed)
        self.cluster = Cluster(
            engines,
            nodes,
            resources={"GPU": 2.0},
            seed=seed,
            faults=Faults(
                duplicate=duplicate, stubborn=stubborn, forgetful=forgetful, slow_engines=slow
            ),
            checked=True,
            record=True,
            jitter=True,
        )
        self.join()

    # ---- users ----------------------------------------------------------------------------

    @precondition(lambda self: len(self.cluster.clients) < 4)
    @rule()
    def join(self) -> None:
        client = self.cluster.join()
        self.refs[client.peer] = []

    @rule(pick=picks, seed=seeds, bulky=st.booleans())
    def submit(self, pick: int, seed: int, bulky: bool) -> None:
        client = self.one(pick)
        how = self.options(seed)
        work = works.work(seed)
        ref = client.submit(work, *self.some(client), refs=self.some(client), bulky=bulky, **how)
        self.refs[client.peer].append(ref)

    @rule(pick=picks, seed=seeds, count=st.sampled_from([1, 2, 10]))
    def map(self, pick: int, seed: int, count: int) -> None:
        client = self.one(pick)
        how = self.options(seed)
        items = [works.work(seed + number) for number in range(count)]
        self.refs[client.peer] += client.map(items, *self.some(client), **how)

    @rule(pick=picks, cpus=st.sampled_from([0, 0.25, 1]), count=st.sampled_from([5, 30]))
    def flood(self, pick: int, cpus: float, count: int) -> None:
        """Short tasks, which are queued ahead, and long ones of the same function among them."""
        client = self.one(pick)
        works = [self.rng.choice([0.0002, 0.0002, 0.001, 0.2]) for _ in range(count)]
        refs = [client.submit(work, name="short", num_cpus=cpus) for work in works]
        self.refs[client.peer] += refs

    @rule(pick=picks, seed=seeds)
    def submit_many(self, pick: int, seed: int) -> None:
        client = self.one(pick)
        how = self.options(seed)
        refs = client.submit_many(works.several, *self.some(client), num_returns=3, **how)
        self.refs[client.peer] += refs

    @rule(pick=picks, seed=seeds, backpressure=st.sampled_from([0, 1, 3]))
    def stream(self, pick: int, seed: int, backpressure: int) -> None:
        client = self.one(pick)
        ref = client.submit(
            works.stream(seed),
            *self.some(client),
            streaming=True,
            backpressure=backpressure,
            **self.options(seed),
        )
        self.streams.append((client, ref, works.stream_length(random.Random(seed))))

    @rule(pick=picks, large=st.booleans())
    def put(self, pick: int, large: bool) -> None:
        client = self.one(pick)
        self.refs[client.peer].append(client.put(Large("x") if large else self.some(client)))

    @rule(pick=picks, force=st.booleans(), recursive=st.booleans(), grace=st.booleans())
    def cancel(self, pick: int, force: bool, recursive: bool, grace: bool) -> None:
        client = self.one(pick)
        grace_s = 0.01 if grace else -1.0
        client.cancel(*self.some(client), force=force, recursive=recursive, grace_s=grace_s)

    @rule(pick=picks)
    def drop(self, pick: int) -> None:
        client = self.one(pick)
        for ref in dict.fromkeys(self.some(client)):
            self.refs[client.peer].remove(ref)
            client.drop(ref)

    @rule(pick=picks)
    def look(self, pick: int) -> None:
        """Read what is ready; what was lost is asked for again."""
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

    @rule(pick=picks)
    def press(self, pick: int) -> None:
        self.cluster.nodes[pick % len(self.cluster.nodes)].press()

    @precondition(lambda self: sum(node.alive for node in self.cluster.nodes) > 1)
    @rule(pick=picks)
    def lose_node(self, pick: int) -> None:
        alive = [node for node in self.cluster.nodes if node.alive]
        self.cluster.kill_node(alive[pick % len(alive)].number)

    @precondition(lambda self: self.cluster.faults.duplicate)
    @rule(pick=picks)
    def repeat(self, pick: int) -> None:
        """Something that was said before is said again."""
        hub = self.cluster.hub
        said = [
            event
            for _, events, _ in hub.trail or ()
            for event in events
            if isinstance(event, Received)
            and event.peer in hub.machine.peers
            and isinstance(event.message, REPEATABLE)
        ]
        if said:
            event = said[-1 - pick % len(said)]
            hub.receive(event.peer, event.message)

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        self.cluster.run()
        for client, ref, length in self.streams:
            if client.alive:
                *items, end = client.streams[ref.id]
                assert end == 0
                assert len(items) <= length + (items[-1:] == [ref.id])  # that one is its error
        self.cluster.close()
        hub = self.cluster.hub
        check_empty(hub.machine)
        check_counts(hub.machine, sum(hub.submitted.values()))
        assert not hub.stopped
        # The same events give the same actions, to the machine alone.
        machine = Machine()
        assert hub.trail is not None
        again = [machine.handle(events, now) for now, events, _ in hub.trail]
        assert again == [actions for _, _, actions in hub.trail]

    # ---- help -----------------------------------------------------------------------------

    def one(self, pick: int) -> Client:
        alive = [client for client in self.cluster.clients if client.alive]
        return alive[pick % len(alive)]

    def some(self, client: Client) -> list[Ref]:
        mine = self.refs[client.peer]
        return self.rng.sample(mine, min(len(mine), self.rng.choice([0, 0, 1, 2])))

    def options(self, seed: int) -> dict[str, Any]:
        return works.options(random.Random(seed))


TestCourses = Courses.TestCase
TestCourses.settings = examples(60, stateful_step_count=40)


def course(seed: int, *, record: bool = False) -> Cluster:
    """A busy hour, all of it decided by the seed."""
    rng = random.Random(seed)
    faults = Faults(
        crashes_per_s=rng.choice([0, 3, 20]),
        losses_per_s=rng.choice([0, 5, 50]),
        presses_per_s=rng.choice([0, 2]),
        nodes_lost_per_s=rng.choice([0, 0, 1]),
        start_fails=rng.choice([0, 0, 0.05]),
        slow_engines=rng.choice([0, 0.2]),
        duplicate=rng.choice([0, 0.1]),
        stubborn=rng.choice([0, 0.3]),
        forgetful=rng.choice([0, 0.5]),
    )
    cluster = Cluster(
        rng.choice([1, 2, 4]),
        rng.choice([1, 1, 2, 3]),
        resources={"GPU": 2.0},
        seed=seed,
        faults=faults,
        checked=True,
        record=record,
        jitter=True,
    )
    refs: list[Ref] = []
    for _ in range(rng.randint(3, 25)):
        args = rng.sample(refs, min(len(refs), rng.choice([0, 0, 1, 2])))
        how = works.options(rng)
        if rng.random() < 0.7:
            refs.append(cluster.submit(works.work(rng.getrandbits(32)), *args, **how))
        else:
            items = [works.work(rng.getrandbits(32)) for _ in range(rng.choice([1, 3, 10]))]
            refs += cluster.client.map(items, *args, **how)
        if rng.random() < 0.3:
            cluster.client.cancel(rng.choice(refs), force=rng.random() < 0.3)
        cluster.run(rng.choice([0, 0.001, 0.01, 0.1]))
    cluster.run()
    return cluster


@examples(120)
@given(seeds)
def test_everything_ends_once_under_fire(seed: int) -> None:
    cluster = course(seed)
    cluster.close()
    check_empty(cluster.hub.machine)
    check_counts(cluster.hub.machine, sum(cluster.hub.submitted.values()))


@examples(20)
@given(seeds)
def test_the_same_events_give_the_same_actions(seed: int) -> None:
    once, again = course(seed, record=True), course(seed, record=True)
    assert once.hub.trail == again.hub.trail
    assert once.world.now == again.world.now


def add(number: int) -> Program:
    def program(task: TaskContext) -> Steps:
        yield 0.002
        total = number + sum(v.value if isinstance(v, Large) else v for v in task.args)
        if total % 3 == 0:
            total += yield task.submit(nested)
        return Large(total) if total % 2 else total

    return program


def nested(task: TaskContext) -> Steps:
    yield 0.001
    return 1


@examples(50)
@given(seeds, st.lists(st.lists(picks, max_size=3), min_size=1, max_size=40))
def test_results_do_not_depend_on_what_goes_wrong(seed: int, graph: list[list[int]]) -> None:
    """Any graph of sums, with engines dying and values getting lost all the time."""
    faults = Faults(crashes_per_s=20.0, losses_per_s=20.0, duplicate=0.1, slow_engines=0.2)
    cluster = Cluster(3, seed=seed, faults=faults, checked=True, jitter=True)
    expected: list[int] = []
    refs: list[Ref] = []
    for number, picked in enumerate(graph):
        chosen = [pick % number for pick in picked if number]
        total = number + sum(expected[i] for i in chosen)
        expected.append(total + (total % 3 == 0))
        refs.append(cluster.submit(add(number), *(refs[i] for i in chosen), max_retries=-1))
    cluster.run()
    cluster.faults.losses_per_s = 0.0
    for ref, total in zip(refs, expected, strict=True):
        while True:
            try:
                value = cluster.result(ref)
                break
            except LookupError:
                cluster.run()
        assert (value.value if isinstance(value, Large) else value) == total
