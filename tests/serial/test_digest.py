"""Digests: equal values have equal ones, different values different ones, anywhere and any time."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import functools
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.errors import UsageError
from parallax.serial.digest import digest
from tests.serial.notebook import ROOT, Notebook

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(codec=None), max_size=5)
    | st.binary(max_size=5)
)
KEYS = st.integers(-3, 3) | st.booleans() | st.text("ab", max_size=2) | st.floats(-1, 1)
VALUES = st.recursive(
    ATOMS | st.lists(st.integers(-2, 2) | st.floats(-1, 1) | st.none(), min_size=15, max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS | st.frozensets(KEYS, max_size=2), max_size=4)
    ),
    max_leaves=12,
)


def exact(value: Any) -> Any:
    """Equal just where two values are equal, in their types, too."""
    kind = type(value)
    if kind is float:
        return kind, struct.pack("<d", value)
    if kind is complex:
        return kind, struct.pack("<2d", value.real, value.imag)
    if kind in (list, tuple):
        return kind, tuple(map(exact, value))
    if kind in (set, frozenset):
        return kind, frozenset(map(exact, value))
    if kind is dict:
        return kind, frozenset((exact(key), exact(item)) for key, item in value.items())
    return kind, value


def shuffled(value: Any, chance: random.Random) -> Any:
    """An equal value, filled in another order."""
    kind = type(value)
    if kind in (list, tuple):
        return kind(shuffled(item, chance) for item in value)
    if kind is dict:
        pairs = [(key, shuffled(item, chance)) for key, item in value.items()]
        chance.shuffle(pairs)
        return dict(pairs)
    if kind is set:
        items = list(value)
        chance.shuffle(items)
        return set(items)
    return copy.deepcopy(value)


@given(VALUES, st.randoms(use_true_random=False))
def test_equal_values_have_equal_digests(value: Any, chance: random.Random) -> None:
    assert digest(shuffled(value, chance)) == digest(value)


@given(VALUES, VALUES)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (exact(one) == exact(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("a", b"a"),
        (b"a", bytearray(b"a")),
        ([1], (1,)),
        ({1}, frozenset({1})),
        ([[1], 2], [[1, 2]]),
        (["ab", "c"], ["a", "bc"]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({}, set()),
        (None, ()),
        (2**64, -(2**64)),
        (np.float64(1), 1.0),
        (np.zeros(2), [0.0, 0.0]),
        (np.zeros(2), np.zeros((1, 2))),
        (np.zeros(2), np.zeros(2, "i8")),
        (int, float),
        (len, max),
        (range(3), range(4)),
    ],
    ids=repr,
)
def test_what_looks_alike_and_is_not(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


# ---- arrays, frames and tables ------------------------------------------------------------


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_arrays_are_their_elements_however_they_lie(array: np.ndarray[Any, Any]) -> None:
    expected = digest(array)
    assert digest(np.asfortranarray(array) if array.ndim else array.copy()) == expected
    wide = np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
    assert digest(wide) == expected
    readonly = array.copy()
    readonly.flags.writeable = False
    assert digest(readonly) == expected


@given(hnp.arrays("u1", st.integers(1, 40)), st.data())
def test_any_byte_of_an_array_counts(array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    before = digest(array)
    array[data.draw(st.integers(0, len(array) - 1))] ^= data.draw(st.integers(1, 255))
    assert digest(array) != before


def test_large_arrays_that_do_not_lie_in_order() -> None:
    array = np.arange(3 * 400_000.0).reshape(3, -1)
    assert digest(np.asfortranarray(array)) == digest(array)
    assert digest(np.ascontiguousarray(array.T)) == digest(array.T)
    changed = np.asfortranarray(array)
    changed[2, 399_999] += 1
    assert digest(changed) != digest(array)


def test_arrays_of_objects_and_records() -> None:
    assert digest(np.array(["a", None, 3], object)) == digest(np.array(["a", None, 3], object))
    assert digest(np.array(["a", None], object)) != digest(np.array(["a", "b"], object))
    records = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    assert digest(records) == digest(records.copy())
    assert digest(records) != digest(records.view([("a", "i4"), ("c", "f8")]))


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [0.5, float("nan"), 2.0],
            "s": ["x", "y", None],
            "t": pd.date_range("2024-01-01", periods=3),
            "c": pd.Categorical(["u", "v", "u"]),
            "n": pd.array([1, None, 3], dtype="Int64"),
        },
        index=pd.Index([7, 8, 9], name="key"),
    )


def test_frames_are_their_columns_however_they_are_stored() -> None:
    one, other = frame(), frame()
    other["z"] = 1
    del other["z"]
    assert digest(one) == digest(other) == digest(one.copy())
    numbers = np.arange(6.0).reshape(3, 2)
    by_column = pd.DataFrame({"a": numbers[:, 0].copy(), "b": numbers[:, 1].copy()})
    assert digest(pd.DataFrame(numbers, columns=["a", "b"])) == digest(by_column)


@pytest.mark.parametrize("column", ["i", "f", "s", "t", "c", "n"])
def test_any_column_of_a_frame_counts(column: str) -> None:
    changed = frame()
    changed[column] = changed[column].to_numpy()[[1, 0, 2]]
    assert digest(changed[column]) != digest(frame()[column])
    assert digest(changed) != digest(frame())
    assert digest(frame().rename(columns={column: "other"})) != digest(frame())


def test_the_index_and_name_count() -> None:
    series = pd.Series([1, 2], name="a")
    assert digest(series) == digest(pd.Series([1, 2], name="a"))
    assert digest(series) != digest(series.rename("b"))
    assert digest(series) != digest(series.set_axis([5, 6]))
    assert digest(pd.MultiIndex.from_product([[1, 2], ["a", "b"]])) == digest(
        pd.MultiIndex.from_product([[1, 2], ["a", "b"]])
    )


def test_tables_are_their_columns_in_however_many_chunks() -> None:
    table = pa.table({"i": [1, 2, 3, 4], "s": ["a", None, "c", "d"], "n": [1.0, None, 3.0, 4.0]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert chunked.column("s").num_chunks == 2
    assert digest(chunked) == digest(table)
    assert digest(table.slice(1, 2)) == digest(table.take([1, 2]))
    assert digest(table.slice(1, 2)) != digest(table.slice(2, 2))
    assert digest(table) != digest(table.replace_schema_metadata({"a": "b"}))
    assert digest(table.column("i")) != digest(table.column("s"))
    assert digest(pa.array([1, None])) == digest(pa.array([1, None]))


# ---- objects ------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    x: int
    y: Any = None


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Tagged(set[str]):
    pass


class Named:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def test_objects_are_what_they_are_made_of() -> None:
    assert digest(Point(1, {2, 3})) == digest(Point(1, {3, 2}))
    assert digest(Point(1)) != digest(Point(2))
    assert digest(Point(1)) != digest(Frozen(1))
    assert digest(Frozen(1, [1])) == digest(Frozen(1, [1]))
    assert digest(Frozen(1, [1])) != digest(Frozen(1, [2]))
    assert digest(Colour.RED) == digest(Colour(1)) != digest(Colour.BLUE)
    assert digest(Named(a=1, b=2)) == digest(Named(b=2, a=1)) != digest(Named(a=2, b=1))
    assert digest(Tagged("abc")) == digest(Tagged("cba")) != digest(Tagged("ab"))
    assert digest(collections.Counter("abba")) == digest(collections.Counter("baab"))
    assert digest(functools.partial(int, base=2)) != digest(functools.partial(int, base=3))


def test_the_order_counts_where_it_counts_for_equality() -> None:
    ordered = collections.OrderedDict(a=1, b=2)
    assert digest(ordered) != digest(collections.OrderedDict(b=2, a=1))
    assert digest(collections.defaultdict(int, a=1, b=2)) == digest(
        collections.defaultdict(int, b=2, a=1)
    )


def test_parts_that_are_one_object_are_as_good_as_two() -> None:
    part = [1, "two"]
    assert digest([part, part]) == digest([[1, "two"], [1, "two"]])


def test_values_that_contain_themselves() -> None:
    one: list[Any] = [1]
    one.append(one)
    other: list[Any] = [1]
    other.append(other)
    assert digest(one) == digest(other) != digest([1, [1]])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (threading.Lock(), "cannot pickle '_thread.lock' object"),
        ([{"deep": threading.Lock()}], "cannot pickle '_thread.lock' object"),
        ((i for i in "abc"), "cannot pickle 'generator' object"),
    ],
    ids=["lock", "inside", "generator"],
)
def test_what_has_no_content_is_named(value: Any, why: str) -> None:
    with pytest.raises(UsageError, match=f"^argument 'x' of f cannot be part .*: TypeError: {why}"):
        digest(value, name="argument 'x' of f")


def test_what_is_nested_too_deep() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UsageError, match="nested too deep"):
        digest(value)
    while value:  # one by one: the interpreter's own clean-up nests as deep
        value = value.pop()


# ---- code ---------------------------------------------------------------------------------

CELL = """
import functools
import math
import re
import typing
from dataclasses import dataclass

N = 20
LOOKUP = {"a": 1, "b": [2, 3]}

@dataclass
class Config:
    depth: int = 3
    def deeper(self):
        return Config(self.depth + 1)

T = typing.TypeVar("T")

class Generic(typing.Generic[T]):
    pattern = re.compile("a+")

class Base(Generic[int]):
    @staticmethod
    def s(): return 1
    @classmethod
    def c(cls): return cls
    @property
    def p(self): return N

@functools.lru_cache
def cached(x): return x + N

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)

def helper(x):
    return math.sqrt(x) * N + cached(x) + LOOKUP["a"]

def f(x, y={"default"}, *, z=2):
    # a comment
    def inner(): return helper(x)
    return inner() if x in {"one", "two", "three"} else Config(), Base, even(3)
"""


def digest_of(cell: str, name: str = "f") -> bytes:
    notebook = Notebook()
    notebook.run(cell)
    return digest(notebook[name])


def test_a_function_is_the_same_in_another_notebook() -> None:
    assert digest_of(CELL) == digest_of(CELL)
    assert digest_of("\n\nunrelated = 1\n" + CELL.replace("# a comment", "# another")) == (
        digest_of(CELL)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("N = 20", "N = 21"),
        ('"a+"', '"a*"'),
        ("[2, 3]", "[2, 4]"),
        ("math.sqrt", "math.cbrt"),
        ("x + N", "x - N"),
        ("depth: int = 3", "depth: int = 4"),
        ("self.depth + 1", "self.depth + 2"),
        ("def s(): return 1", "def s(): return 2"),
        ("def c(cls): return cls", "def c(cls): return 1"),
        ("def p(self): return N", "def p(self): return 1"),
        ("n != 0", "n > 0"),
        ('{"default"}', '{"other"}'),
        ("z=2", "z=3"),
        ("z=2", "w=2"),
        ('"three"', '"four"'),
        ("def inner(): return helper(x)", "def inner(): return helper(y)"),
    ],
)
def test_all_that_a_function_reads_counts(old: str, new: str) -> None:
    assert CELL.count(old) == 1
    assert digest_of(CELL.replace(old, new)) != digest_of(CELL)


def test_a_closure_counts() -> None:
    def adder(n: int) -> Any:
        return lambda x: x + n

    assert digest(adder(1)) == digest(adder(1)) != digest(adder(2))


def test_functions_that_all_call_one_another() -> None:
    names = [f"f{i}" for i in range(40)]
    calls = ", ".join(f"{name}(n - 1)" for name in names)
    cell = "\n".join(f"def {name}(n): return n and ({calls})" for name in names)
    assert digest_of(cell, "f0") == digest_of(cell, "f0")
    assert digest_of(cell.replace("f39(n)", "f39(n, m=1)"), "f0") != digest_of(cell, "f0")


def test_a_captured_lock_is_refused() -> None:
    notebook = Notebook()
    notebook.run("import threading\nlock = threading.Lock()\ndef f():\n    return lock")
    with pytest.raises(UsageError, match=r"the function f, .* cannot pickle '_thread.lock'"):
        digest(notebook["f"], name="the function f, with what it captures,")


def test_the_source_of_a_local_module_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "digest_deep.py").write_text("K = 1\n")
    helpers = tmp_path / "digest_helpers.py"
    helpers.write_text("import digest_deep\ndef h(x): return x\nclass C: pass\n")
    cell = "import digest_helpers\ndef f(): return digest_helpers.h(1)"
    inside = "def f():\n    import digest_helpers\n    return digest_helpers.h(1)"
    import digest_helpers  # type: ignore[import-not-found]

    def all_digests() -> list[bytes]:
        instance = digest(digest_helpers.C())
        return [digest_of(cell), digest_of(inside), digest(digest_helpers.h), instance]

    before = all_digests()
    assert all_digests() == before
    (tmp_path / "digest_deep.py").write_text("K = 123456\n")
    after = all_digests()
    assert not set(before) & set(after)
    helpers.write_text(helpers.read_text() + "\nX = 123456\n")
    assert not set(after) & set(all_digests())
    del sys.modules["digest_helpers"], sys.modules["digest_deep"]


SEED_SCRIPT = """
import numpy, sys
from tests.serial.notebook import Notebook
from tests.serial.test_digest import CELL, frame
from parallax.serial.digest import digest
notebook = Notebook()
notebook.run(CELL)
value = [notebook["f"], notebook["Config"](), notebook["Base"], {"x", "y", "z"}, frame(),
         {("a", 1): {3.5, "q"}, "b": numpy.arange(3)}, frozenset("hello")]
print(digest(value).hex())
"""


def test_another_process_with_another_hash_seed_comes_to_the_same() -> None:
    def run(seed: int) -> str:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", SEED_SCRIPT],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    assert run(1) == run(2)
