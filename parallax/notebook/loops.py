"""A `%%parallel for` cell as code: what makes the items, and the function that runs for each.

The body becomes a function whose arguments are the loop's variables and whose value is that of its
last expression. Its globals are the notebook's, so it is shipped like any function of a cell. It
keeps the cell's file and line numbers, so its tracebacks show the cell.
"""

from __future__ import annotations

import ast
import operator
import types
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from parallax.notebook.cells import Cell
from parallax.notebook.loop_checks import ContinueIsReturn, check_changes, check_flow
from parallax.notebook.scopes import bound_names, own_nodes, read_names

BODY = "body"
"""What the function is called in tracebacks."""


_ITERABLE = "<iterable>"
"""What the first clause iterates over: a name that no code of the user's can have."""


class Items(Iterator[tuple[Any, ...]]):
    """The items of a loop, made as they are asked for.

    Attributes:
        total: how many there will be; None where only the end will tell.
    """

    def __init__(self, values: Iterator[tuple[Any, ...]], total: int | None) -> None:
        self._values = values
        self.total = total

    def __next__(self) -> tuple[Any, ...]:
        return next(self._values)


@dataclass(frozen=True, slots=True)
class Loop:
    """What a `%%parallel for` cell does.

    Attributes:
        names: the variables of the loop, in the order of the clauses.
        items: iterates over their values, tuples; evaluated in the kernel, lazily.
        function: takes such values as arguments, and returns the value of the last expression.
        has_value: whether the body ends with an expression.
    """

    names: tuple[str, ...]
    items: Callable[[], Items]
    function: types.FunctionType
    has_value: bool


def compile_loop(clauses: str, body: str, cell: Cell, namespace: MutableMapping[str, Any]) -> Loop:
    """Make a loop of its two parts.

    Args:
        clauses: ``for x in xs if x``, as in a comprehension.
        body: statements.
        cell: what both are part of.
        namespace: the notebook's.

    Raises:
        SyntaxError: it is no Python, or says what cannot be done in parallel; shows the line.
    """
    generators = _parse_clauses(clauses, cell)
    names = _targets(generators, cell)
    statements = _parse_body(body, cell)
    items = _items(generators, names, cell, namespace)
    return _with_body(names, items, statements, cell, namespace)


def compile_comprehension(
    generators: Sequence[ast.comprehension],
    element: ast.expr,
    cell: Cell,
    namespace: MutableMapping[str, Any],
) -> Loop:
    """Make a loop of a comprehension: the element is the body."""
    names = _targets(generators, cell)
    for node in own_nodes([element]):
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom):
            raise cell.refusal(node, "an item runs as a task: it can neither await nor yield here")
    statement = ast.copy_location(ast.Expr(element), element)
    items = _items(generators, names, cell, namespace)
    return _with_body(names, items, [statement], cell, namespace)


def _parse_clauses(clauses: str, cell: Cell) -> list[ast.comprehension]:
    try:
        tree = ast.parse(f"[None {clauses}]", cell.filename, mode="eval").body
    except SyntaxError:
        tree = None
    if not isinstance(tree, ast.ListComp) or not isinstance(tree.elt, ast.Constant):
        line = ast.Constant(None, lineno=1, col_offset=0, end_lineno=0, end_col_offset=0)
        raise cell.refusal(line, "the first line must read `for x in xs`, as a comprehension does")
    column = cell.source.partition("\n")[0].find(clauses)
    for node in ast.walk(tree):
        if "lineno" in node._attributes:  # it stands elsewhere in the cell than in the brackets
            shift = max(0, column) - len("[None ")
            node.col_offset = max(0, getattr(node, "col_offset", 0) + shift)  # type: ignore[attr-defined]
            node.end_col_offset = max(0, getattr(node, "end_col_offset", 0) + shift)  # type: ignore[attr-defined]
    return tree.generators


def _targets(generators: Sequence[ast.comprehension], cell: Cell) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for generator in generators:
        if generator.is_async:
            raise cell.refusal(
                generator.target, "items are made in the notebook, without `async for`"
            )
        for node in ast.walk(generator.target):
            if isinstance(node, ast.Attribute | ast.Subscript):
                raise cell.refusal(node, "a loop variable must be a plain name")
            if isinstance(node, ast.Name):
                names[node.id] = None
    return tuple(names)


def _items(
    generators: Sequence[ast.comprehension],
    names: Sequence[str],
    cell: Cell,
    namespace: MutableMapping[str, Any],
) -> Callable[[], Items]:
    first, *others = generators
    values: list[ast.expr] = [
        ast.copy_location(ast.Name(name, ast.Load()), first.target) for name in names
    ]
    element = ast.copy_location(ast.Tuple(values, ast.Load()), first.target)
    given = ast.copy_location(ast.Name(_ITERABLE, ast.Load()), first.iter)
    clauses = [ast.comprehension(first.target, given, first.ifs, 0), *others]
    generator = ast.copy_location(ast.GeneratorExp(element, clauses), first.target)
    iterable_code = compile(ast.Expression(first.iter), cell.filename, "eval")
    generator_code = compile(ast.Expression(generator), cell.filename, "eval")
    is_plain = not (others or first.ifs)

    def items() -> Items:
        iterable = eval(iterable_code, namespace)  # type: ignore[arg-type]
        total = operator.length_hint(iterable, -1) if is_plain else -1
        found = eval(generator_code, namespace, {_ITERABLE: iterable})  # type: ignore[arg-type]
        return Items(found, total if total >= 0 else None)

    return items


def _parse_body(body: str, cell: Cell) -> list[ast.stmt]:
    # Blank lines before it give every node, and every syntax error, its line in the cell.
    tree = ast.parse("\n" * (cell.first_line - 1) + body, cell.filename)
    if not tree.body:
        place = ast.Constant(None, lineno=1, col_offset=0, end_lineno=0, end_col_offset=0)
        raise cell.refusal(
            place, "the cell has no body: write below what is to be done for each item"
        )
    return tree.body


def _with_body(
    names: tuple[str, ...],
    items: Callable[[], Items],
    statements: list[ast.stmt],
    cell: Cell,
    namespace: MutableMapping[str, Any],
) -> Loop:
    bound = bound_names(statements)
    check_flow(statements, cell)
    check_changes(statements, names, cell, namespace)
    statements = [ContinueIsReturn().visit(statement) for statement in statements]
    # What the notebook has and the body rebinds begins with the notebook's value.
    given = sorted((bound & read_names(statements) & set(namespace)) - set(names))
    last = statements[-1]
    has_value = isinstance(last, ast.Expr)
    if isinstance(last, ast.Expr):
        statements[-1] = ast.copy_location(ast.Return(last.value), last)
    function = _make_function([*names, *given], statements, cell.filename, namespace)
    if given:
        function = _giving(function, names, given, namespace)
    return Loop(names, items, function, has_value)


def _make_function(
    parameters: Sequence[str],
    statements: list[ast.stmt],
    filename: str,
    namespace: MutableMapping[str, Any],
) -> types.FunctionType:
    first = statements[0]
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.copy_location(ast.arg(name), first) for name in parameters],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
    definition = ast.copy_location(
        ast.FunctionDef(BODY, arguments, statements, decorator_list=[]), first
    )
    module = ast.Module([definition], type_ignores=[])
    ast.fix_missing_locations(module)
    made: dict[str, types.FunctionType] = {}
    exec(compile(module, filename, "exec"), namespace, made)  # type: ignore[arg-type]
    return made[BODY]


def _giving(
    body: types.FunctionType,
    names: Sequence[str],
    given: Sequence[str],
    namespace: MutableMapping[str, Any],
) -> types.FunctionType:
    """A function that passes the notebook's values on: globals of it, so they are shipped so."""
    arguments = ", ".join(names)
    source = (
        f"def make(_{BODY}):\n"
        f"    def {BODY}({arguments}):\n"
        f"        return _{BODY}({', '.join([*names, *given])})\n"
        f"    return {BODY}\n"
    )
    made: dict[str, Any] = {}
    # Called by this file's name, its frames are hidden like our own.
    exec(compile(source, __file__, "exec"), namespace, made)  # type: ignore[arg-type]
    function: types.FunctionType = made["make"](body)
    return function
