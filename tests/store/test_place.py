"""Where a store goes: shared memory where it is large enough, else a folder, and then says so."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from parallax.store import place
from parallax.store.place import choose_root, default_limit, memory_bytes

Disk = namedtuple("Disk", "total used free")


def free_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(2 * free, free, free))


def test_shared_memory_that_is_large_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_space(monkeypatch, 1 << 30)
    chosen = choose_root("c1", shared_memory=tmp_path)
    assert chosen.in_memory
    assert chosen.root == tmp_path / f"parallax-{os.getuid()}-c1"
    assert chosen.note == ""
    assert not chosen.root.exists()


def test_the_small_shared_memory_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_space(monkeypatch, 64 << 20)
    chosen = choose_root("c1", shared_memory=tmp_path, fallback=tmp_path / "tmp")
    assert not chosen.in_memory
    assert chosen.root.parent == tmp_path / "tmp"
    for part in ("64 MiB", str(tmp_path / "tmp"), "--shm-size"):
        assert part in chosen.note


def test_a_system_without_shared_memory_says_nothing(tmp_path: Path) -> None:
    chosen = choose_root("c1", shared_memory=tmp_path / "none", fallback=tmp_path)
    assert not chosen.in_memory
    assert chosen.root.parent == tmp_path
    assert chosen.note == ""


def test_the_limit_follows_the_memory_and_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "memory_bytes", lambda: 10 << 30)
    free_space(monkeypatch, 100 << 30)
    assert default_limit(tmp_path / "not" / "there") == 3 << 30
    free_space(monkeypatch, 1 << 30)
    assert default_limit(tmp_path) == int(0.9 * (1 << 30))


def test_memory_is_what_the_innermost_and_outer_groups_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "memory.max").write_text("5000\n")
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    assert place._limits_upwards(tmp_path, "/a/b", "memory.max") == [5000]
    assert place._limits_upwards(tmp_path, "/a/b/gone", "memory.max") == [5000]
    monkeypatch.setattr(place, "_cgroup_limits", lambda: [7000, 6000])
    assert memory_bytes() == 6000
    monkeypatch.setattr(place, "_cgroup_limits", list)
    assert memory_bytes() == psutil.virtual_memory().total


def test_this_machine_has_a_place() -> None:
    chosen = choose_root("c1")
    assert 0 < default_limit(chosen.root) <= psutil.virtual_memory().total
