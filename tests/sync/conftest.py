"""What is shared, on a pool: who waits for whom, and what becomes of the dead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import parallax as px
from tests.conformance.gates import Gate


@pytest.fixture(scope="module")
def pool() -> Iterator[None]:
    """A pool of two engines."""
    px.shutdown()
    px.init(num_cpus=2)
    yield
    px.shutdown()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate for the tasks of one test."""
    return Gate(str(tmp_path / "gate"))
