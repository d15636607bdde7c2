"""The shared cache."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import parallax as px
from tests.conformance.gates import wait_until

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]


def test_as_a_dictionary() -> None:
    cache = px.sync.KeyValue()
    cache["a"] = 1
    cache[("b", 2)] = [1, 2]
    assert cache["a"] == 1
    assert cache[("b", 2)] == [1, 2]
    assert cache.get("c") is None
    assert cache.get("c", 5) == 5
    assert ("a" in cache, "c" in cache, len(cache)) == (True, False, 2)
    assert cache.keys() == ["a", ("b", 2)]
    del cache["a"]
    for use in (lambda: cache["a"], lambda: cache.__delitem__("a")):
        with pytest.raises(KeyError, match="a"):
            use()
    assert cache.pop(("b", 2)) == [1, 2]
    assert cache.pop(("b", 2), "none") == "none"
    assert cache
    assert len(cache) == 0


def test_many_at_once() -> None:
    cache = px.sync.KeyValue()
    cache.set_many({"a": 1, "b": np.arange(3), "c": len})
    found = cache.get_many(["a", "b", "z"])
    assert set(found) == {"a", "b"}
    assert found["b"].tolist() == [0, 1, 2]
    assert cache["c"] is len
    cache.clear()
    assert cache.keys() == []


def test_a_task_and_the_driver_share_it() -> None:
    cache = px.sync.KeyValue()

    @px.remote
    def fill(cache: px.sync.KeyValue) -> None:
        cache["array"] = np.ones(100_000)

    px.get(fill.remote(cache))
    assert cache["array"].sum() == 100_000


def test_compare_and_set() -> None:
    cache = px.sync.KeyValue()
    assert cache.compare_and_set("a", 1, 2) is False
    assert cache.compare_and_set("a", px.sync.ABSENT, [1]) is True
    assert cache.compare_and_set("a", px.sync.ABSENT, 2) is False
    assert cache.compare_and_set("a", [1], 2) is True
    assert cache["a"] == 2
    assert repr(px.sync.ABSENT) == "ABSENT"


def test_of_many_who_compare_and_set_each_succeeds_once() -> None:
    cache = px.sync.KeyValue()
    cache["sum"] = 0

    @px.remote
    def add(cache: px.sync.KeyValue) -> None:
        for _ in range(10):
            while not cache.compare_and_set("sum", before := cache["sum"], before + 1):
                continue

    px.get([add.remote(cache) for _ in range(4)])
    assert cache["sum"] == 40


def test_what_expires() -> None:
    cache = px.sync.KeyValue()
    cache.set("kept", 1, ttl_s=3600)
    cache.set("gone", 1, ttl_s=0)
    cache.set("renewed", 1, ttl_s=0.01)
    cache.set("renewed", 2)
    cache.set("soon", 1, ttl_s=0.01)
    assert "gone" not in cache
    wait_until(lambda: "soon" not in cache)
    assert cache.keys() == ["kept", "renewed"]
    assert cache["renewed"] == 2


def test_to_watch_a_key() -> None:
    cache = px.sync.KeyValue()
    cache["a"] = 0
    with cache.watch("a") as changes:
        cache["b"] = 5
        cache["a"] = 1
        assert changes.get() == px.sync.Change("a", 1)
        del cache["a"]
        assert changes.get().value is px.sync.ABSENT
        with pytest.raises(TimeoutError):
            changes.get(timeout=0.01)


def test_to_watch_all_keys_see_the_latest_change_of_each() -> None:
    cache = px.sync.KeyValue()
    with cache.watch() as changes:
        cache.set_many({"a": 1, "b": 2})
        assert [changes.get(), changes.get()] == [px.sync.Change("a", 1), px.sync.Change("b", 2)]
        for value in range(100):
            cache["a"] = value
        seen = list(itertools.takewhile(lambda change: change.value != 99, changes))
    values = [change.value for change in seen]
    assert values == sorted(set(values))


@pytest.mark.needs("concurrency")
def test_who_watches_hears_of_what_expires_though_nobody_asks() -> None:
    cache = px.sync.KeyValue()
    with cache.watch() as changes:
        cache.set("later", 1, ttl_s=0.1)
        cache.set("a", 1, ttl_s=0.01)
        seen = [changes.get(timeout=20) for _ in range(4)]
    assert [(change.key, change.value) for change in seen[2:]] == [
        ("a", px.sync.ABSENT),
        ("later", px.sync.ABSENT),
    ]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda cache: cache.get(1.5), "a key is"),
        (lambda cache: cache.set(["a"], 1), "a key is"),
        (lambda cache: cache.watch([]), "a key is"),
        (lambda cache: cache.set("a", 1, ttl_s=-1), "ttl_s=-1"),
    ],
)
def test_arguments_that_make_no_sense(use: Any, message: str) -> None:
    with pytest.raises(px.errors.UsageError, match=message):
        use(px.sync.KeyValue())


def test_names() -> None:
    cache = px.sync.KeyValue(name="cache")
    cache["a"] = 1
    assert px.sync.KeyValue(name="cache")["a"] == 1
    assert "KeyValue at <actor" in repr(cache)
