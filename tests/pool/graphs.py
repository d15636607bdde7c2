"""Random graphs of tasks: what they come to is known, and who ran when is on record."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import parallax as px
from tests.pool import graph_tasks

TIMEOUT_S = 60.0
"""Without any news of the graph: then it hangs."""
BATCH = 400
"""So many results are waited for at a time."""

mix = px.remote(max_retries=-1)(graph_tasks.mix)
mix_large = px.remote(max_retries=-1)(graph_tasks.mix_large)
item = px.remote(max_retries=-1)(graph_tasks.item)
twins = px.remote(max_retries=-1, num_returns=2)(graph_tasks.twins)
nest = px.remote(max_retries=-1)(graph_tasks.nest)


@dataclass(frozen=True)
class Step:
    """One submission: tasks of consecutive numbers, each with the same arguments."""

    kind: str
    numbers: range
    deps: list[int]
    pause_s: float = 0.0


@dataclass
class Graph:
    """Tasks numbered from 0, each of which may depend on earlier ones.

    Args:
        large: the part of the results that go through the store.
    """

    seed: int
    size: int
    large: float = 0.0
    steps: list[Step] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)
    """What a serial evaluation gives."""

    def __post_init__(self) -> None:
        dice = random.Random(f"graph {self.seed}")
        while len(self.expected) < self.size:
            self._add(dice, len(self.expected), self.size - len(self.expected))

    def _add(self, dice: random.Random, number: int, room: int) -> None:
        kind = dice.choices(["mix", "map", "twins", "nest"], [1000, 8, 30, 3])[0]
        count = {"map": min(room, dice.randrange(2, 150)), "twins": min(room, 2)}.get(kind, 1)
        if count == 1 and kind == "twins":
            kind = "mix"
        # Mostly of those just before, so that there are long paths; sometimes of any.
        nearest = 0 if dice.random() < 0.2 else max(0, number - 200)
        most = 0 if kind == "map" else min(number, 3)
        deps = [dice.randrange(nearest, number) for _ in range(dice.randint(0, most))]
        pause_s = dice.uniform(0.0, 0.005) if kind == "mix" and dice.random() < 0.02 else 0.0
        if kind == "mix" and dice.random() < self.large:
            kind = "large"
        numbers = range(number, number + count)
        self.steps.append(Step(kind, numbers, deps, pause_s))
        values = tuple(self.expected[dep] for dep in deps)
        self.expected += [graph_tasks.combine(n, values) for n in numbers]


@dataclass
class Run:
    """One run of a graph in the pool of this session.

    Args:
        folder: for the record.
    """

    graph: Graph
    folder: Path
    used_at: dict[int, float] = field(default_factory=dict)
    """When the driver had the result of a task, on the clock that all processes share."""
    wrong: dict[int, Any] = field(default_factory=dict)
    """Results that are not what they should be."""

    def __call__(self) -> Run:
        """Submit all, and get the results as they come; each reference goes once it was used."""
        refs = self._submit()
        numbers = {ref: number for number, ref in enumerate(refs)}
        del refs
        while numbers:
            ready, _ = px.wait(
                list(numbers), num_returns=min(BATCH, len(numbers)), timeout=TIMEOUT_S
            )
            assert ready, f"nothing new in {TIMEOUT_S:g} s, {len(numbers)} results are missing"
            values = px.get(ready)
            now = time.monotonic()
            for ref, value in zip(ready, values, strict=True):
                number = numbers.pop(ref)
                self.used_at[number] = now
                if _plain(value) != self.graph.expected[number]:
                    self.wrong[number] = value
        return self

    def _submit(self) -> list[Any]:
        refs: list[Any] = []
        folder = str(self.folder)
        for step in self.graph.steps:
            deps = [refs[dep] for dep in step.deps]
            first = step.numbers[0]
            match step.kind:
                case "mix":
                    refs.append(mix.remote(folder, first, step.pause_s, *deps))
                case "large":
                    refs.append(mix_large.remote(folder, first, step.pause_s, *deps))
                case "map":
                    refs += item.map([folder] * len(step.numbers), step.numbers)
                case "twins":
                    refs += twins.remote(folder, first, *deps)
                case "nest":
                    refs.append(nest.remote(folder, first, *deps))
        return refs

    def begun_at(self) -> dict[int, list[float]]:
        """When each task began, as often as it did."""
        times: dict[int, list[float]] = defaultdict(list)
        for diary in self.folder.iterdir():
            for number, began in graph_tasks.NOTE.iter_unpack(diary.read_bytes()):
                times[number].append(began)
        return dict(times)

    def runs_too_late(self) -> Iterator[str]:
        """Runs of a task that began after its result was used, by the driver or another task."""
        begun_at = self.begun_at()
        for step in self.graph.steps:
            for number in step.numbers:
                if (began := max(begun_at[number])) > self.used_at[number]:
                    yield f"task {number} at {began}, got at {self.used_at[number]}"
            first_use = min(begun_at[step.numbers[0]])
            for dep in step.deps:
                if (began := max(begun_at[dep])) > first_use:
                    yield f"task {dep} at {began}, an argument at {first_use}"


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value
    number, rest = value
    return number if len(rest) == graph_tasks.LARGE_BYTES else None
