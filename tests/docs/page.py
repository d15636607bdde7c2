"""Run the code of one Markdown page, top to bottom, as a reader would: ``python page.py PAGE``.

Blocks marked ``python`` share one namespace, ``bash`` blocks run in a shell; other blocks are not
run. What a line claims in its last comment is checked:

    px.get(square.remote(7))  # → 49
    px.get(broken.remote())   # raises ZeroDivisionError: division by zero

Both may leave out parts with ``...``.
"""

from __future__ import annotations

import ast
import doctest
import linecache
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_CLAIM = re.compile(r"#\s(?P<kind>→|raises)\s(?P<text>.*)$")
_SAME = doctest.OutputChecker().check_output


class WrongPageError(AssertionError):
    """The page says something that is not so."""


@dataclass(frozen=True)
class Block:
    """A block of code and where it stands."""

    language: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    """The blocks of a page that are to be run, in order."""
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)))
        for found in _BLOCK.finditer(text)
    ]


def run(path: Path) -> None:
    """Run all blocks of a page.

    Raises:
        WrongPageError: a block fails, or does not do what it says.
    """
    namespace = sys.modules["__main__"].__dict__
    for block in blocks(path.read_text()):
        try:
            if block.language == "bash":
                subprocess.run(["bash", "-euo", "pipefail", "-c", block.code], check=True)
            else:
                _run_python(block, namespace, f"{path.name}:{block.line}")
        except Exception as error:
            raise WrongPageError(f"{path.name}, the block at line {block.line}: {error}") from error


def _run_python(block: Block, namespace: dict[str, Any], file: str) -> None:
    # Engines and tracebacks find the source as they find that of a notebook's cell.
    linecache.cache[file] = (len(block.code), None, block.code.splitlines(keepends=True), file)
    for statement, claim in _statements(block.code):
        kind, text = (claim["kind"], claim["text"]) if claim else ("", "")
        try:
            value = _execute(statement, namespace, file)
        except BaseException as error:
            if kind != "raises":
                raise
            _check(f"{type(error).__name__}: {error}".splitlines()[0], text, statement)
        else:
            if kind == "raises":
                raise WrongPageError(f"line {statement.lineno} does not raise {text}")
            if kind:
                _check(repr(value), text, statement)


def _statements(code: str) -> Iterator[tuple[ast.stmt, re.Match[str] | None]]:
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        last = lines[(statement.end_lineno or statement.lineno) - 1]
        yield statement, _CLAIM.search(last)


def _execute(statement: ast.stmt, namespace: dict[str, Any], file: str) -> Any:
    if isinstance(statement, ast.Expr):
        return eval(compile(ast.Expression(statement.value), file, "eval"), namespace)
    exec(compile(ast.Module([statement], []), file, "exec"), namespace)
    return None


def _check(got: str, claimed: str, statement: ast.stmt) -> None:
    if not _SAME(claimed + "\n", got + "\n", doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE):
        raise WrongPageError(f"line {statement.lineno} gives {got}, not {claimed}")


if __name__ == "__main__":
    sys.path[0] = ""  # as in a notebook: the reader's folder, not this one's
    run(Path(sys.argv[1]))
