"""What the body of a `%%parallel for` cannot do, because its items run side by side elsewhere.

Nothing is run wrongly: what a plain loop would do otherwise is refused, with its line and the
reason.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from parallax.notebook.cells import Cell
from parallax.notebook.scopes import bound_names, own_nodes

_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def check_flow(statements: Sequence[ast.stmt], cell: Cell) -> None:
    """Refuse what leaves the body, or reaches out of it, in a way that a task cannot."""
    for node in own_nodes(statements):
        match node:
            case ast.Return():
                raise cell.refusal(
                    node, "there is no function here: the value is the last expression"
                )
            case ast.Yield() | ast.YieldFrom():
                raise cell.refusal(
                    node, "there is no generator here: the value is the last expression"
                )
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                raise cell.refusal(
                    node, "an item runs as a task: it can neither await nor be async"
                )
            case ast.Global() | ast.Nonlocal():
                raise cell.refusal(
                    node,
                    "items run in other processes, and cannot assign to the notebook's names: end "
                    "the cell with the value, and collect the values by --into NAME",
                )
    for statement in statements:
        _check_jumps(statement, cell)


def _check_jumps(statement: ast.AST, cell: Cell) -> None:
    if isinstance(statement, ast.Break):
        raise cell.refusal(
            statement,
            "items run at the same time, so none can break the loop; --on-error and "
            "the stop button can",
        )
    for child in _outside_of_loops(statement):
        _check_jumps(child, cell)


def _outside_of_loops(node: ast.AST) -> Iterator[ast.AST]:
    """The children whose `break` and `continue` would be about the cell's own loop."""
    if isinstance(node, _LOOPS):
        yield from node.orelse
    elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        yield from ast.iter_child_nodes(node)


class ContinueIsReturn(ast.NodeTransformer):
    """The next item is another task's: to go on with it is to be done with this one."""

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        return ast.copy_location(ast.Return(None), node)

    def _visit_loop(self, node: ast.For | ast.While) -> ast.AST:
        node.orelse = [self.visit(child) for child in node.orelse]
        return node

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_For = visit_While = _visit_loop
    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Lambda = _leave


_MUTATORS: Mapping[type[Any], frozenset[str]] = {
    list: frozenset(("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse")),
    dict: frozenset(("update", "pop", "popitem", "clear", "setdefault")),
    set: frozenset(
        ("add", "update", "remove", "discard", "pop", "clear", "difference_update",
         "intersection_update", "symmetric_difference_update")
    ),
    bytearray: frozenset(("append", "extend", "insert", "remove", "pop", "clear")),
}  # fmt: skip
"""Methods that change their object. Standing alone, as a statement, they are there for that."""


def check_changes(
    statements: Sequence[ast.stmt],
    names: Collection[str],
    cell: Cell,
    namespace: Mapping[str, Any],
) -> None:
    """Refuse what would change a copy of something of the notebook's, and be lost."""
    own = {*names, *bound_names(statements, augmented=False)}
    for node in own_nodes(statements):
        match node:
            case ast.AugAssign(target=ast.Name(id=name)):
                lost = name not in own
            case (
                ast.Subscript(ctx=ast.Store() | ast.Del())
                | ast.Attribute(ctx=ast.Store() | ast.Del())
            ):
                name = _base_name(node)
                lost = name not in own and _is_copied(namespace.get(name))
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method))):
                lost = name not in own and _mutates(namespace.get(name), method)
            case _:
                continue
        if lost:
            raise cell.refusal(
                node,
                f"each item has a copy of {name}, so this change would be lost: end the cell with "
                "the value, and collect the values of all items by --into NAME",
            )


def _base_name(node: ast.expr) -> str:
    """``d`` of ``d["a"].b[0]``; empty where it is no name."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_copied(value: Any) -> bool:
    """Whether engines have a copy of it; modules and classes are settings of theirs."""
    return value is not None and not isinstance(value, types.ModuleType | type)


def _mutates(value: Any, method: str) -> bool:
    return any(isinstance(value, kind) and method in methods for kind, methods in _MUTATORS.items())
