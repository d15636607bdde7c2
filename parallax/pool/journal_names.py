"""What is said of a name under which nothing is kept."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def unknown_name(name: str, names: Sequence[str]) -> str:
    """The message, with those of `names` that are near."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = f"Did you mean {' or '.join(map(repr, near))}?"
    elif names:
        hint = f"Of {len(names)} names that there are, none is near: parallax.recall() lists them."
    else:
        hint = "Nothing is kept here: parallax.keep(ref, name) keeps a result."
    return f"nothing is kept under the name {name!r}. {hint}"
