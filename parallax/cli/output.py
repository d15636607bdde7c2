"""What is written: sentences and tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """Standard output. Rich sees to its width, to `NO_COLOR` and to pipes."""
    return Console(highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """One sentence. A terminal breaks it at words; in a pipe it stays one line."""
    out = console()
    out.print(text, soft_wrap=not out.is_terminal)


def complain(text: str) -> None:
    """What went wrong, on standard error."""
    err = Console(stderr=True, highlight=False, markup=False, emoji=False)
    err.print(Text.assemble(("parallax: ", "bold red"), text), soft_wrap=not err.is_terminal)


def write_json(value: Any) -> None:
    """One JSON value and a line's end."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
    sys.stdout.flush()


def table(*columns: str, right: Collection[str] = ()) -> Table:
    """A table without lines.

    Args:
        right: the columns that hold numbers.
    """
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        found.add_column(
            column, justify="right" if column in right else "left", overflow="ellipsis"
        )
    return found


def size(count: float) -> str:
    """Bytes as people read them: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.{0 if unit == 'B' else 1}f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """A time span as people read it: ``42 s``, ``3 min``, ``2 h``, ``5 d``."""
    for limit, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds / unit_s))} {unit}"
    return f"{int(seconds / 86400)} d"


def amount(name: str, value: float) -> str:
    """How much of a resource: bytes for memory, else a number."""
    return size(value) if name == "memory" else f"{value:g}"
