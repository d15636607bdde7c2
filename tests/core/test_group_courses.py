"""Random courses with placement groups in them: made, full, waiting, removed, their nodes lost."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from parallax.core.packing import STRATEGIES
from parallax.testing import Ref, works
from tests.core.depth import examples
from tests.core.test_courses import Courses, picks, seeds

BUNDLES: list[dict[str, float]] = [
    {"CPU": 1.0},
    {"CPU": 0.5},
    {"CPU": 2.0},
    {"CPU": 1.0, "GPU": 1.0},
    {"GPU": 0.5},
    {"CPU": 1.0, "GPU": 2.0},
]


class GroupCourses(Courses):
    """Users of placement groups, and fate."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[Ref] = []

    @rule(
        pick=picks,
        bundles=st.lists(st.sampled_from(BUNDLES), min_size=1, max_size=3),
        strategy=st.sampled_from(STRATEGIES),
        detached=st.booleans(),
    )
    def make_group(
        self, pick: int, bundles: list[dict[str, float]], strategy: str, detached: bool
    ) -> None:
        client = self.one(pick)
        self.groups.append(client.group(*bundles, strategy=strategy, detached=detached))

    @precondition(lambda self: self.groups)
    @rule(pick=picks)
    def remove_group(self, pick: int) -> None:
        """It may be one that is gone already, and it stays among those that tasks name."""
        self.one(pick).remove_group(self.groups[pick % len(self.groups)])

    @precondition(lambda self: self.groups)
    @rule(pick=picks, seed=seeds, keeps_cpus=st.booleans())
    def actor(self, pick: int, seed: int, keeps_cpus: bool) -> None:
        client = self.one(pick)
        rng = random.Random(seed)
        actor = client.actor(
            rng.choice([0.0, 0.01]),
            restarts=rng.choice([0, 1]),
            keeps_cpus=keeps_cpus,
            **self.place(rng),
        )
        calls = [client.call(actor, works.work(seed + number)) for number in range(3)]
        self.refs[client.peer] += calls

    def place(self, rng: random.Random) -> dict[str, Any]:
        group = rng.choice(self.groups)
        index = rng.choice([-1, -1, 0, 1])
        return {"group": group.id, "bundle": index, "capture": rng.random() < 0.5}

    def options(self, seed: int) -> dict[str, Any]:
        rng = random.Random(seed)
        how = works.options(rng)
        if self.groups and rng.random() < 0.6:
            how |= self.place(rng) | {"spread": False}
        return how

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.run(1.0)  # until all of them are known
            for group in self.groups:  # what waits for room that another has would wait for ever
                self.one(0).remove_group(group)
            self.cluster.run(1.0)
        super().teardown()


TestGroupCourses = GroupCourses.TestCase
TestGroupCourses.settings = examples(60, stateful_step_count=40)
