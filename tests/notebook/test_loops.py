"""Cells of `%%parallel for` as code: what they compute, and what they refuse."""

from __future__ import annotations

import ast
import types
from typing import Any

import pytest

from parallax.notebook.cells import Cell
from parallax.notebook.loops import Loop, compile_comprehension, compile_loop


def loop(clauses: str, body: str, **namespace: Any) -> Loop:
    cell = Cell(f"%%parallel {clauses}\n{body}", "<cell>", 2)
    return compile_loop(clauses, body, cell, namespace)


def values(clauses: str, body: str, **namespace: Any) -> list[Any]:
    made = loop(clauses, body, **namespace)
    return [made.function(*item) for item in made.items()]


@pytest.mark.parametrize(
    ("clauses", "body", "expected"),
    [
        ("for x in range(3)", "x * 2", [0, 2, 4]),
        ("for x in xs if x > 1", "y = x + 1\ny", [3, 4]),
        ("for i, (a, b) in enumerate([(1, 2), (3, 4)])", "i, a + b", [(0, 3), (1, 7)]),
        ("for a in xs for b in range(a)", "a * b", [0, 0, 2, 0, 3, 6]),
        ("for first, *rest in [(1, 2, 3)]", "rest", [[2, 3]]),
        ("for x in xs", "y = x", [None, None, None]),
        ("for x in xs", "if x == 2:\n    continue\nx", [1, None, 3]),
        ("for x in xs", "for y in range(9):\n    if y == x: break\n    continue\ny", [1, 2, 3]),
        ("for x in xs", "for y in []:\n    pass\nelse:\n    continue\nx", [None, None, None]),
        ("for x in xs", "total = total + x\ntotal", [101, 102, 103]),
        ("for x in xs", "n = 1\nn += x\nn", [2, 3, 4]),
        ("for x in xs", "x += 1\nx", [2, 3, 4]),
        ("for x in xs", "def twice():\n    return 2 * x\ntwice()", [2, 4, 6]),
        ("for x in xs", "[total for total in range(x)]", [[0], [0, 1], [0, 1, 2]]),
        ("for x in xs", "import math\nmath.floor(x + 0.5)", [1, 2, 3]),
        ("for x in xs", "names = []\nnames.append(x)\nnames", [[1], [2], [3]]),
        ("for x in xs", "[y := x, y][1]", [1, 2, 3]),
    ],
)  # fmt: skip
def test_what_a_cell_computes(clauses: str, body: str, expected: list[Any]) -> None:
    assert values(clauses, body, xs=[1, 2, 3], total=100) == expected


def test_items_are_made_when_they_are_asked_for() -> None:
    def endless() -> Any:
        for number in range(10**9):
            made.append(number)
            yield number

    made: list[int] = []
    items = loop("for x in endless()", "x", endless=endless).items()
    assert made == []
    assert [next(items), next(items)] == [(0,), (1,)]
    assert made == [0, 1]


def test_the_notebooks_names_are_as_they_were() -> None:
    namespace = {"x": "mine", "xs": [1]}
    made = loop("for x in xs", "y = x\ny", **namespace)
    assert [made.function(*item) for item in made.items()] == [1]
    assert namespace["x"] == "mine"
    assert "y" not in namespace


def test_the_lines_are_the_cells() -> None:
    made = loop("for x in [0]", "\ny = x\n1 / y")
    with pytest.raises(ZeroDivisionError) as caught:
        made.function(0)
    frame = caught.tb.tb_next
    assert frame is not None
    assert (frame.tb_frame.f_code.co_filename, frame.tb_lineno) == ("<cell>", 4)


@pytest.mark.parametrize(
    ("body", "line", "why"),
    [
        ("x\nreturn x", 3, "the value is the last expression"),
        ("yield x", 2, "there is no generator here"),
        ("await x", 2, "neither await"),
        ("if x:\n    break", 3, "none can break the loop"),
        ("global total\ntotal = x", 2, "cannot assign to the notebook's names"),
        ("total += x", 2, "each item has a copy of total"),
        ("unknown += x", 2, "each item has a copy of unknown"),
        ("found.append(x)", 2, "each item has a copy of found"),
        ("x\nif x:\n    table['a'] = x", 4, "each item has a copy of table"),
        ("table['a']['b'] += x", 2, "each item has a copy of table"),
        ("del table['a']", 2, "each item has a copy of table"),
        ("thing.value = x", 2, "each item has a copy of thing"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(body: str, line: int, why: str) -> None:
    namespace = {"xs": [1], "total": 0, "found": [], "table": {}, "thing": types.SimpleNamespace()}
    with pytest.raises(SyntaxError, match=why) as caught:
        loop("for x in xs", body, **namespace)
    assert (caught.value.filename, caught.value.lineno) == ("<cell>", line)
    assert caught.value.text == f"%%parallel for x in xs\n{body}".splitlines()[line - 1]


@pytest.mark.parametrize(
    "body",
    [
        "found = list(found)\nfound.append(x)\nfound",
        "module.setting = x",
        "text.join([])",
        "[found.append for _ in ()]",
    ],
)
def test_what_changes_nothing_of_the_notebooks_is_let_be(body: str) -> None:
    loop("for x in xs", body, xs=[1], found=[], module=types.ModuleType("m"), text="")


@pytest.mark.parametrize(
    ("clauses", "why"),
    [
        ("x in xs", "must read `for x in xs`"),
        ("for x", "must read `for x in xs`"),
        ("for x in xs] + [1", "must read `for x in xs`"),
        ("for a.b in xs", "must be a plain name"),
        ("for d[0] in xs", "must be a plain name"),
        ("async for x in xs", "without `async for`"),
    ],
)
def test_clauses_that_make_no_sense(clauses: str, why: str) -> None:
    with pytest.raises(SyntaxError, match=why):
        loop(clauses, "1", xs=[])


def test_a_body_that_is_no_python_shows_its_line() -> None:
    with pytest.raises(SyntaxError) as caught:
        loop("for x in xs", "y = 1\nz = = 2", xs=[])
    assert caught.value.lineno == 3
    with pytest.raises(SyntaxError, match="the cell has no body"):
        loop("for x in xs", "# nothing\n", xs=[])


def test_a_comprehension() -> None:
    node = ast.parse("[x * k for x in xs if x]", mode="eval").body
    assert isinstance(node, ast.ListComp)
    cell = Cell("%parallel [x * k for x in xs if x]", "<cell>", 1)
    made = compile_comprehension(node.generators, node.elt, cell, {"xs": [0, 1, 2], "k": 10})
    assert [made.function(*item) for item in made.items()] == [10, 20]
