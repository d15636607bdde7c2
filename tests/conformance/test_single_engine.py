"""Nested tasks on one CPU: waiting must never be what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import parallax as px
from tests.conformance.test_nesting import fib, wait_for_child


@pytest.fixture(scope="module", params=[None, "inline"], ids=["pool", "inline"], autouse=True)
def _one_cpu(request: pytest.FixtureRequest) -> Iterator[None]:
    with px.init(request.param, num_cpus=1):
        yield


def test_recursion() -> None:
    assert px.get(fib.remote(12)) == 144


def test_many_tasks_that_each_wait_for_a_child() -> None:
    assert px.get([wait_for_child.remote(i) for i in range(200)]) == list(range(1, 201))


def test_depth() -> None:
    @px.remote
    def deeper(n: int) -> int:
        return px.get(deeper.remote(n - 1)) + 1 if n else 0

    assert px.get(deeper.remote(10)) == 10
