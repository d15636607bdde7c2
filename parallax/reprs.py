"""How objects show themselves in a notebook, where they have no view of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

MAX_ROWS = 50
"""Of a table; what comes after them is counted."""


class HtmlRepr:
    """Shows the object's text as HTML, without a notebook's line breaks and colours."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return as_code(repr(self))


class Rows(list[T]):
    """A list that a notebook shows as a table.

    Args:
        items: of the list.
        columns: the heads of the table.
        cells: the cells of one item.
    """

    def __init__(
        self,
        items: Iterable[T],
        columns: Sequence[str],
        cells: Callable[[T], Sequence[Any]],
    ) -> None:
        super().__init__(items)
        self._columns = columns
        self._cells = cells

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def _repr_html_(self) -> str:
        shown = as_table(self._columns, map(self._cells, self[:MAX_ROWS]))
        more = len(self) - MAX_ROWS
        return f"{shown}and {more:,} more" if more > 0 else shown


def as_code(text: str) -> str:
    """The text as HTML."""
    import html  # here, since only notebooks need it

    return f"<code>{html.escape(text)}</code>"


def as_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as HTML; zeros are left empty, which makes the others stand out."""
    import html

    def line(cells: Iterable[Any], tag: str) -> str:
        texts = ("" if cell == 0 else html.escape(str(cell)) for cell in cells)
        return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"

    head = line(columns, "th")
    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def plural(count: float, noun: str) -> str:
    """Such as ``1 engine`` and ``2 engines``."""
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Such as ``12 ms``, ``3.4 s``, ``2 min 5 s`` and ``1 h 3 min``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
