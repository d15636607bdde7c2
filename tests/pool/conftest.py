"""Pools for the tests: one of its own for each test that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import parallax as px
from parallax.sessions.current import current
from tests.pool.clusters import wait_gone


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "seeds(count): run with the seeds from 0 on, so many unless --seeds says"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the storms of a test, each with its seed."""
    if "storm_seed" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("seeds")
        assert mark is not None, "a test with a storm says how many there are: pytest.mark.seeds"
        metafunc.parametrize("storm_seed", range(metafunc.config.option.seeds or mark.args[0]))


@pytest.fixture
def cluster() -> Iterator[str]:
    """The name of a pool of two engines that this process is connected to; gone afterwards."""
    px.shutdown()
    px.init(num_cpus=2)
    name = current().cluster
    yield name
    px.shutdown()
    wait_gone(name)


@pytest.fixture
def own_pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names of these tests meet nobody else's; pools that are left are ended."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    px.shutdown()
    yield
    px.shutdown()
    for pool in px.pools():
        pool.stop()
