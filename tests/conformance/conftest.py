"""One session a module: each promise is tested on every engine that makes it.

The tests use the public API alone. They hold for every session, except where `needs` says what a
session must offer for a promise to mean anything:

- ``concurrency``: tasks run beside the code that submits them;
- ``processes``: tasks run in processes of their own;
- ``parallax``: the promise is Parallax's own, in words or in meaning; others differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import parallax as px
from tests.conformance.gates import Gate

SESSIONS = {
    "pool": {"concurrency", "processes", "parallax"},
    "inline": {"parallax"},
}
ADDRESSES = {"pool": None, "inline": "inline"}
NUM_CPUS = 2


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "needs(*features): what a session must offer for this test")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on the sessions that offer what it needs."""
    if "session" in metafunc.fixturenames:
        needed = {name for mark in metafunc.definition.iter_markers("needs") for name in mark.args}
        able = [name for name, offers in SESSIONS.items() if needed <= offers]
        metafunc.parametrize("session", able, indirect=True, scope="module")


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the session that the tests of this module run on now."""
    px.init(ADDRESSES[request.param], num_cpus=NUM_CPUS, resources={"crane": 2})
    yield request.param
    px.shutdown()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate for the tasks of one test."""
    return Gate(str(tmp_path / "gate"))
