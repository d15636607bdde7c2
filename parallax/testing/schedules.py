"""Random schedules of work and faults: one seed decides what is submitted and what goes wrong.

    >>> from parallax.testing import run_schedule
    >>> run_schedule(seed=7).schedules
    1

A schedule is a small cluster in which a few clients do what users do, while engines, hosts and
clients die, links stall, messages come twice, late and in other orders, hosts are cut off and come
back, in time or after they were taken for dead. After every event all invariants of the core are
checked. At the end everything has ended once, with the right value, and nothing is left behind.

``make schedules`` runs ten thousand of them.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from parallax.messages import Failure
from parallax.testing.cluster import Cluster
from parallax.testing.faults import Faults
from parallax.testing.invariants import InvariantError, check_counts, check_empty
from parallax.testing.programs import Large, Raised, Ref
from parallax.testing.schedule_users import Users

CALM_S = 80.0
"""After the last fault, until all that was held up has arrived: longer than any stall."""
PATIENCE_S = 300.0
"""Then all must have ended: no task computes for longer than a second."""
DROPPED = frozenset({"its process has ended", "this engine is not wanted any more"})
"""Why the hub may part with a peer that has broken no rule."""


@dataclass(slots=True)
class Tally:
    """What has happened in some schedules."""

    schedules: int = 0
    events: int = 0
    """Each was followed by a check of every invariant."""
    calls: int = 0
    """Submitted, each of which has ended once."""
    faults: Counter[str] = field(default_factory=Counter)
    """By kind."""

    def add(self, other: Tally) -> None:
        """Count these, too."""
        self.schedules += other.schedules
        self.events += other.events
        self.calls += other.calls
        self.faults += other.faults


def run_schedule(seed: int) -> Tally:
    """Run the schedule of this seed. Takes some 30 ms.

    Raises:
        InvariantError: the core has broken one of its rules.
        StuckError: somebody would wait for ever.
        AssertionError: the core has said something impossible.
    """
    schedule = Schedule(seed)
    schedule.run()
    return schedule.tally()


class Schedule:
    """The schedule of one seed.

    Args:
        record: keep all events and actions in `cluster.hub.trail`.
    """

    def __init__(self, seed: int, *, record: bool = False) -> None:
        self.rng = random.Random(seed)
        self.faults = _faults(self.rng)
        self.cluster = Cluster(
            self.rng.choice([1, 2, 2, 3]),
            self.rng.choice([1, 2, 2, 3]),
            resources={"GPU": 2.0, "crane": 2.0},
            seed=seed,
            faults=self.faults,
            checked=True,
            record=record,
            jitter=True,
            named=self.rng.random() < 0.5,
            alone=True,
        )
        self.users = Users(self.cluster, self.rng)

    def run(self) -> None:
        """All of it; see `run_schedule`."""
        cluster, rng = self.cluster, self.rng
        for _ in range(rng.randint(5, 40)):
            self.users.act()
            cluster.run(rng.choice([0.0, 0.0, 0.0005, 0.005, 0.05]))
        cluster.run(rng.choice([0.0, 0.1, 0.5]))
        cluster.faults = replace(Faults(), duplicate=self.faults.duplicate)
        cluster.run(CALM_S)
        cluster.gives_up_at = cluster.world.now + PATIENCE_S
        self._check_circles()
        # What lives on holds resources for which others may wait. Then nothing may hang.
        self.users.end_all()
        cluster.run(1.0)
        cluster.run()
        self._check_results()
        cluster.close()
        self._check_end()

    def tally(self) -> Tally:
        """What has happened so far."""
        hub = self.cluster.hub
        return Tally(
            1, hub.events, sum(hub.submitted.values()), Counter(self.cluster.world.happened)
        )

    # ---- checks at the end ----------------------------------------------------------------

    def _check_circles(self) -> None:
        """No call waits for one that can only begin after it. Actors that run calls side by side
        have no such order; only here they run one by one."""
        for engine in self.cluster.engines:
            behind = set(engine.waits_for) & set(engine.queued)
            if engine.actor and engine.actor not in self.cluster.unordered and behind:
                raise InvariantError(
                    f"engine {engine.number}: its actor's call waits for {sorted(behind)}, "
                    "which is queued behind it"
                )

    def _check_results(self) -> None:
        """What clients got is what they should have got."""
        for client, ref, length in self.users.streams:
            if client.alive:
                *items, end = client.streams[ref.id]
                if end or len(items) > length + (items[-1:] == [ref.id]):  # that one is its error
                    raise InvariantError(f"stream {ref.id:x} of {length} items gave {items}, {end}")
        for total in self.users.sums.values():
            client = total.client
            if client.alive and total.ref.id in client.held:
                self._check_sum(total.ref, total.expected, may_fail=self.users.may_fail(total))
        for (client, name), kept in self.users.kept.items():
            if client.alive and kept is not None and not self.faults.disk_fails:
                self._check_kept(name, kept.ref, kept.expected)

    def _check_sum(self, ref: Ref, expected: int, *, may_fail: bool) -> None:
        value = self._value(ref)
        if isinstance(value, Raised):
            if not may_fail:
                raise InvariantError(f"task {ref.id:x} must not fail, and did: {value}")
        elif value != expected:
            raise InvariantError(f"task {ref.id:x} made {value} instead of {expected}")

    def _value(self, ref: Ref) -> object:
        client = next(c for c in self.cluster.clients if ref.id in c.held and c.alive)
        while True:
            try:
                value = client.result(ref)
            except LookupError:  # it was lost, and is being made anew
                self.cluster.run()
            except Raised as raised:
                return raised
            else:
                return value.value if isinstance(value, Large) else value

    def _check_kept(self, name: str, ref: Ref, expected: int) -> None:
        """The last thing that the only one to use this name said of it: keep this sum."""
        rows = self.cluster.journal.rows
        if name not in rows:
            raise InvariantError(f"{name!r} was to be kept, and is not")
        value = rows[name]
        value = value.value if isinstance(value, Large) else value
        if not isinstance(value, Failure) and value != expected:
            raise InvariantError(f"{name!r} is kept as {value} instead of {expected}")

    def _check_end(self) -> None:
        """Everything has ended once, and nothing is left."""
        hub = self.cluster.hub
        check_empty(hub.machine)
        check_counts(hub.machine, sum(hub.submitted.values()))
        hub.check_segments()
        if hub.stopped:
            raise InvariantError(f"the hub has stopped: {hub.stopped}")
        broken = {peer: why for peer, why in hub.dropped.items() if why not in DROPPED}
        if broken:
            raise InvariantError(f"the hub has parted with peers that were in order: {broken}")


def _faults(rng: random.Random) -> Faults:
    """Most kinds in one schedule are rare or absent, so that each is seen alone, too."""
    return Faults(
        crashes_per_s=rng.choice([0, 0, 3, 20]),
        losses_per_s=rng.choice([0, 0, 5, 50]),
        presses_per_s=rng.choice([0, 0, 0, 2]),
        nodes_lost_per_s=rng.choice([0, 0, 0, 2]),
        clients_lost_per_s=rng.choice([0, 0, 3]),
        stalls_per_s=rng.choice([0, 5, 50]),
        partitions_per_s=rng.choice([0, 0, 3, 10]),
        greetings_per_s=rng.choice([0, 0, 0, 5]),
        start_fails=rng.choice([0, 0, 0.05]),
        start_hangs=rng.choice([0, 0, 0.05]),
        slow_engines=rng.choice([0, 0.2]),
        duplicate=rng.choice([0, 0, 0.1]),
        echo=rng.choice([0, 0.1, 0.4]),
        reorder=rng.choice([0, 0.3]),
        stubborn=rng.choice([0, 0.3]),
        forgetful=rng.choice([0, 0.5]),
        disk_fails=rng.choice([0, 0, 0, 0.1]),
    )
