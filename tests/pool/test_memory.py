"""When the host runs out of memory a task is stopped, and never the driver."""

from __future__ import annotations

from pathlib import Path

import pytest

import parallax as px
from parallax.errors import OutOfMemoryError, UsageError
from parallax.pool.local import MEMORY_FLOOR_VARIABLE
from parallax.pool.memory import Memory, MemoryGauge
from tests.pool import tasks
from tests.pool.clusters import engines, wait_until

MIB = 1 << 20


def test_the_newest_task_that_can_be_retried_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a host that is always short of memory
    monkeypatch.setenv(MEMORY_FLOOR_VARIABLE, str(1 << 60))
    note_and_do = px.remote(tasks.note_and_do)
    with px.init(num_cpus=2):
        # When a task that must not run twice runs beside one that may be retried for ever
        once = px.remote(max_retries=0)(tasks.sleep).remote(0.8)
        wait_until(lambda: any(e["state"] == "busy" for e in engines()))
        diary = tmp_path / "diary"
        often = note_and_do.options(max_retries=-1).remote(str(diary), tasks.match_for_ever)
        # Then only the latter is stopped, again and again
        assert px.get(once) == 0.8
        assert diary.read_text().count("begun") > 1
        px.cancel(often, force=True)
        # And one whose retries are used up says why it has failed
        greedy = note_and_do.options(max_retries=1, name="greedy")
        with pytest.raises(OutOfMemoryError, match="greedy was stopped after 2 attempts"):
            px.get(greedy.remote(str(tmp_path / "greedy"), tasks.match_for_ever))
        assert px.is_initialized()


def test_a_floor_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY_FLOOR_VARIABLE, "lots")
    with pytest.raises(UsageError, match="'lots' must be a number of bytes"):
        px.init(num_cpus=1)


def _group(folder: Path, limit: str, used_bytes: int, cache_bytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used_bytes}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache_bytes}\nshmem 5\n")


def test_the_narrowest_control_group_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/user/pod\n")
    groups = tmp_path / "groups"
    _group(groups / "user", str(100 * MIB), 95 * MIB, 4 * MIB)
    _group(groups / "user" / "pod", str(50 * MIB), 20 * MIB, 0)
    gauge = MemoryGauge(groups, membership)
    assert gauge.read() == Memory(9 * MIB, 100 * MIB)
    _group(groups / "user" / "pod", str(21 * MIB), 20 * MIB, 0)
    assert gauge.read() == Memory(1 * MIB, 21 * MIB)


def test_without_limits_the_host_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/../elsewhere\n")
    _group(tmp_path / "groups", "max", 1 * MIB, 0)
    for gauge in (MemoryGauge(tmp_path / "groups", membership), MemoryGauge(tmp_path, tmp_path)):
        memory = gauge.read()
        assert 100 * MIB < memory.available_bytes <= memory.total_bytes
    membership.write_text("12:memory:/docker/abc\n3:cpu:/\n")
    old = tmp_path / "groups" / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text(str(7 * MIB))
    (old / "memory.usage_in_bytes").write_text(str(5 * MIB))
    (old / "memory.stat").write_text(f"total_inactive_file {MIB}\n")
    assert MemoryGauge(tmp_path / "groups", membership).read() == Memory(3 * MIB, 7 * MIB)
