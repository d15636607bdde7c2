"""The source lines of shipped functions, so that an engine's tracebacks show them.

A notebook's cell is a file in the kernel's `linecache` alone; a script may be edited while it
runs, or lie on another host. So each function sent by value brings its own lines, and the engine
puts them where `traceback` and `inspect.getsource` look.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from types import FunctionType

from parallax.serial.bytecode import with_nested

_MAX_LINES = 5000
"""Lines of one function; more is a generated file that nobody reads."""

Lines = dict[str, dict[int, str]]
"""File name → line number, from 1 → line with its end."""

_own: set[str] = set()
_registered: Lines = {}


def collect(functions: Iterable[FunctionType]) -> Lines:
    """The lines of these functions, as far as this process knows them."""
    found: Lines = {}
    for function in functions:
        code = function.__code__
        known = linecache.getlines(code.co_filename, function.__globals__)
        if not known:
            continue
        if code.co_filename not in _registered:
            _own.add(code.co_filename)
        first = code.co_firstlineno
        numbers = [n for block in with_nested(code) for _, _, n in block.co_lines() if n]
        last = min(max(numbers, default=first), first + _MAX_LINES, len(known))
        lines = found.setdefault(code.co_filename, {})
        for number in range(first, last + 1):
            lines[number] = known[number - 1]
    return found


def register(sources: Lines) -> None:
    """Let `linecache` know these lines; those of files that this process knows itself stay."""
    for filename, lines in sources.items():
        if filename in _own or (filename in linecache.cache and filename not in _registered):
            continue
        merged = _registered.setdefault(filename, {})
        merged.update(lines)
        text = [merged.get(number, "\n") for number in range(1, max(merged, default=0) + 1)]
        _show(filename, text)


def register_file(filename: str, text: str) -> None:
    """Let `linecache` know the whole of a file, whatever lies on this host's disk."""
    _registered.pop(filename, None)
    _show(filename, text.splitlines(keepends=True))


def _show(filename: str, lines: list[str]) -> None:
    # Without a modification time linecache never looks for the file itself.
    linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
