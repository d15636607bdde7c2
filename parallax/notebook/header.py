"""The first line of a `%%parallel` cell: the clauses of a loop, then options."""

from __future__ import annotations

import re

_OPTION = re.compile(r"--?[A-Za-z]")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_QUOTES = ("'''", '"""', "'", '"')


def split_header(line: str) -> tuple[str, str]:
    """Tell the clauses from the options.

    An option begins with a dash and a letter after white space, outside of brackets and strings;
    so ``x --y`` must be written with parentheses to be an expression.

        >>> split_header("for x in range(3) if x - -1 --into ys --quiet")
        ('for x in range(3) if x - -1', '--into ys --quiet')

    Args:
        line: what follows the name of the magic.

    Returns:
        The two parts, each possibly empty.
    """
    depth = 0
    at = 0
    while at < len(line):
        if depth == 0 and (at == 0 or line[at - 1].isspace()) and _is_option(line, at):
            return line[:at].strip(), line[at:].strip()
        quote = next((q for q in _QUOTES if line.startswith(q, at)), None)
        if quote is not None:
            at = _end_of_string(line, at + len(quote), quote)
            continue
        if line[at] in _PAIRS:
            depth += 1
        elif line[at] in _PAIRS.values():
            depth -= 1
        at += 1
    return line.strip(), ""


def _is_option(line: str, at: int) -> bool:
    found = _OPTION.match(line, at)
    # A single dash is an operator when something stands before it: ``for x in a -b``.
    return found is not None and (found[0].startswith("--") or not line[:at].strip())


def _end_of_string(line: str, at: int, quote: str) -> int:
    while at < len(line):
        if line[at] == "\\":
            at += 2
        elif line.startswith(quote, at):
            return at + len(quote)
        else:
            at += 1
    return at
