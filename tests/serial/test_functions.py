"""Functions travel by content, and the guard knows when they must travel again."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import pickle
import threading
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.errors import SerializationError
from parallax.serial import refs
from parallax.serial.functions import ShippedFunction, load, ship
from parallax.serial.guard import MAX_WATCHED_ITEMS
from tests.serial.notebook import Notebook, run_python


def travel(function: Any) -> Any:
    shipped = ship(function)
    return load(shipped.blob, shipped.captured)


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


class TestWhatTravels:
    def test_a_function_with_helpers_and_globals(self, notebook: Notebook) -> None:
        notebook.run("N = 3\ndef helper(x): return x + N\ndef f(x): return helper(x) * 2")

        assert travel(notebook["f"])(1) == 8

    def test_what_has_no_module(self) -> None:
        namespace: dict[str, Any] = {}
        exec("import math\ndef f(x): return math.floor(x)", namespace)

        assert namespace["f"].__module__ is None
        assert travel(namespace["f"])(1.5) == 1
        assert travel(eval("lambda x: x * 2", {}))(2) == 4

    def test_lambdas_and_closures(self) -> None:
        def adder(n: int) -> Callable[[int], int]:
            return lambda x: x + n

        assert travel(adder(5))(1) == 6

    def test_partials_bound_methods_and_callable_objects(self, notebook: Notebook) -> None:
        notebook.run(
            """
            class Scale:
                def __init__(self, k): self.k = k
                def times(self, x): return self.k * x
                __call__ = times
            """
        )
        scale = notebook["Scale"](3)

        assert travel(functools.partial(scale.times, 2))() == 6
        assert travel(scale.times)(5) == 15
        assert travel(scale)(7) == 21

    def test_async_and_generator_functions(self, notebook: Notebook) -> None:
        notebook.run("async def a(x): return x + 1\ndef g(n):\n    for i in range(n): yield i")

        assert asyncio.run(travel(notebook["a"])(1)) == 2
        assert list(travel(notebook["g"])(3)) == [0, 1, 2]

    def test_classes(self, notebook: Notebook) -> None:
        notebook.run("class Counter:\n    start = 5\n    def next(self): return self.start + 1")

        assert travel(notebook["Counter"])().next() == 6

    def test_a_cached_function_of_the_notebook(self, notebook: Notebook) -> None:
        notebook.run(
            """
            import functools
            @functools.lru_cache(maxsize=7)
            def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
            def f(n): return fib(n), fib.cache_info().maxsize
            """
        )

        assert travel(notebook["f"])(30) == (832040, 7)

    def test_library_functions_go_by_reference(self) -> None:
        shipped = ship(math.sqrt)

        assert load(shipped.blob) is math.sqrt
        assert shipped.modules is None
        assert not shipped.guard.stale()

    def test_loading_twice_gives_two_functions_that_both_work(self, notebook: Notebook) -> None:
        notebook.run("def f(x): return x")
        blob = ship(notebook["f"]).blob

        assert load(blob)(1) == load(blob)(1) == 1

    def test_a_class_comes_home_unchanged(self, notebook: Notebook) -> None:
        """An instance that returns must not replace the methods of the notebook's own class."""
        notebook.run("N = 1\nclass Point:\n    def n(self): return N\ndef make(): return Point()")
        method = notebook["Point"].n

        point = travel(notebook["make"])()
        notebook.run("N = 2")

        assert type(point) is notebook["Point"]
        assert notebook["Point"].n is method
        assert point.n() == 2

    def test_what_only_dill_can_pickle(self, notebook: Notebook) -> None:
        notebook.run(
            """
            class Base:
                def name(self): return "base"
            class Child(Base):
                def name(self): return "child"
            child = Child()
            parent = super(Child, child)
            def f(): return parent.name()
            """
        )
        with pytest.raises(pickle.PicklingError):
            cloudpickle.dumps(notebook["parent"])

        assert travel(notebook["f"])() == "base"

    def test_a_lock_is_refused_by_name_though_dill_would_copy_it(self, notebook: Notebook) -> None:
        notebook.names["lock"] = threading.Lock()
        notebook.run("def f(): return lock")

        with pytest.raises(SerializationError, match=r"cannot ship f: global 'lock' is a _thread"):
            ship(notebook["f"])

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        )
    )
    def test_any_captured_value_arrives_equal(self, value: Any) -> None:
        shipped = ship(lambda: value)

        assert load(shipped.blob, shipped.captured)() == value
        assert not shipped.guard.stale()


class TestRemoteFunctionsThatReferToThemselves:
    """The global that a recursive function calls is an object that wraps the function."""

    def test_by_a_reduction_that_holds_the_function(self, notebook: Notebook) -> None:
        notebook.names["Remote"] = _Remote
        notebook.run(
            """
            def fib(n): return n if n < 2 else fib.run(n - 1) + fib.run(n - 2)
            function = fib
            fib = Remote(fib)
            """
        )

        assert travel(notebook["function"])(10) == 55

    def test_by_a_reduction_that_ships_lazily(self, notebook: Notebook) -> None:
        notebook.names["Remote"] = _LazyRemote
        notebook.run(
            """
            def fib(n): return n if n < 2 else fib.run(n - 1) + fib.run(n - 2)
            function = fib
            fib = Remote(fib)
            """
        )

        assert travel(notebook["function"])(10) == 55
        assert notebook["fib"].ships == 1

    def test_the_guard_sees_through_the_wrapper(self, notebook: Notebook) -> None:
        notebook.names["Remote"] = _Remote
        notebook.run("N = 1\ndef g(): return N\ng = Remote(g)\ndef f(): return g.run()")
        guard = ship(notebook["f"]).guard

        notebook.run("N = 2")

        assert guard.stale()


class _Remote:
    def __init__(self, function: Any) -> None:
        self._function = function

    def run(self, *args: Any) -> Any:
        return self._function(*args)

    def __reduce__(self) -> Any:
        return _Remote, (self._function,)


_shipped: dict[bytes, bytes] = {}


class _LazyRemote(_Remote):
    """Refers to its function by key; whoever needs it asks for the blob when it is first run."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self.ships = 0
        self._key: bytes | None = None

    def __reduce__(self) -> Any:
        if self._key is None:
            self._key = b"under way"
            self.ships += 1
            shipped = ship(self._function)
            self._key = shipped.key
            _shipped[b"under way"] = _shipped[shipped.key] = shipped.blob
        return _ByKey, (self._key,)


class _ByKey:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def run(self, *args: Any) -> Any:
        return load(_shipped[self._key])(*args)


class TestKey:
    def test_follows_the_code(self, notebook: Notebook) -> None:
        notebook.run("def f(x): return x + 1")
        first = ship(notebook["f"]).key
        assert ship(notebook["f"]).key == first

        notebook.run("def f(x): return x + 2")
        assert ship(notebook["f"]).key != first

    def test_follows_what_the_code_reads(self, notebook: Notebook) -> None:
        notebook.run("N = 1\ndef f(): return N")
        first = ship(notebook["f"]).key

        notebook.run("N = 2")

        assert ship(notebook["f"]).key != first
        assert len(first) == 16

    def test_follows_large_values_that_stay_outside(self, notebook: Notebook) -> None:
        notebook.names["data"] = np.zeros(300_000)
        notebook.run("def f(): return data")
        first = ship(notebook["f"])

        notebook["data"][7] = 1
        second = ship(notebook["f"])

        assert first.key != second.key


class TestCaptured:
    @pytest.mark.parametrize(
        "value",
        [
            np.arange(300_000.0),
            b"x" * 2_000_000,
            bytearray(2_000_000),
            "é" * 1_500_000,
            pd.DataFrame({"a": np.arange(200_000.0)}),
            pa.table({"a": np.arange(200_000.0)}),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_large_values_stay_outside(self, notebook: Notebook, value: Any) -> None:
        notebook.names["data"] = value
        notebook.run("def f(): return data")

        shipped = ship(notebook["f"])

        assert len(shipped.blob) < 10_000
        assert shipped.captured == [value] or shipped.captured[0] is value
        assert shipped.captured_names == ["data"]
        assert load(shipped.blob, ["other"])() == "other"

    def test_their_keys_are_the_same_in_every_version(self, notebook: Notebook) -> None:
        notebook.names["data"] = np.arange(300_000.0)
        notebook.run("def f(): return data")
        first = ship(notebook["f"])

        notebook.run("def f(): return data + 1")
        notebook.names["data"] = np.arange(300_000.0)
        second = ship(notebook["f"])

        assert first.key != second.key
        assert first.captured_keys == second.captured_keys

    def test_each_once_wherever_they_hang(self) -> None:
        data = np.zeros(300_000)
        inner = {"a": [data]}

        def f() -> Any:
            return data, inner

        shipped = ship(f)
        loaded, nested = load(shipped.blob, shipped.captured)()

        assert len(shipped.captured) == 1
        assert loaded is nested["a"][0]

    def test_the_limit_can_be_chosen(self) -> None:
        data = b"x" * 5000

        shipped = ship(lambda: data, capture_limit_bytes=1000)

        assert shipped.captured == [data]

    def test_object_refs_inside_are_told(self) -> None:
        ref = _Ref(7)

        assert ship(lambda: ref).refs == [7]


class _Ref:
    def __init__(self, object_id: int) -> None:
        self.object_id = object_id

    def __reduce__(self) -> Any:
        refs.note(self.object_id)
        return _Ref, (self.object_id,)


class TestGuard:
    def stale_after(self, notebook: Notebook, cell: str) -> bool:
        guard = ship(notebook["f"]).guard
        assert not guard.stale()
        notebook.run(cell)
        return guard.stale()

    def test_a_global_bound_anew(self, notebook: Notebook) -> None:
        notebook.run("N = 10\ndef f(): return N")

        assert self.stale_after(notebook, "N = 20")

    def test_a_helper_defined_anew(self, notebook: Notebook) -> None:
        notebook.run("def h(): return 1\ndef g(): return h()\ndef f(): return g()")

        assert self.stale_after(notebook, "def h(): return 2")

    def test_what_a_nested_function_reads(self, notebook: Notebook) -> None:
        notebook.run("N = 10\ndef f(): return [(lambda: N)() for _ in range(2)]")

        assert self.stale_after(notebook, "N = 20")

    def test_a_global_that_was_missing(self, notebook: Notebook) -> None:
        notebook.run("def f(): return later")

        assert self.stale_after(notebook, "later = 1")

    def test_a_global_that_is_deleted(self, notebook: Notebook) -> None:
        notebook.run("N = 1\ndef f(): return N")

        assert self.stale_after(notebook, "del N")

    def test_a_built_in_that_is_shadowed(self, notebook: Notebook) -> None:
        notebook.run("def f(): return sum([1])")

        assert self.stale_after(notebook, "sum = max")

    def test_other_names_do_not_matter(self, notebook: Notebook) -> None:
        notebook.run("N = 1\ndef f(): return N")

        assert not self.stale_after(notebook, "M = 1\ndef other(): pass")

    def test_methods_of_the_notebooks_classes(self, notebook: Notebook) -> None:
        notebook.run("N = 1\nclass A:\n    def n(self): return N\ndef f(): return A().n()")

        assert self.stale_after(notebook, "N = 2")

    def test_closure_cells(self) -> None:
        n = 1

        def f() -> int:
            return n

        guard = ship(f).guard
        assert not guard.stale()
        n = 2
        assert guard.stale()

    def test_a_closure_cell_that_was_empty(self) -> None:
        def f() -> int:
            return later

        guard = ship(f).guard
        assert not guard.stale()
        later = 1
        assert guard.stale()

    @pytest.mark.parametrize(
        ("value", "change"),
        [
            ("[1, 2]", "value.append(3)"),
            ("[1, 2]", "value[0] = 1.0"),
            ("{'a': 1}", "value['a'] = 2"),
            ("{'a': 1}", "value['b'] = value.pop('a')"),
            ("{1, 2}", "value.add(3)"),
            ("{1, 2}", "value.remove(2); value.add(2.5)"),
            ("{'layers': [64, 64]}", "value['layers'].append(1)"),
            ("([1], 2)", "value[0].append(1)"),
            ("np.zeros(3)", "value[1] = 1"),
            ("Config()", "value.lr = 2"),
            ("[Config()]", "value[0].lr = 2"),
        ],
    )
    def test_small_values_changed_in_place(
        self, notebook: Notebook, value: str, change: str
    ) -> None:
        notebook.run("import numpy as np\nclass Config: lr = 1")
        notebook.run(f"value = {value}\ndef f(): return value")

        assert self.stale_after(notebook, change)

    def test_the_arguments_of_a_partial(self, notebook: Notebook) -> None:
        notebook.run(
            "import functools\nitems = []\ndef g(x): return x\nf = functools.partial(g, items)"
        )

        assert self.stale_after(notebook, "items.append(1)")

    def test_mutable_defaults(self, notebook: Notebook) -> None:
        notebook.run("items = []\ndef f(x=items): return x")

        assert self.stale_after(notebook, "items.append(1)")

    def test_large_containers_are_watched_by_their_name_alone(self, notebook: Notebook) -> None:
        """As documented: comparing them would cost more than many a task."""
        notebook.run(f"items = [0] * {MAX_WATCHED_ITEMS + 1}\ndef f(): return items")

        assert not self.stale_after(notebook, "items.append(1)")
        assert self.stale_after(notebook, "items = []")

    def test_an_equal_object_is_a_false_alarm_with_the_same_key(self, notebook: Notebook) -> None:
        notebook.run("N = 1000\ndef f(): return N")
        first = ship(notebook["f"])

        notebook.run("N = int('1000')")

        assert first.guard.stale()
        assert ship(notebook["f"]).key == first.key

    def test_containers_in_circles_end(self, notebook: Notebook) -> None:
        notebook.run("items = []\nitems.append(items)\ndef f(): return items")

        assert self.stale_after(notebook, "items.append(1)")


class TestSourceLines:
    def test_an_engine_shows_the_lines_of_a_cell(self, notebook: Notebook, tmp_path: Path) -> None:
        notebook.run(
            """
            # the cell's own lines
            def f(x):
                return 1 / x  # here it breaks
            """
        )
        (tmp_path / "blob").write_bytes(ship(notebook["f"]).blob)

        printed = run_python(
            """
            import inspect, json, pathlib, traceback
            from parallax.serial.functions import load
            f = load(pathlib.Path("blob").read_bytes(), [])
            try:
                f(0)
            except ZeroDivisionError:
                print(json.dumps([traceback.format_exc(), inspect.getsource(f)]))
            """,
            cwd=tmp_path,
        )

        text, source = json.loads(printed)
        assert "line 4, in f\n    return 1 / x  # here it breaks" in text
        assert source == "def f(x):\n    return 1 / x  # here it breaks\n"

    def test_the_process_that_defined_them_keeps_its_own(self, notebook: Notebook) -> None:
        notebook.run("above = 1\ndef f(): return 1 / 0")
        travel(notebook["f"])

        with pytest.raises(ZeroDivisionError) as caught:
            notebook["f"]()

        assert "def f(): return 1 / 0" in "".join(traceback.format_exception(caught.value))


class TestFunctionsOfModules:
    def test_a_function_behind_a_wrapper_goes_by_reference(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that an edit of its module takes effect."""
        module = types.ModuleType("wrapped_module")
        exec("def f(): return 1\ndef g(): return f", vars(module))
        function = vars(module)["f"]
        vars(module)["f"] = types.SimpleNamespace(__wrapped__=function)
        monkeypatch.setitem(__import__("sys").modules, "wrapped_module", module)

        assert travel(function) is function

    def test_this_modules_functions_bring_this_module(self) -> None:
        shipped = ship(travel)

        assert shipped.modules is not None
        assert __name__ in shipped.modules.sources
        assert not any(name.startswith("parallax") for name in shipped.modules.sources)
        assert "numpy" not in shipped.modules.sources


def test_the_repr_says_what_it_is() -> None:
    shipped = ship(lambda: 1)

    assert isinstance(shipped, ShippedFunction)
    assert repr(shipped).startswith(f"ShippedFunction({shipped.key.hex()[:8]}, ")
