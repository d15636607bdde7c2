"""The interleavings that `parallax.store.shared` lists, each forced to happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parallax.store import flock
from parallax.store.layout import Bytes
from parallax.store.segment import Segment
from parallax.store.shared import SharedStore
from parallax.store.spill import SpillFolder
from tests.store.conftest import MIB, OpenStore

SIZE = 2 * MIB


def block(value: int) -> np.ndarray[Any, Any]:
    return np.full(SIZE, value, "u1")


@pytest.fixture
def before_share(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen once, after a reader has opened a segment and before it locks it."""

    def arrange(action: Callable[[], None]) -> None:
        def share(fd: int) -> None:
            monkeypatch.setattr(flock, "share", real)
            action()
            real(fd)

        real = flock.share
        monkeypatch.setattr(flock, "share", share)

    return arrange


@pytest.fixture
def after_copy_to_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen once, after an object was copied to disk and before it is there."""

    def arrange(action: Callable[[], None]) -> None:
        def write(self: SpillFolder, pieces: Sequence[Bytes], size_bytes: int) -> str:
            monkeypatch.setattr(SpillFolder, "write", real)
            path = real(self, pieces, size_bytes)
            action()
            return path

        real = SpillFolder.write
        monkeypatch.setattr(SpillFolder, "write", write)

    return arrange


def inode(root: Path, name: str) -> int:
    return (root / "store" / "objects" / name).stat().st_ino


def test_reuse_before_the_lock(
    open_store: OpenStore, root: Path, before_share: Callable[[Callable[[], None]], None]
) -> None:
    store, other = open_store(), open_store()
    other["a"] = block(1)
    first = inode(root, "a")

    def reuse() -> None:
        other.free("a")
        other["b"] = block(2)

    before_share(reuse)
    with pytest.raises(KeyError, match="a"):
        store["a"]
    assert inode(root, "b") == first
    assert (store["b"] == 2).all()


def test_reuse_after_the_lock(
    open_store: OpenStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_store(), open_store()
    other["a"] = block(1)
    first = inode(root, "a")
    view = store["a"]
    other.free("a")
    other["b"] = block(2)
    assert inode(root, "b") != first
    assert (view == 1).all()


def test_same_name_again(
    open_store: OpenStore, root: Path, before_share: Callable[[Callable[[], None]], None]
) -> None:
    store, other = open_store(), open_store()
    other["a"] = block(1)
    first = inode(root, "a")

    def reuse() -> None:
        other.free("a")
        other["a"] = block(2)

    before_share(reuse)
    view = store["a"]
    assert inode(root, "a") == first
    assert (view == 2).all()


def test_overwritten_before_the_lock(
    open_store: OpenStore, before_share: Callable[[Callable[[], None]], None]
) -> None:
    store, other = open_store(), open_store()
    other["a"] = block(1)
    before_share(lambda: other.update(a=block(2)))
    assert (store["a"] == 2).all()


@pytest.mark.parametrize("is_mapped", [False, True], ids=["opened", "mapped"])
def test_destroyed_before_the_lock(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, is_mapped: bool
) -> None:
    # Given a free segment, which its last writer may still have mapped
    store, other = open_store(), open_store()
    for _ in range(2 if is_mapped else 1):
        store["a"] = block(1)
        store.free("a")
    # When it is deleted in the very moment between a writer's look and its lock
    taken, wanted, gone = (threading.Event() for _ in range(3))

    def destroy(segment: Segment) -> None:
        taken.set()
        assert wanted.wait(30)
        real_destroy(segment)
        gone.set()

    def try_seize(fd: int) -> bool:
        wanted.set()
        assert gone.wait(30)
        return real_try_seize(fd)

    real_destroy, real_try_seize = Segment.destroy, flock.try_seize
    monkeypatch.setattr(Segment, "destroy", destroy)
    with ThreadPoolExecutor() as threads:
        trimmed = threads.submit(other.trim, 0)
        assert taken.wait(30)
        monkeypatch.setattr(flock, "try_seize", try_seize)
        store["b"] = block(2)
        # Then the writer finds another place, and the books are right
        assert trimmed.result() >= SIZE
    assert wanted.is_set()
    assert (store["b"] == 2).all()
    usage = store.usage()
    assert (usage.memory_objects, usage.warm_segments) == (1, 0)


def test_read_during_a_spill(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a store whose one object is just being spilled
    store, other = open_store(5 * MIB), open_store(5 * MIB)
    store["a"] = block(1)
    copied, may_go_on, reader_waits = (threading.Event() for _ in range(3))
    real_write, real_share = SpillFolder.write, flock.share

    def write(self: SpillFolder, pieces: Sequence[Bytes], size_bytes: int) -> str:
        path = real_write(self, pieces, size_bytes)
        copied.set()
        assert may_go_on.wait(30)
        return path

    def share(fd: int) -> None:
        reader_waits.set()
        real_share(fd)

    monkeypatch.setattr(SpillFolder, "write", write)
    with ThreadPoolExecutor() as threads:
        writing = threads.submit(other.__setitem__, "b", np.full(4 * MIB, 2, "u1"))
        assert copied.wait(30)
        # When it is read in the middle of that
        monkeypatch.setattr(flock, "share", share)
        reading = threads.submit(store.__getitem__, "a")
        assert reader_waits.wait(30)
        assert not reading.done()
        may_go_on.set()
        # Then the reader finds it on disk
        assert (reading.result(30) == 1).all()
        writing.result(30)
    assert store.usage().spilled_objects == 1
    assert (store["b"] == 2).all()


def test_read_between_the_two_places(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an object that is on disk
    store, other = open_store(5 * MIB), open_store(5 * MIB)
    other["a"] = np.full(6 * MIB, 1, "u1")
    assert other.usage().spilled_objects == 1
    real = SpillFolder.read

    def read(self: SpillFolder, name: str) -> memoryview | None:
        # When it comes to memory after the reader has looked there and before it looks on disk
        monkeypatch.setattr(SpillFolder, "read", real)
        other[name] = block(2)
        return real(self, name)

    monkeypatch.setattr(SpillFolder, "read", read)
    # Then the reader looks again
    assert (store["a"] == 2).all()


def test_freed_during_a_spill(
    open_store: OpenStore,
    tmp_path: Path,
    after_copy_to_disk: Callable[[Callable[[], None]], None],
) -> None:
    store, other = open_store(5 * MIB), open_store(5 * MIB)
    store["a"] = block(1)
    after_copy_to_disk(lambda: other.__delitem__("a"))
    store["b"] = np.full(4 * MIB, 2, "u1")
    assert list(store) == ["b"]
    assert store.usage().spilled_objects == (
        "b" in [p.name for p in (tmp_path / "spill").iterdir()]
    )
    assert "a" not in other


def test_overwritten_during_a_spill(
    open_store: OpenStore, after_copy_to_disk: Callable[[Callable[[], None]], None]
) -> None:
    store, other = open_store(5 * MIB), open_store(5 * MIB)
    store["a"] = block(1)
    after_copy_to_disk(lambda: other.update(a=np.full(1000, 3, "u1")))
    store["b"] = np.full(4 * MIB, 2, "u1")
    assert (other["a"] == 3).all()
    assert other["a"].size == 1000
    assert (other["b"] == 2).all()


def test_threads_share_a_store(store: SharedStore) -> None:
    def work(number: int) -> None:
        for value in range(30):
            name = f"{number}-{value % 3}"
            size = (1000, 70_000, 1_500_000)[value % 3]
            store[name] = np.full(size, value, "u1")
            view = store[name]
            store.free(name)
            assert (view == value).all()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert len(store) == 0
    assert store.trim(0) > 0
    assert store._space._books.read() == (0, 0, 0)
