"""When the host runs out of memory a task is stopped, and never the driver."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import parallax as px
from parallax.errors import OutOfMemoryError, UsageError
from parallax.pool.local import MEMORY_FLOOR_VARIABLE
from parallax.pool.memory import Memory, MemoryGauge
from tests.pool import tasks
from tests.pool.clusters import engines, patch_pools, wait_until

MIB = 1 << 20


class ShortHost:
    """A host that runs out of memory when it is told to, for one look of the node agent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._sign = folder / "short of memory"
        code = f"""
            import pathlib
            import parallax.pool.memory as memory
            def read(gauge, sign=pathlib.Path({str(self._sign)!r})):
                short = sign.exists()
                sign.unlink(missing_ok=True)
                return memory.Memory(0 if short else 1 << 49, 1 << 51)
            memory.MemoryGauge.read = read
        """
        patch_pools(monkeypatch, textwrap.dedent(code))

    def run_short(self) -> None:
        self._sign.touch()
        wait_until(lambda: not self._sign.exists())


def test_the_newest_task_that_can_be_retried_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = ShortHost(monkeypatch, tmp_path)
    note_and_do = px.remote(tasks.note_and_do)
    diary, greedy_diary = tmp_path / "diary", tmp_path / "greedy"

    def times_begun(diary: Path) -> int:
        return diary.read_text().count("begun") if diary.exists() else 0

    with px.init(num_cpus=2):
        # Given a task that must not run twice beside one that may be retried for ever
        once = px.remote(max_retries=0)(tasks.sleep).remote(600)
        often = note_and_do.options(max_retries=-1).remote(str(diary), tasks.match_for_ever)
        wait_until(lambda: sum(e["state"] == "busy" for e in engines()) == 2)
        # When the host runs short of memory, then only the latter is stopped, again and again
        for attempt in (1, 2, 3):
            wait_until(lambda attempt=attempt: times_begun(diary) == attempt)  # type: ignore[misc]
            host.run_short()
        wait_until(lambda: times_begun(diary) == 4)
        assert px.wait([once], timeout=0)[0] == []
        px.cancel(often, force=True)
        # And one whose retries are used up says why it has failed
        greedy = note_and_do.options(max_retries=1, name="greedy")
        doomed = greedy.remote(str(greedy_diary), tasks.match_for_ever)
        for attempt in (1, 2):
            wait_until(lambda attempt=attempt: times_begun(greedy_diary) == attempt)  # type: ignore[misc]
            host.run_short()
        with pytest.raises(OutOfMemoryError, match="greedy was stopped after 2 attempts"):
            px.get(doomed, timeout=20)
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
