"""The function that runs is the one that stands there: redefined, rebound, edited on disk."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parallax as px

pytestmark = pytest.mark.usefixtures("session")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a local module, importable here."""
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "helpers_of_this_test.py"
    path.write_text("def helper():\n    return 1\n")
    importlib.invalidate_caches()
    yield path
    for name in [name for name in sys.modules if name.endswith("_of_this_test")]:
        del sys.modules[name]


def _notebook(cells: list[str]) -> dict[str, Any]:
    """Run cells as a notebook does: in one namespace, in `__main__`."""
    namespace: dict[str, Any] = {"__name__": "__main__", "px": px, "np": np}
    for cell in cells:
        exec(compile(textwrap.dedent(cell), "<cell>", "exec"), namespace)
    return namespace


def test_a_redefined_function_is_the_one_that_runs() -> None:
    first = """
        @px.remote
        def f():
            return 1
        one = px.get(f.remote())
        """
    namespace = _notebook([first, first.replace("1", "2")])
    assert namespace["one"] == 2


def test_a_redefined_helper_is_the_one_that_is_called() -> None:
    namespace = _notebook(
        [
            """
            def helper():
                return N

            @px.remote
            def f():
                return helper()
            N = 1
            values = [px.get(f.remote())]
            """,
            "N = 2; values.append(px.get(f.remote()))",
            """
            def helper():
                return -N
            values.append(px.get(f.remote()))
            """,
        ]
    )
    assert namespace["values"] == [1, 2, -2]


def test_a_rebound_closure_variable() -> None:
    factor = 2

    @px.remote
    def scale(x: int) -> int:
        return factor * x

    values = [px.get(scale.remote(1))]
    factor = 3
    values.append(px.get(scale.remote(1)))
    assert values == [2, 3]


def test_a_container_changed_in_place() -> None:
    weights = [1, 2]

    @px.remote
    def total() -> int:
        return sum(weights)

    values = [px.get(total.remote())]
    weights.append(3)
    values.append(px.get(total.remote()))
    assert values == [3, 6]


def test_classes_and_their_instances_travel() -> None:
    namespace = _notebook(
        [
            """
            class Point:
                def __init__(self, x):
                    self.x = x
                def __eq__(self, other):
                    return isinstance(other, Point) and other.x == self.x

            @px.remote
            def move(point):
                assert isinstance(point, Point)
                return Point(point.x + 1)
            point = px.get(move.remote(Point(1)))
            same = isinstance(point, Point) and point == Point(2)
            """
        ]
    )
    assert namespace["same"]


@pytest.mark.needs("processes", "parallax")
def test_an_edited_module_takes_effect_on_the_next_submission(module: Path) -> None:
    import helpers_of_this_test  # type: ignore[import-not-found]

    @px.remote
    def use() -> int:
        return int(helpers_of_this_test.helper())

    @px.remote
    def import_and_use() -> int:
        from helpers_of_this_test import helper

        return int(helper())

    values = [px.get([use.remote(), import_and_use.remote()])]
    for version in (2, 3):
        module.write_text(f"def helper():\n    return {version}\n")
        values.append(px.get([use.remote(), import_and_use.remote()]))
    assert values == [[1, 1], [2, 2], [3, 3]]


@pytest.mark.needs("processes", "parallax")
def test_an_edit_of_what_a_module_imports_takes_effect(module: Path) -> None:
    inner = module.with_name("inner_of_this_test.py")
    inner.write_text("N = 1\n")
    module.write_text("import inner_of_this_test\ndef helper():\n    return inner_of_this_test.N\n")
    import helpers_of_this_test

    @px.remote
    def use() -> int:
        return int(helpers_of_this_test.helper())

    values = [px.get(use.remote())]
    inner.write_text("N = 22\n")
    values.append(px.get(use.remote()))
    assert values == [1, 22]


@pytest.mark.needs("processes", "parallax")
def test_a_module_that_is_broken_now_fails_its_task_alone(module: Path) -> None:
    import helpers_of_this_test

    @px.remote
    def use() -> int:
        return int(helpers_of_this_test.helper())

    assert px.get(use.remote()) == 1
    module.write_text("def helper(:\n")
    with pytest.raises((SyntaxError, px.errors.ParallaxError)):
        px.get(use.remote())
    module.write_text("def helper():\n    return 4\n")
    assert px.get(use.remote()) == 4


@pytest.mark.needs("processes", "parallax")
def test_a_large_captured_value_is_put_once_and_said_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    weights = np.ones(500_000)

    @px.remote
    def total(x: int) -> float:
        return float(weights.sum()) + x

    assert px.get(total.map(range(5), chunk=1)) == [500_000 + x for x in range(5)]
    notes = capfd.readouterr().err
    assert notes.count("captures 'weights' (3.8 MiB)") == 1
    assert "parallax.put" in notes


def test_captured_values_are_those_of_the_version_that_was_submitted() -> None:
    weights = np.ones(500_000)

    @px.remote
    def total() -> float:
        return float(weights.sum())

    values = [px.get(total.remote())]
    weights = np.full(500_000, 2.0)
    values.append(px.get(total.remote()))
    assert values == [500_000, 1_000_000]


def test_functions_of_functions() -> None:
    @px.remote
    def apply(function: Any, x: int) -> Any:
        return function(x)

    assert px.get(apply.remote(lambda x: x + 1, 1)) == 2
    make = px.get(apply.remote(lambda n: lambda x: x * n, 3))
    assert make(2) == 6


def test_a_remote_function_is_a_value() -> None:
    @px.remote
    def inner(x: int) -> int:
        return x + 1

    @px.remote
    def outer(function: Any) -> Any:
        return px.get(function.remote(1))

    assert px.get(outer.remote(inner)) == 2


@pytest.mark.needs("processes")
def test_a_script_is_its_own_main_module(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import parallax as px

            class Point:
                def __init__(self, x):
                    self.x = x

            @px.remote
            def double(point):
                return Point(2 * point.x)

            print(px.get(double.remote(Point(4))).x)
            """
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("8\n", "")
