"""The values of a parallel loop: a list, which a notebook shows as a table."""

from __future__ import annotations

import html
import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

MAX_ROWS = 20
"""Of the table; what comes after them is counted."""
_MAX_TEXT = 12
"""Values that the plain text shows."""

_preview = reprlib.Repr()
_preview.maxstring = _preview.maxother = 60


class Results(list[Any]):
    """The values of all items, in order. An item that failed stands there as its error.

    A list in every respect; it only looks better. Pickles as a plain list.

    Args:
        values: of the items.
        names: the variables of the loop.
        items: values of these variables, for as many of the first items as are to be shown.
    """

    def __init__(
        self,
        values: Iterable[Any] = (),
        names: Sequence[str] = (),
        items: Iterable[Sequence[Any]] = (),
    ) -> None:
        super().__init__(values)
        self._names = tuple(names)
        # As text, so that the items are not kept alive, nor shown as they are later.
        self._items = [tuple(map(preview, item)) for item in items]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        if cycle or len(self) <= 2 * _MAX_TEXT:
            printer.text(list.__repr__(self) if not cycle else "[...]")
            return
        shown = ", ".join(preview(value) for value in self[:_MAX_TEXT])
        printer.text(f"[{shown}, … {len(self) - _MAX_TEXT:,} more]")

    def _repr_html_(self) -> str:
        named = self._items[: len(self)]
        names = self._names if named else ()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *names, "value"))
        rows = []
        for at, value in enumerate(self[: len(named) or MAX_ROWS]):
            cells = [str(at), *(named[at] if named else ())]
            text = html.escape(describe(value) if failed(value) else preview(value))
            style = ' style="color:var(--jp-error-color1,#c62828)"' if failed(value) else ""
            rows.append(
                "<tr>"
                + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
                + f"<td{style}>{text}</td></tr>"
            )
        more = len(self) - len(rows)
        rest = f"<div>and {more:,} more</div>" if more > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{rest}"


def preview(value: Any) -> str:
    """One short line for a value, of whatever size."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        kind = getattr(value, "dtype", "")
        size = "x".join(str(length) for length in shape)
        return f"{type(value).__name__} {size} {kind}".strip()
    try:
        text = _preview.repr(value)
    except Exception as error:  # noqa: BLE001 - the repr is the user's, and may raise anything
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def failed(value: Any) -> bool:
    """Whether it stands for an item that failed."""
    return isinstance(value, BaseException) and hasattr(value, "__parallax_item__")


def mark_failed(error: BaseException, item: int, values: str) -> None:
    """Let an error stand for one item.

    Args:
        item: its index, from 0.
        values: of the loop's variables, as text.
    """
    error.__parallax_item__ = item  # type: ignore[attr-defined]
    error.add_note(f"item {item}: {values}")


def describe(error: BaseException) -> str:
    """The user's type and the first line of the message."""
    cause = getattr(error, "cause", None) or error
    message = str(cause).strip().partition("\n")[0]
    name = type(cause).__name__
    return f"{name}: {message}" if message else name


def summary(errors: Sequence[BaseException], total: int) -> str:
    """Such as ``38 of 500 items failed: 37 ValueError, 1 KeyError; the first: …``."""
    kinds = Counter(type(getattr(error, "cause", None) or error).__name__ for error in errors)
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(4))
    others = f" and {len(kinds) - 4} other kinds" if len(kinds) > 4 else ""
    first = errors[0]
    item = getattr(first, "__parallax_item__", 0)
    return (
        f"{len(errors):,} of {total:,} items failed: {counted}{others}; "
        f"the first was item {item}: {describe(first)}"
    )
