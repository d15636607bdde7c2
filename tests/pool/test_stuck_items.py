"""A forced cancel of one item of a map: its engine is killed if it is the one that runs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

import parallax as px
from parallax.errors import TaskCancelledError
from tests.pool import tasks
from tests.pool.clusters import engines, wait_until


@pytest.mark.parametrize(
    "how", [tasks.hold_gil, tasks.swallow_interrupts], ids=lambda how: how.__name__
)
@pytest.mark.parametrize("position", [0, 2])
def test_a_stuck_item_is_killed_and_the_others_run_elsewhere(
    cluster: str, tmp_path: Path, how: Callable[[], None], position: int
) -> None:
    diary = tmp_path / "diary"

    @px.remote(max_retries=1)
    def work(number: int) -> int:
        if number == position:
            tasks.note_and_do(str(diary), how)
        return number

    refs = work.map(range(4), chunk=4)
    wait_until(lambda: diary.exists() and diary.read_text() == "begun\n")
    px.cancel(refs[position], force=True)
    with pytest.raises(TaskCancelledError):
        px.get(refs[position], timeout=5)
    others = [n for n in range(4) if n != position]
    assert px.get([refs[n] for n in others], timeout=5) == others
    wait_until(lambda: [e["state"] for e in engines()] == ["idle", "idle"])
    assert diary.read_text() == "begun\n"


def hold_gil_for_a_while() -> None:
    ctypes.PyDLL(None).usleep(300_000)


def test_an_item_that_has_not_begun_costs_no_engine(cluster: str, tmp_path: Path) -> None:
    """Its chunk is not cut meanwhile: the engine hears nothing until the first item is over."""
    diary = tmp_path / "diary"

    @px.remote
    def work(number: int) -> int:
        if not number:
            tasks.note_and_do(str(diary), hold_gil_for_a_while)
        return number

    wait_until(lambda: [e["state"] for e in engines()] == ["idle", "idle"])
    before = [e["pid"] for e in engines()]
    refs = work.map(range(4), chunk=4)
    wait_until(lambda: diary.exists() and diary.read_text() == "begun\n")
    px.cancel(refs[3], force=True)
    with pytest.raises(TaskCancelledError):
        px.get(refs[3], timeout=5)
    assert px.get(refs[:3], timeout=5) == [0, 1, 2]
    assert [e["pid"] for e in engines()] == before
