"""Random programs for simulated tasks, as surprising as users' own."""

from __future__ import annotations

import contextlib
import random
from typing import Any

from parallax.testing.programs import Emit, Large, Program, Raised, Ref, Steps, Work
from parallax.testing.task_context import TaskContext

MAX_DEPTH = 3


def options(rng: random.Random) -> dict[str, Any]:
    """Options of a task, the common ones most often."""
    return {
        "name": rng.choice("fgh"),
        "max_retries": rng.choice([0, 1, 3, 3]),
        "num_cpus": rng.choice([0, 0.5, 1, 1, 1, 2]),
        "num_gpus": rng.choice([0, 0, 0, 0.5, 1, 2]),
        "retry_exceptions": rng.random() < 0.2,
        "max_calls": rng.choice([0, 0, 0, 0, 2]),
        "timeout_s": rng.choice([0, 0, 0, 0.02]),
        "spread": rng.random() < 0.1,
    }


def work(seed: int, depth: int = 0) -> Work:
    """Some computing, or a program that submits, waits, fails and crashes."""
    rng = random.Random(seed)
    if rng.random() < 0.35:
        return rng.choice([0.0, 0.0005, 0.002, 0.01, 0.05])
    seed = rng.getrandbits(32)

    def program(task: TaskContext) -> Steps:
        rng = random.Random(seed)
        yield rng.choice([0, 0.001, 0.01])
        if rng.random() < 0.03 and not task.attempt:
            task.crash()
        if rng.random() < 0.05:
            raise ValueError("no")
        refs = _nest(task, rng, depth)
        if refs and rng.random() < 0.1:
            task.cancel(rng.choice(refs))
        if refs and rng.random() < 0.6:
            with contextlib.suppress(Raised):
                yield refs
        return _result(task, rng, refs)

    return program


def _nest(task: TaskContext, rng: random.Random, depth: int) -> list[Ref]:
    refs: list[Ref] = []
    for _ in range(rng.choice([0, 0, 1, 2, 4]) if depth < MAX_DEPTH else 0):
        args = [ref for ref in refs if rng.random() < 0.3]
        retries, cpus = rng.choice([0, 1, 3]), rng.choice([0, 0.5, 1, 1])
        nested = work(rng.getrandbits(32), depth + 1)
        refs.append(task.submit(nested, *args, max_retries=retries, num_cpus=cpus))
    return refs


def _result(task: TaskContext, rng: random.Random, refs: list[Ref]) -> Any:
    match rng.randrange(10):
        case 0 | 1:
            return refs or None
        case 2:
            return [task.put(Large("put"))]
        case 3 | 4 | 5:
            return Large(rng.random())
        case _:
            return rng.random()


def several(task: TaskContext) -> Steps:
    """Three return values, some of them large."""
    yield 0.001
    return [1, Large(2), Large(3)]


def stream(seed: int) -> Program:
    """Some items, and maybe an error after them."""
    rng = random.Random(seed)
    count, fails = stream_length(rng), rng.random() < 0.3
    step_s = rng.choice([0.001, 0.001, 0.05])

    def program(task: TaskContext) -> Steps:
        for number in range(count):
            yield step_s
            yield Emit(Large(number) if number % 2 else number)
        if fails:
            raise ValueError("the end")

    return program


def stream_length(rng: random.Random) -> int:
    """How many items the stream of this seed yields, before its error if there is one."""
    return rng.choice([0, 1, 5])


def method(seed: int, other: Ref | None = None) -> Work:
    """What a call does: most often next to nothing."""
    rng = random.Random(seed)
    if rng.random() < 0.4:
        return rng.choice([0.0, 0.0005, 0.01])
    kind = rng.randrange(20)

    def program(task: TaskContext) -> Steps:
        yield 0.001
        if kind == 0 and not task.attempt:
            task.crash()
        elif kind == 1:
            task.exit_actor()
        elif kind == 2:
            raise ValueError("no")
        elif kind < 8:
            ref = task.submit(0.001)
            yield ref
        elif kind < 12 and other is not None:
            ref = task.call(other, 0.001)
            if kind == 11:  # a circle, if that one waits for this one: it is broken
                with contextlib.suppress(Raised):
                    yield ref
        return Large(kind) if kind % 2 else [task.put(kind)]

    return program


def constructor(seed: int) -> Program:
    """Makes an actor, most often."""
    rng = random.Random(seed)
    kind = rng.randrange(12)

    def program(task: TaskContext) -> Steps:
        yield 0.002
        if kind == 0:
            raise ValueError("no")
        if kind == 1 and not task.attempt:
            task.crash()

    return program
