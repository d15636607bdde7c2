"""`put` and `get`: values, their copies, their order, their time."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import parallax as px
from tests.conformance.gates import Gate
from tests.conformance.tasks import same, stop_at

pytestmark = pytest.mark.usefixtures("session")


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    y: int


VALUES = [
    None,
    True,
    0,
    -(10**30),
    1.5,
    1j,
    "text",
    "",
    b"bytes",
    bytearray(b"array"),
    [1, [2, [3]]],
    (1, 2),
    {"a": {1, 2}},
    frozenset({1}),
    range(5),
    slice(1, 2),
    ...,
    Colour.RED,
    Point(1, 2),
    datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
    decimal.Decimal("1.1"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
    pathlib.PurePosixPath("/a/b"),
    re.compile("a+"),
    collections.OrderedDict(a=1),
    collections.Counter("aab"),
    int,
    Point,
    np.float32(1.5),
    np.int64(3),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(value: Any) -> None:
    for ref in (px.put(value), same.remote(value), same.remote(px.put(value))):
        back = px.get(ref)
        assert type(back) is type(value)
        assert back == value


@pytest.mark.parametrize("size", [0, 10, 65_536, 65_537, 3_000_000])
def test_bytes_of_any_size(size: int) -> None:
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert px.get(px.put(value)) == value
    assert px.get(same.remote(value)) == value


ARRAYS = {
    "small": np.arange(10),
    "large": np.arange(500_000, dtype=float).reshape(1000, 500),
    "strided": np.arange(500_000)[::3],
    "fortran": np.asfortranarray(np.arange(60_000.0).reshape(200, 300)),
    "empty": np.empty((0, 3)),
    "scalar": np.array(5),
    "datetime": np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]"),
    "records": np.array([(1, 2.0)] * 20_000, dtype=[("a", "i4"), ("b", "f8")]),
    "strings": np.array(["a", "bc"]),
    "objects": np.array([{"a": 1}, None], dtype=object),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(name: str) -> None:
    value = ARRAYS[name]
    for ref in (px.put(value), same.remote(value)):
        back = px.get(ref)
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        assert (back == value).all()


@pytest.mark.parametrize("name", ["small", "large", "strided", "datetime"])
def test_arrays_are_read_only_here_and_in_tasks(name: str) -> None:
    @px.remote
    def change(array: Any) -> None:
        array[0] = array[1]

    ref = px.put(ARRAYS[name])
    with pytest.raises(ValueError, match="read-only"):
        change.function(px.get(ref))
    with pytest.raises(ValueError, match="read-only"):
        px.get(change.remote(ref))
    with pytest.raises(ValueError, match="read-only"):
        change.function(px.get(same.remote(ref)))


def test_tables_and_frames() -> None:
    frame = pd.DataFrame({"a": np.arange(50_000), "b": ["x", "y"] * 25_000})
    table = pa.table({"a": list(range(1000))})
    back_frame, back_table = px.get(same.remote([frame, table]))
    pd.testing.assert_frame_equal(back_frame, frame)
    assert back_table.equals(table)


@pytest.mark.needs("processes", "parallax")
def test_large_arrays_are_views_of_one_memory() -> None:
    ref = px.put(ARRAYS["large"])
    addresses = {px.get(ref).__array_interface__["data"][0] for _ in range(3)}
    assert len(addresses) == 1


def test_objects_are_immutable() -> None:
    value = {"items": [1, 2]}
    array = np.zeros(100_000)
    ref, array_ref = px.put(value), px.put(array)
    # When the original and what somebody got are changed,
    value["items"].append(3)
    array[:] = 1
    px.get(ref)["items"].append(4)
    # then the object is what it was.
    assert px.get(ref) == {"items": [1, 2]}
    assert (px.get(array_ref) == 0).all()


def test_a_view_never_changes_under_its_reader() -> None:
    views = []
    for i in range(20):
        ref = px.put(np.full(50_000, i))
        views.append(px.get(ref))
        del ref
    assert all((view == i).all() for i, view in enumerate(views))


def test_put_of_a_ref_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="ref"):
        px.put(px.put(1))
    assert px.get(px.get(px.put([px.put(1)]))[0]) == 1


def test_get_keeps_the_order() -> None:
    refs = [same.remote(i) for i in range(20)] + [px.put(20)]
    assert px.get(refs) == list(range(21))
    assert px.get(refs[::-1]) == list(range(21))[::-1]


def test_get_takes_any_sequence_and_duplicates() -> None:
    ref = same.remote(1)
    assert px.get((ref, ref)) == [1, 1]
    assert px.get([ref] * 5) == [1] * 5
    assert px.get([]) == []


@pytest.mark.parametrize(
    "wrong", [5, None, "ref", b"ref", [1], [px.ObjectRef, 5], {"a": 1}, object()]
)
def test_get_of_something_else_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="ObjectRef"):
        px.get(wrong)


def test_get_with_one_wrong_item_names_it() -> None:
    with pytest.raises(TypeError, match=r"item 1.*int.*5"):
        px.get([px.put(1), 5])


def test_the_first_error_raises() -> None:
    @px.remote
    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(ZeroDivisionError):
        px.get([same.remote(1), fail.remote(ZeroDivisionError())])


@pytest.mark.needs("concurrency")
def test_the_first_error_raises_at_once(gate: Gate) -> None:
    @px.remote
    def fail() -> None:
        raise ZeroDivisionError

    slow = stop_at.remote(gate)
    with pytest.raises(ZeroDivisionError):
        px.get([slow, fail.remote()])
    gate.open()
    assert px.get(slow) == 1


@pytest.mark.needs("concurrency")
def test_timeout(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    gate.wait_for(1)
    started_at = time.monotonic()
    with pytest.raises(px.errors.GetTimeoutError) as caught:
        px.get(ref, timeout=0.05)
    assert time.monotonic() - started_at >= 0.05
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, px.errors.ParallaxError)
    # The task goes on.
    gate.open()
    assert px.get(ref, timeout=30) == 1


@pytest.mark.needs("concurrency")
def test_timeout_0_polls(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    gate.wait_for(1)
    with pytest.raises(px.errors.GetTimeoutError):
        px.get(ref, timeout=0)
    gate.open()
    px.wait([ref])
    assert px.get(ref, timeout=0) == 1


def test_what_is_there_is_there_without_waiting() -> None:
    ref = same.remote(5)
    px.wait([ref])
    assert px.get([ref, ref], timeout=0) == [5, 5]
    assert px.get(px.put(6), timeout=0) == 6


@pytest.mark.needs("parallax")
@pytest.mark.parametrize("timeout", [-1, "1", True, float("nan")])
def test_a_timeout_that_makes_no_sense(timeout: Any) -> None:
    with pytest.raises(px.errors.UsageError, match="timeout"):
        px.get(px.put(1), timeout=timeout)


def test_get_is_thread_safe() -> None:
    refs = [same.remote(i) for i in range(50)]
    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda _: px.get(refs), range(32)))
    assert results == [list(range(50))] * 32


def test_all_verbs_are_thread_safe() -> None:
    def work(i: int) -> Any:
        ref = px.put(i)
        refs = [same.remote(ref), same.remote(i)]
        px.wait(refs, num_returns=2)
        return px.get(refs)

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(work, range(200))) == [[i, i] for i in range(200)]


@pytest.mark.needs("concurrency")
def test_a_thread_that_waits_does_not_block_the_others(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    values: list[int] = []
    thread = threading.Thread(target=lambda: values.append(px.get(ref)))
    thread.start()
    assert px.get(same.remote(2)) == 2
    gate.open()
    thread.join(30)
    assert values == [1]
