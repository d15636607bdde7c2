"""The contract of the mapping: what any `MutableMapping` promises, and immutability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parallax.errors import UsageError
from parallax.serial.values import pack
from parallax.store.shared import SharedStore
from tests.store.conftest import MIB, OpenStore


def test_a_new_store_is_empty(store: SharedStore) -> None:
    assert len(store) == 0
    assert list(store) == []
    assert "a" not in store
    with pytest.raises(KeyError, match="a"):
        store["a"]
    with pytest.raises(KeyError, match="a"):
        del store["a"]
    assert store.get("a", 5) == 5
    assert store.pop("a", 6) == 6


@pytest.mark.parametrize("value", [None, 1, "text", b"x" * MIB, [1, {"a": (2,)}], np.arange(9)])
def test_what_was_stored_is_read_in_every_process(open_store: OpenStore, value: Any) -> None:
    open_store()["a"] = value
    result = open_store()["a"]
    assert type(result) is type(value)
    assert np.array_equal(result, value) if isinstance(value, np.ndarray) else result == value


def test_it_is_a_mutable_mapping(store: SharedStore) -> None:
    store.update(a=1, b=2)
    store["b"] = 3
    assert store.setdefault("c", 4) == 4
    assert dict(store.items()) == {"a": 1, "b": 3, "c": 4}
    assert store.pop("a") == 1
    assert sorted(store) == ["b", "c"]
    store.clear()
    assert len(store) == 0


def test_a_store_equals_itself_only(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    assert first == first
    assert first != second
    assert len({first, second}) == 2


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "...x", "9", "x" * 200])
def test_names_that_are_fine(store: SharedStore, name: str) -> None:
    store[name] = name
    assert store[name] == name
    assert list(store) == [name]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "ä", "~x", "x" * 201, "a\n", "a\0"])
def test_names_that_are_not(store: SharedStore, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name an object"):
        store[name] = 1
    with pytest.raises(KeyError):
        store[name]
    assert name not in store
    assert not store.free(name)
    assert 5 not in store


def test_a_closed_store_says_so_and_its_views_live(store: SharedStore) -> None:
    store["a"] = np.arange(100_000)
    view = store["a"]
    store.close()
    store.close()
    assert view.sum() == sum(range(100_000))
    for use in (lambda: store["a"], lambda: "a" in store, store.usage, lambda: store.trim(0)):
        with pytest.raises(UsageError, match="closed"):
            use()


def test_usage_counts_what_is_there(store: SharedStore) -> None:
    size = store.write("a", pack(b"x" * MIB))
    assert MIB < size < MIB + 1000
    usage = store.usage()
    assert (usage.memory_objects, usage.memory_bytes) == (1, size)
    assert (usage.spilled_objects, usage.warm_segments) == (0, 0)
    del store["a"]
    usage = store.usage()
    assert (usage.memory_objects, usage.warm_segments, usage.warm_bytes) == (0, 1, size)
    assert store.trim(idle_s=3600) == 0
    assert store.trim(idle_s=0) == size
    assert store.usage().warm_segments == 0
