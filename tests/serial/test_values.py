"""Values survive the round trip, arrays as read-only views, code by value."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import pickle
import subprocess
import sys
import textwrap
import threading
import types
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from parallax.errors import SerializationError, UsageError
from parallax.serial import refs
from parallax.serial.envelope import open_sealed, seal
from parallax.serial.values import INLINE_LIMIT_BYTES, Packed, dumps, loads, pack, unpack

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.just(...)
)
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=40)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
    ),
    max_leaves=60,
)


def round_trip(value: Any, **options: Any) -> Any:
    packed = pack(value, **options)
    return unpack(packed.data, packed.buffers)


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: float
    tags: list[str]


class Ref:
    """As `ObjectRef` does: it notes itself when it is pickled."""

    def __init__(self, object_id: int) -> None:
        self.object_id = object_id

    def __reduce__(self) -> tuple[Any, ...]:
        refs.note(self.object_id)
        return Ref, (self.object_id,)


# ---- any value ----


@given(VALUES)
def test_plain_values_survive(value: Any) -> None:
    result = round_trip(value)
    assert result == value
    assert type(result) is type(value)
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2026, 1, 2, 3, 4),
        Colour.RED,
        Point(1.5, ["a"]),
        OrderedDict(a=1),
        Counter("aab"),
        defaultdict(list, a=[1]),
        range(10),
        slice(1, 2),
        Path("a/b"),
        bytearray(b"abc"),
        math.sin,
        len,
        Point,
        [(Point(1, []), {"k": {Colour.RED}})],
        {(1, (2, "a")): [None]},
        np.float32(1.5),
        np.int64(2),
        np.datetime64("2026-01-02"),
        np.str_("text"),
    ],
)
def test_objects_survive(value: Any) -> None:
    result = round_trip(value)
    assert result == value
    assert type(result) is type(value)


def test_nan_survives() -> None:
    assert math.isnan(round_trip(math.nan))


def test_cycles_and_shared_parts_survive() -> None:
    loop: list[Any] = []
    loop.append(loop)
    result = round_trip(loop)
    assert result[0] is result
    shared = [1]
    first, second = round_trip((shared, shared))
    assert first is second


def test_an_immutable_constant_costs_nothing() -> None:
    assert pack(None).data is pack(None).data
    assert pack(1).buffers == []


def test_every_packed_value_has_lists_of_its_own() -> None:
    pack(1).refs.append(7)
    assert pack(1).refs == []


@given(st.integers(0, 200_000))
def test_bytes_above_the_limit_are_not_copied_into_a_stream(size: int) -> None:
    for kind in (bytes, bytearray):
        packed = pack(kind(size))
        assert (len(packed.buffers) == 1) == (size > INLINE_LIMIT_BYTES)
        result = unpack(packed.data, packed.buffers)
        assert type(result) is kind
        assert result == bytes(size)


# ---- arrays, tables, frames ----

SIMPLE_DTYPES = (
    npst.scalar_dtypes()
    | npst.unicode_string_dtypes()
    | npst.byte_string_dtypes()
    | npst.datetime64_dtypes()
    | npst.timedelta64_dtypes()
)


@given(
    npst.arrays(SIMPLE_DTYPES, npst.array_shapes(min_dims=0, min_side=0)),
    st.sampled_from(["as is", "transposed", "strided", "backwards", "fortran"]),
    st.sampled_from([0, INLINE_LIMIT_BYTES]),
)
def test_arrays_come_back_as_read_only_views(
    array: np.ndarray[Any, Any], layout: str, inline_limit: int
) -> None:
    if layout == "transposed":
        array = array.T
    elif layout == "fortran":
        array = np.asfortranarray(array)
    elif array.ndim:
        array = {"strided": array[::2], "backwards": array[::-1]}.get(layout, array)
    packed = pack(array, inline_limit=inline_limit)
    assert bool(packed.buffers) == (inline_limit == 0)
    result = unpack(packed.data, packed.buffers)
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()
    assert not result.flags.writeable


ARRAYS = {
    "plain": np.arange(100_000),
    "fortran": np.asfortranarray(np.ones((400, 300))),
    "strided": np.arange(100_000)[::2],
    "datetime": np.arange(100_000).astype("M8[s]"),
    "text": np.array(["abc"] * 50_000),
    "records": np.zeros(100_000, dtype=[("a", "i4"), ("b", "f8")]),
    "big-endian": np.ones(100_000, dtype=">f4"),
    "half": np.ones(100_000, dtype="f2"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a], lambda a: {"k": (a, len)}])
def test_large_arrays_stay_out_of_band(array: np.ndarray[Any, Any], wrap: Any) -> None:
    packed = pack(wrap(array))
    assert [buffer.nbytes for buffer in packed.buffers] == [array.nbytes]
    assert len(packed.data) < 1000
    assert packed.size_bytes == len(packed.data) + array.nbytes


def test_a_contiguous_array_is_not_copied() -> None:
    array = np.arange(100_000)
    packed = pack(array)
    assert np.shares_memory(np.frombuffer(packed.buffers[0], array.dtype), array)
    assert np.shares_memory(unpack(packed.data, packed.buffers), array)


def test_shared_arrays_stay_shared() -> None:
    array = np.arange(100_000)
    packed = pack([array, array])
    assert len(packed.buffers) == 1
    first, second = unpack(packed.data, packed.buffers)
    assert first is second


def test_arrays_inside_an_array_of_objects_stay_out_of_band() -> None:
    array = np.array([np.arange(50_000), None, "x", lambda: 5], dtype=object)
    packed = pack(array)
    assert [buffer.nbytes for buffer in packed.buffers] == [400_000]
    result = unpack(packed.data, packed.buffers)
    assert (result[0] == array[0]).all()
    assert result[3]() == 5


def test_subclasses_of_arrays_keep_their_type() -> None:
    for array in (np.ma.array([1, 2], mask=[0, 1]), np.rec.array([(1, 2.0)])):
        assert type(round_trip(array)) is type(array)


def test_frames_keep_their_columns_out_of_band() -> None:
    n = 50_000
    frame = pd.DataFrame(
        {
            "i": np.arange(n),
            "f": np.arange(n) / 2,
            "t": pd.date_range("2026", periods=n, freq="s"),
            "z": pd.date_range("2026", periods=n, freq="s", tz="UTC"),
            "s": ["x", "y"] * (n // 2),
            "c": pd.Categorical(["u", "v"] * (n // 2)),
        }
    )
    packed = pack(frame)
    assert len(packed.data) < 5_000
    pd.testing.assert_frame_equal(unpack(packed.data, packed.buffers), frame)


def test_tables_keep_their_columns_out_of_band() -> None:
    table = pa.table({"a": np.arange(100_000), "s": ["abc"] * 100_000})
    packed = pack(table)
    assert len(packed.data) < 1_000
    result = unpack(packed.data, packed.buffers)
    assert result.equals(table)
    addresses = {np.frombuffer(buffer, "u1").ctypes.data for buffer in packed.buffers}
    assert result["a"].chunk(0).buffers()[1].address in addresses


# ---- code ----

SENDER = """
    import sys
    from parallax.serial.values import dumps

    class Point:
        def __init__(self, x):
            self.x = x
        def double(self):
            return helper(self.x)

    def helper(x):
        return 2 * x

    values = [Point(21), helper, Point, {"k": (helper, [Point(21)])}, [[[[[[helper]]]]]]]
    sys.stdout.buffer.write(dumps(values))
"""


def test_code_of_main_goes_by_value() -> None:
    # Given values that hold functions and classes of another process's __main__
    command = [sys.executable, "-c", textwrap.dedent(SENDER)]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    # When they are unpacked where __main__ knows neither
    point, helper, kind, nested, deep = loads(data)
    # Then they work
    assert point.double() == helper(21) == kind(21).double() == 42
    assert nested["k"][0](1) == 2
    assert nested["k"][1][0].double() == 42
    assert deep[0][0][0][0][0][0](2) == 4


class Child(Point):
    def parent(self) -> Any:
        return super()


def test_dill_takes_what_cloudpickle_refuses() -> None:
    parent = Child(1.5, []).parent()
    with pytest.raises(pickle.PicklingError):
        cloudpickle.dumps(parent)
    array = np.arange(100_000)
    packed = pack([parent, array, Ref(5)])
    # Only that object is dill's: the rest goes as it always does.
    assert packed.refs == [5]
    assert len(packed.buffers) == 1
    assert unpack(packed.data, packed.buffers)[0].__repr__() == parent.__repr__()


def test_what_nobody_can_pickle_is_named_with_its_path() -> None:
    with pytest.raises(SerializationError, match=r"lock") as caught:
        pack({"config": [1, threading.Lock()]})
    assert "config" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_errors_of_parallax_itself_pass_through() -> None:
    class Refuses:
        def __reduce__(self) -> Any:
            raise UsageError("this ref belongs to a cluster that is gone")

    with pytest.raises(UsageError, match="gone"):
        pack([Refuses()])


@pytest.mark.parametrize("lost", ["module", "class"])
def test_a_class_that_is_not_here_is_named_with_the_cure(
    lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = types.ModuleType("made_for_this_test")
    exec("class Far: pass", made.__dict__)
    monkeypatch.setitem(sys.modules, "made_for_this_test", made)
    packed = pack(made.Far())
    if lost == "module":
        monkeypatch.delitem(sys.modules, "made_for_this_test")
    else:
        del made.__dict__["Far"]
    with pytest.raises(SerializationError, match=r"made_for_this_test.*must be importable here"):
        unpack(packed.data, packed.buffers)


def test_packing_twice_inside_itself() -> None:
    assert round_trip(Nested([1, np.arange(3)])).value[1][2] == 2


class Nested:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _unnest, (dumps(self.value),)


def _unnest(data: bytes) -> Nested:
    return Nested(loads(data))


# ---- refs ----


def test_refs_inside_a_value_are_recorded() -> None:
    value = {"a": [Ref(5), (Ref(6),)], "b": np.arange(3)}
    assert sorted(pack(value).refs) == [5, 6]
    assert pack([1, 2]).refs == []


def test_packing_records_refs_for_nobody_else() -> None:
    with refs.collecting() as outer:
        assert pack([Ref(5)]).refs == [5]
    assert outer == []


# ---- the envelope ----


@given(st.binary(), st.lists(st.binary()))
def test_an_envelope_gives_back_what_went_in(stream: bytes, buffers: list[bytes]) -> None:
    data = seal(stream, [memoryview(buffer) for buffer in buffers])
    for form in (data, memoryview(b"x" + data)[1:]):
        got, parts = open_sealed(form)
        assert bytes(got) == stream
        assert [bytes(part) for part in parts] == buffers
        assert all(part.readonly for part in parts)


@given(st.binary())
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    if data[:1] != b"\x80":
        with pytest.raises(ValueError, match=r"value|cut short"):
            unpack(data)


@given(st.integers(0, 200), st.data())
def test_a_damaged_envelope_is_an_error(cut: int, data: st.DataObject) -> None:
    sealed = pack(np.arange(100)).data
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        unpack(sealed[: len(sealed) - 1 - cut])
    with pytest.raises(ValueError, match="packed value"):
        unpack(sealed + b"x")


def test_small_arrays_are_aligned_wherever_the_message_lies() -> None:
    data = pack(np.arange(100.0)).data
    for offset in range(1, 9):
        shifted = memoryview(bytes(offset) + data)[offset:]
        assert unpack(shifted).flags.aligned


def test_the_repr_says_how_large_a_value_is() -> None:
    assert repr(Packed(b"abc", [memoryview(b"de")])) == "Packed(5 bytes, 1 buffers, refs=[])"
