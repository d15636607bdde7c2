"""Pools for the tests: one of its own for each test that breaks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import parallax as px
from parallax.sessions.current import current
from tests.pool.clusters import wait_gone


@pytest.fixture
def cluster() -> Iterator[str]:
    """The name of a pool of two engines that this process is connected to; gone afterwards."""
    px.shutdown()
    px.init(num_cpus=2)
    name = current().cluster
    yield name
    px.shutdown()
    wait_gone(name)
