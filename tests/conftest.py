"""What holds for the whole suite: its order, fast to slow, and that it leaves nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers

ROOT = Path(__file__).parent.parent

# Later stages take longer and say less about where a defect is, so they run last.
STAGES = ("unit", "conformance", "doctests", "process", "notebook", "browser")


def pytest_configure() -> None:
    """Hear interrupts, whoever has started the suite.

    A shell without job control starts what shall run in the background with SIGINT ignored, and
    drivers that the tests start would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Storms differ from seed to seed, and a few of them are not all."""
    parser.addoption("--seeds", type=int, help="storms of each test that has some (the test's own)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder what every test of a folder is, then sort by stage (stable within each)."""
    for item in items:
        folder = item.path.relative_to(ROOT).parts[:2]
        if folder[0] == "notebooks":
            item.add_marker(pytest.mark.notebook)
        elif folder == ("tests", "browser"):
            item.add_marker(pytest.mark.browser)
        elif folder == ("tests", "pool") or _needs_pool(item):
            item.add_marker(pytest.mark.process)
    items.sort(key=lambda item: STAGES.index(_stage(item)))


def _needs_pool(item: pytest.Item) -> bool:
    """Whether a conformance test runs on a real pool this time."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and any(
        isinstance(value, str) and value == "pool" for value in callspec.params.values()
    )


def _stage(item: pytest.Item) -> str:
    for stage in ("browser", "notebook"):
        if item.get_closest_marker(stage):
            return stage
    folder = item.path.relative_to(ROOT).parts[1]
    if folder in STAGES:
        return folder
    return "process" if item.get_closest_marker("process") else "unit"


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Every process and segment of the suite has ended with it.

    The first session fixture to start is the last to end: other fixtures have stopped their pools.
    """
    before = leftovers.segments()
    leftovers.mark_descendants()
    yield
    leftovers.stop_embedded_pool()
    processes, segments = leftovers.settle(before, timeout_s=10)
    assert not processes, f"processes outlived the suite: {processes}"
    assert not segments, f"shared memory outlived the suite: {segments}"
