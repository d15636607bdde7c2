"""Functions that are made, used and thrown away must not pile up anywhere."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import parallax as px
from parallax.pool.library import Library
from parallax.sessions.bindings import KEPT
from parallax.sessions.current import current
from tests.pool.clusters import wait_until

COUNT = 2 * KEPT + 100
SLACK = 50
"""Templates that belong to functions of the test itself, or are on their way out."""


def adder(summand: int) -> Callable[[int], int]:
    return lambda x: x + summand


def templates_at_hub() -> int:
    count: int = current().ask("counts")["templates"]  # type: ignore[attr-defined]
    return count


def test_functions_made_in_a_loop_are_forgotten(cluster: str) -> None:
    @px.remote
    def known_to_engine() -> tuple[int, int]:
        (library,) = (found for found in gc.get_objects() if type(found) is Library)
        return len(library.specs), len(library.blobs)

    for i in range(COUNT):
        assert px.get(px.remote(adder(i)).remote(1)) == i + 1
    wait_until(lambda: templates_at_hub() < KEPT + SLACK)
    for specs, blobs in px.get([known_to_engine.remote() for _ in range(8)]):
        assert specs < KEPT + SLACK
        assert blobs < KEPT + SLACK


def test_a_function_that_was_forgotten_works_again(cluster: str) -> None:
    first = px.remote(adder(-1))
    waiting: list[Any] = [px.remote(adder(-2)).remote(1)]
    assert px.get(first.remote(1)) == 0
    del first
    for i in range(KEPT + 1):
        waiting.append(px.remote(adder(i)).remote(1))
    assert px.get(waiting) == [-1, *range(1, KEPT + 2)]
    assert px.get(px.remote(adder(-1)).remote(1)) == 0


def test_the_failed_tasks_of_a_forgotten_function_are_retried(cluster: str) -> None:
    with px.job("failing") as job:
        ref = px.remote(lambda x: 1 // x).remote(0)
        px.wait([ref])
    for i in range(KEPT + 1):
        px.get(px.remote(adder(i)).remote(1))
    px.wait(job.retry_failed())
    (error,) = job.errors()
    assert isinstance(error, ZeroDivisionError)
    assert job.counts["retried"] == 1
