"""Which names a piece of code binds and reads, as Python's own symbol table sees it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def bound_names(statements: Sequence[ast.stmt], *, augmented: bool = True) -> set[str]:
    """The names that these statements bind in their own scope, each by whatever means.

    Names bound in nested functions, classes and comprehensions are those scopes' own; but ``:=`` in
    a comprehension binds in the scope around it, as in Python.

    Args:
        augmented: whether ``n += 1`` counts, which needs an ``n`` that is there already.
    """
    found: set[str] = set()
    passed_over: set[int] = set()
    for node in own_nodes(statements):
        if isinstance(node, ast.AugAssign) and not augmented:
            passed_over.add(id(node.target))
        if id(node) in passed_over:
            continue
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Import() | ast.ImportFrom():
                found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            case ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.add(name)
    return found


def read_names(nodes: Sequence[ast.AST]) -> set[str]:
    """All names that are read anywhere below, in nested scopes too.

    A name that a nested scope both binds and reads counts as well: it is too many rather than too
    few.
    """
    return {
        child.id
        for node in nodes
        for child in ast.walk(node)
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load)
    }


def own_nodes(statements: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes that run in the scope of these statements, in no particular order.

    Of nested functions and classes what runs at once: decorators, defaults, base classes. Of
    comprehensions all but the targets of their loops.
    """
    todo: list[ast.AST] = list(statements)
    while todo:
        node = todo.pop()
        yield node
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                todo += [*node.decorator_list, *_defaults(node.args)]
            case ast.Lambda():
                todo += _defaults(node.args)
            case ast.ClassDef():
                todo += [*node.decorator_list, *node.bases, *node.keywords]
            case ast.comprehension():
                todo += [node.iter, *node.ifs]
            case _:
                todo += ast.iter_child_nodes(node)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]
