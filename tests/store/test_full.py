"""A store over its limit spills; a full disk is an error that loses nothing."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from parallax.errors import ObjectStoreFullError
from parallax.store.segment import Segment
from parallax.store.shared import SharedStore
from parallax.store.spill import SpillFolder
from tests.store.conftest import MIB, OpenStore


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpillFolder, "room_bytes", lambda self: 0)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    path = tmp_path / "tiny"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield path
    # Lazily: views of a test that failed may still be alive.
    subprocess.run(["umount", "-l", str(path)], check=True)


def wait_for_the_clock_of(folder: Path) -> None:
    """Until the file system's clock has moved on: it ticks every few milliseconds."""
    probe = folder / "probe"
    probe.touch()
    start = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == start:
        os.utime(probe)


def test_what_does_not_fit_goes_to_disk_and_comes_back(open_store: OpenStore) -> None:
    store, other = open_store(10 * MIB), open_store(10 * MIB)
    for number in range(8):
        store[f"a{number}"] = np.full(3 * MIB, number, "u1")
    usage = store.usage()
    assert usage.memory_bytes + usage.warm_bytes <= 10 * MIB
    assert usage.spilled_objects + usage.memory_objects == 8
    for number in range(8):
        view = other[f"a{number}"]
        assert (view == number).all()
        assert not view.flags.writeable
    for number in range(8):
        assert other.free(f"a{number}")
    assert other.usage().spilled_bytes == 0


def test_the_longest_unused_goes_first(open_store: OpenStore, root: Path) -> None:
    store = open_store(10 * MIB)
    for name in ("a", "b", "c"):
        store[name] = np.zeros(3 * MIB, "u1")
        wait_for_the_clock_of(root)
    store["a"]
    wait_for_the_clock_of(root)
    store["d"] = np.zeros(3 * MIB, "u1")
    in_memory = set(os.listdir(root / "store" / "objects"))
    assert in_memory == {"a", "c", "d"}


def test_warm_segments_go_before_objects(open_store: OpenStore) -> None:
    store = open_store(16 * MIB)
    store["a"] = np.zeros(4 * MIB, "u1")
    store["b"] = np.zeros(4 * MIB - 1000, "u1")
    store.free("b")
    store["c"] = np.zeros(11 * MIB, "u1")
    usage = store.usage()
    assert (usage.spilled_objects, usage.warm_segments, usage.memory_objects) == (0, 0, 2)


def test_many_small_ones_are_spilled_together(open_store: OpenStore) -> None:
    store = open_store(1 * MIB)
    for number in range(100):
        store[f"a{number}"] = np.zeros(10_000, "u1")
    store["b"] = np.zeros(60_000, "u1")
    usage = store.usage()
    assert usage.memory_bytes < 15 / 16 * MIB + 70_000


def test_what_is_viewed_stays_in_memory(open_store: OpenStore) -> None:
    store, other = open_store(8 * MIB), open_store(8 * MIB)
    store["a"] = np.full(3 * MIB, 1, "u1")
    store["b"] = np.full(3 * MIB, 2, "u1")
    views = other["a"], other["b"]
    store["c"] = np.full(3 * MIB, 3, "u1")
    assert store.usage().spilled_objects == 1
    assert (other["c"] == 3).all()
    assert (views[0] == 1).all()
    assert (views[1] == 2).all()


def test_what_is_larger_than_the_limit_goes_to_disk_at_once(open_store: OpenStore) -> None:
    store = open_store(2 * MIB)
    store["a"] = np.full(1000, 1, "u1")
    store["b"] = np.full(3 * MIB, 2, "u1")
    assert store.usage().memory_objects == 1
    assert (store["b"] == 2).all()
    store["b"] = np.full(4 * MIB, 3, "u1")
    assert (store["b"] == 3).all()
    store["b"] = np.full(1000, 4, "u1")
    usage = store.usage()
    assert (usage.memory_objects, usage.spilled_objects) == (2, 0)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_an_error_that_loses_nothing(open_store: OpenStore) -> None:
    store = open_store(10 * MIB)
    for number in range(3):
        store[f"a{number}"] = np.full(3 * MIB, number, "u1")
    before = store.usage()
    with pytest.raises(ObjectStoreFullError) as caught:
        store["b"] = np.zeros(3 * MIB, "u1")
    message = str(caught.value)
    for part in ("object b of 3,145,", "limit of 10,485,760", "room for 0", "object_store_memory"):
        assert part in message
    assert store.usage() == before
    assert "b" not in store
    for number in range(3):
        assert (store[f"a{number}"] == number).all()
    # What is freed is room again.
    store.free("a1")
    store["b"] = np.zeros(3 * MIB, "u1")


@pytest.mark.usefixtures("full_disk")
def test_an_overwrite_that_fails_keeps_the_old_value(open_store: OpenStore) -> None:
    store = open_store(4 * MIB)
    store["a"] = np.full(3 * MIB, 1, "u1")
    with pytest.raises(ObjectStoreFullError):
        store["a"] = np.full(3 * MIB, 2, "u1")
    assert (store["a"] == 1).all()


def test_a_disk_that_fills_up_while_it_is_written(tiny: Path, root: Path) -> None:
    with SharedStore(root / "s", limit_bytes=4 * MIB, spill_dir=tiny / "spill") as store:
        store["a"] = np.full(3 * MIB, 1, "u1")
        store["b"] = np.full(3 * MIB, 2, "u1")
        assert store.usage().spilled_objects == 1
        with pytest.raises(ObjectStoreFullError):
            store["c"] = np.full(3 * MIB, 3, "u1")
        assert len(os.listdir(tiny / "spill")) == 1
        assert (store["a"] == 1).all()
        assert (store["b"] == 2).all()


def test_shared_memory_that_is_smaller_than_the_limit(tiny: Path, tmp_path: Path) -> None:
    with SharedStore(tiny / "s", limit_bytes=64 * MIB, spill_dir=tmp_path / "spill") as store:
        for number in range(6):
            store[f"a{number}"] = np.full(MIB + 1000, number, "u1")
        views = [store[f"a{number}"] for number in range(6)]
        store["b"] = np.full(8 * MIB, 7, "u1")
        for number, view in enumerate(views):
            assert (view == number).all()
        usage = store.usage()
        assert usage.spilled_objects >= 4
        assert store._space._books.used_bytes == usage.memory_bytes + usage.warm_bytes


def test_a_file_system_that_has_no_more_files(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(path: str, size_bytes: int) -> Segment:
        raise OSError(errno.EDQUOT, "quota exceeded")

    monkeypatch.setattr(Segment, "create", create)
    store["a"] = np.ones(1000, "u1")
    assert store.usage().spilled_objects == 1
    assert store["a"].all()
    assert store._space._books.used_bytes == 0


def test_other_errors_of_the_disk_are_not_hidden(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Segment) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(Segment, "prepare", fail)
    with pytest.raises(OSError, match="input/output"):
        store["a"] = np.zeros(MIB, "u1")
    assert store.usage().warm_segments == 0


@pytest.mark.parametrize("warm", [False, True])
def test_an_interrupted_write_leaves_nothing(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    def interrupt(self: Segment, pieces: object) -> None:
        raise KeyboardInterrupt

    if warm:
        store["a"] = np.zeros(3 * MIB, "u1")
        store.free("a")
    with monkeypatch.context() as patch:
        patch.setattr(Segment, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store["a"] = np.zeros(3 * MIB, "u1")
    assert "a" not in store
    assert store.usage().warm_segments == 0
    assert store._space._books.read() == (0, 0, 0)
    store["a"] = np.ones(3 * MIB, "u1")
    assert store["a"].all()


def test_books_that_a_killed_process_left_wrong_are_corrected(open_store: OpenStore) -> None:
    store = open_store(10 * MIB)
    store["a"] = np.zeros(3 * MIB, "u1")
    store._space._books.add(used_bytes=100 * MIB, warm_bytes=50 * MIB, spilled=7)
    store["b"] = np.zeros(3 * MIB, "u1")
    usage = store.usage()
    assert (usage.memory_objects, usage.spilled_objects) == (2, 0)
    assert store._space._books.read() == (usage.memory_bytes, 0, 0)


def test_a_spill_that_a_killed_process_left_unfinished_is_removed(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(4 * MIB)
    (tmp_path / "spill" / "~123").write_bytes(b"x" * 1000)
    assert list(store) == []
    store["a"] = np.zeros(3 * MIB, "u1")
    store["b"] = np.zeros(3 * MIB, "u1")
    assert os.listdir(tmp_path / "spill") == ["a"]


def test_an_object_that_a_killed_process_left_in_both_places_is_one(
    open_store: OpenStore, root: Path, tmp_path: Path
) -> None:
    store = open_store()
    store["a"] = np.arange(1000)
    data = (root / "store" / "objects" / "a").read_bytes()
    store._space._books.add(spilled=1)
    (tmp_path / "spill" / "a").write_bytes(data)
    assert list(store) == ["a"]
    assert (store["a"] == np.arange(1000)).all()
    assert store.free("a")
    assert "a" not in store
