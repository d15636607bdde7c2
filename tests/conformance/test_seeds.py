"""A seeded session: results do not depend on the number of engines."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from tests.conformance.scripts import run

DRAWS = """
    import random, sys
    import numpy as np
    import parallax as px

    @px.remote
    def draw(depth):
        numbers = [random.random(), float(np.random.rand())]
        return numbers + (px.get([draw.remote(0), draw.remote(0)]) if depth else [])

    @px.remote
    def stream():
        for _ in range(2):
            yield random.random()

    px.init({address}, num_cpus={num_cpus}, seed={seed})
    random.seed(99)
    values = px.get([draw.remote(1) for _ in range(3)])
    values += px.get(draw.map([0] * 5, chunk={chunk}))
    values += [px.get(ref) for ref in stream.remote()]
    values.append(random.random())
    print(values)
    px.shutdown()
    """


def draws(address: str | None = None, num_cpus: int = 1, seed: Any = 7, chunk: Any = 1) -> str:
    code = textwrap.dedent(DRAWS)
    return run(code.format(address=repr(address), num_cpus=num_cpus, seed=seed, chunk=repr(chunk)))


def test_seeds_depend_on_the_order_of_submission_alone() -> None:
    one = draws(num_cpus=1)
    assert draws(num_cpus=2, chunk="auto") == one
    assert draws("inline") == one
    assert draws("inline", seed=8) != one


def test_tasks_of_a_seeded_session_draw_different_numbers() -> None:
    values = json.loads(draws("inline"))
    flat = json.dumps(values).replace("[", "").replace("]", "").split(", ")
    assert len(set(flat)) == len(flat)


def test_without_a_seed_nothing_is_seeded() -> None:
    assert draws("inline", seed=None) != draws("inline", seed=None)
