"""A cell's source: where its lines are, and how an error shows one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from parallax.errors import UsageError
from parallax.notebook.tracebacks import CellError, show_plainly


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's source, and how Python is to call it.

    Attributes:
        source: all of its lines.
        filename: of its code, as `linecache` knows it.
        first_line: the line of `source` on which the body begins, from 1; the header is before.
        label: what people call it, such as ``Cell In[3]``.
    """

    source: str
    filename: str
    first_line: int = 2
    label: str = "Cell"

    def refusal(self, node: ast.AST, why: str) -> SyntaxError:
        """An error that shows this node's line."""
        line = getattr(node, "lineno", 1)
        lines = self.source.splitlines()
        text = lines[line - 1] if line <= len(lines) else ""
        start = getattr(node, "col_offset", 0) + 1
        end_line = getattr(node, "end_lineno", line)
        end = getattr(node, "end_col_offset", 0) + 1 if end_line == line else len(text) + 1
        return SyntaxError(why, (self.filename, line, start, text, line, end))

    @contextmanager
    def errors_shown(self, shell: Any) -> Iterator[None]:
        """A block whose errors show lines of this cell, without IPython's frames and ours."""
        try:
            yield
        except SyntaxError as error:
            if error.filename != self.filename:
                raise
            raise CellError(error, self.label) from None
        except UsageError:
            raise  # one line says it
        except BaseException as error:
            show_plainly(error, shell, self.filename)
            raise


def this_cell(shell: Any, line: str, body: str | None) -> Cell:
    """The cell that runs, known to tracebacks by its number.

    Args:
        shell: runs it.
        line: what the magic was given.
        body: the lines below, None for a line magic.
    """
    number = number_of_cell(shell)
    if body is None:
        source, first_line = line, 1
    else:
        history = shell.history_manager.input_hist_raw
        raw = str(history[-1]) if history else ""
        # A frontend's cell may begin with blank lines; run by other means it is in no history.
        source = raw if raw.endswith(body) else f"%%parallel {line}\n{body}"
        first_line = source[: len(source) - len(body)].count("\n") + 1
    filename = shell.compile.cache(source, number, raw_code=source)
    return Cell(source, filename, first_line, f"Cell In[{number}]")


def number_of_cell(shell: Any) -> int:
    """The number of the cell that runs. Newer IPythons have counted it already, older ones not."""
    return max(1, len(shell.history_manager.input_hist_parsed) - 1)
