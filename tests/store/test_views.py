"""What readers get: views of shared memory that cost nothing and never change."""

from __future__ import annotations

import errno
import gc
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from parallax.serial.values import Packed, pack, unpack
from parallax.store import segment
from parallax.store.shared import SharedStore
from tests.store.conftest import MIB, OpenStore

N = 100_000


def memory_of(array: np.ndarray[Any, Any]) -> Any:
    """What the array is a view of, in the end."""
    owner: Any = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner


@pytest.mark.parametrize(
    "array",
    [
        np.arange(N),
        np.asfortranarray(np.ones((300, 400))),
        np.arange(N)[::2],
        np.arange(N).astype("M8[ns]"),
        np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]),
    ],
)
def test_an_array_is_a_read_only_view_of_the_mapping(
    store: SharedStore, array: np.ndarray[Any, Any]
) -> None:
    store["a"] = array
    view = store["a"]
    assert isinstance(memory_of(view), mmap.mmap)
    assert not view.flags.writeable
    assert view.ctypes.data % 64 == 0
    assert view.dtype == array.dtype
    assert np.array_equal(view, array)
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.setflags(write=True)


def test_small_arrays_are_read_only_too(store: SharedStore) -> None:
    store["a"] = np.arange(3)
    assert not store["a"].flags.writeable


def test_a_frame_is_made_of_views(store: SharedStore) -> None:
    frame = pd.DataFrame({"x": np.arange(N), "y": np.arange(N) / 2})
    store["f"] = frame
    result = store["f"]
    pd.testing.assert_frame_equal(result, frame)
    for column in ("x", "y"):
        assert isinstance(memory_of(result[column].to_numpy()), mmap.mmap)


def test_a_table_is_made_of_views(store: SharedStore) -> None:
    table = pa.table({"x": np.arange(N), "s": ["text"] * N})
    store["t"] = table
    before = pa.total_allocated_bytes()
    result = store["t"]
    assert pa.total_allocated_bytes() == before
    assert result.equals(table)


def test_the_parts_of_an_object_make_the_same_object_elsewhere(open_store: OpenStore) -> None:
    store = open_store()
    store["a"] = {"x": np.arange(N), "y": "text"}
    data, buffers = store.read_parts("a")
    assert data.readonly
    store.write("b", Packed(bytes(data), buffers))
    assert np.array_equal(store["b"]["x"], np.arange(N))
    assert unpack(*store.read_parts("b"))["y"] == "text"


@pytest.mark.parametrize("size", [1000, 100_000, 3 * MIB])
def test_a_view_stays_when_its_object_is_freed_and_others_come(
    store: SharedStore, names: Iterator[str], size: int
) -> None:
    store["a"] = np.full(size, 7, "u1")
    view = store["a"]
    store.free("a")
    for _ in range(5):
        name = next(names)
        store[name] = np.full(size, 1, "u1")
        assert (view == 7).all()
        store.free(name)
    store.trim(0)
    assert (view == 7).all()


def test_a_view_stays_when_its_object_is_overwritten(store: SharedStore) -> None:
    store["a"] = np.full(3 * MIB, 1, "u1")
    old = store["a"]
    store["a"] = np.full(3 * MIB, 2, "u1")
    new = store["a"]
    assert (old == 1).all()
    assert (new == 2).all()


def test_a_part_of_a_view_is_enough(store: SharedStore) -> None:
    store["a"] = [np.full(3 * MIB, 7, "u1"), np.arange(5)]
    part = store["a"][0][1000:2000]
    gc.collect()
    store.free("a")
    store["b"] = [np.full(3 * MIB, 1, "u1"), np.arange(5)]
    assert (part == 7).all()


def test_a_freed_segment_is_used_again_once_nobody_views_it(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    store["a"] = np.full(3 * MIB, 1, "u1")
    view = other["a"]
    store.free("a")
    store["b"] = np.full(3 * MIB, 2, "u1")
    assert store.usage().warm_segments == 1
    del view
    store["c"] = np.full(3 * MIB, 3, "u1")
    assert store.usage().warm_segments == 0
    assert (other["b"] == 2).all()
    assert (other["c"] == 3).all()


def test_a_small_freed_segment_is_used_again(store: SharedStore) -> None:
    for value in range(3):
        store["a"] = np.full(100_000, value, "u1")
        assert (store["a"] == value).all()
        store.free("a")
        assert store.usage().warm_segments == 1


def test_a_segment_that_another_process_freed_is_used_again(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    for value in range(4):
        store["a"] = np.full(3 * MIB, value, "u1")
        assert (other["a"] == value).all()
        other.free("a")
        assert store.usage().warm_segments == 1


def test_a_warm_segment_is_not_wasted_on_something_small(store: SharedStore) -> None:
    store["a"] = np.zeros(10 * MIB, "u1")
    store.free("a")
    store["b"] = np.zeros(5 * MIB, "u1")
    usage = store.usage()
    assert usage.memory_bytes < 6 * MIB
    assert usage.warm_bytes > 10 * MIB


def test_the_warm_segments_are_bounded(store: SharedStore) -> None:
    for number in range(8):
        store[f"a{number}"] = np.zeros(6 * MIB, "u1")
    for number in range(8):
        store.free(f"a{number}")
    assert store.usage().warm_bytes <= 64 * MIB // 4
    for number in range(200):
        store[f"b{number}"] = np.zeros(1000, "u1")
    for number in range(200):
        store.free(f"b{number}")
    assert store.usage().warm_segments < 80


# ---- limits of the system ----


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def mappings(root: Path) -> int:
    return sum(str(root) in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_nothing_leaks(store: SharedStore, root: Path, size: int) -> None:
    def use() -> None:
        for number in range(30):
            name = f"a{number % 3}"
            store[name] = np.zeros(size, "u1")
            view = store[name]
            store.free(name)
            assert view.size == size
        store.trim(0)

    use()
    before = descriptors(), mappings(root)
    use()
    assert (descriptors(), mappings(root)) == before
    store.close()
    assert mappings(root) == 0


def test_very_many_small_views_become_copies(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "_MOST_MAPS", len(segment._live_maps) + 10)
    store["a"] = np.arange(20_000)
    store["b"] = np.arange(2_000_000)
    before = descriptors()
    views = [store["a"] for _ in range(50)]
    assert descriptors() <= before + 10
    assert all(np.array_equal(view, np.arange(20_000)) for view in views)
    assert not any(view.flags.writeable for view in views)
    # A large one is still mapped: copies of it would need more memory than there is.
    assert isinstance(memory_of(store["b"]), mmap.mmap)


def test_a_process_out_of_descriptors_or_mappings_gets_a_copy(
    store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> mmap.mmap:
        raise OSError(errno.EMFILE, "too many open files")

    store["a"] = np.arange(1_000_000)
    monkeypatch.setattr(segment, "_map_file", refuse)
    assert np.array_equal(store["a"], np.arange(1_000_000))


def test_ten_thousand_objects(store: SharedStore) -> None:
    before = descriptors()
    packed = pack(np.zeros(500, "u1"))
    for number in range(10_000):
        store.write(f"a{number}", packed)
    assert len(store) == 10_000
    for number in range(10_000):
        store.free(f"a{number}")
    assert len(store) == 0
    assert descriptors() <= before + 1
