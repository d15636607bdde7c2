"""Errors of a magic as the notebook shows them: where it happened, not how we came to know.

IPython would show the call of the magic, its own frames and ours. It asks an exception for
`_render_traceback_` first, except for a `SyntaxError`.
"""

from __future__ import annotations

import contextlib
import traceback
from types import TracebackType
from typing import Any

from parallax.errors import ParallaxError, TaskError, UsageError

_RED, _PLAIN = "\x1b[0;31m", "\x1b[0m"


class CellError(UsageError):
    """A cell that is no Python, or does what cannot be done in parallel; shows its line."""

    def __init__(self, error: SyntaxError, label: str) -> None:
        super().__init__(error.msg)
        line = f"  {label}, line {error.lineno}"
        marked = traceback.TracebackException.from_exception(error).format_exception_only()
        # The file's line comes first, and the cell has a better name.
        self._lines = [line, *"".join(marked).splitlines()[1:-1]]
        self._kind = type(error).__name__

    def _render_traceback_(self) -> list[str]:
        return [*self._lines, f"{_RED}{self._kind}{_PLAIN}: {self}"]


def show_plainly(error: BaseException, shell: Any, filename: str) -> None:
    """Have IPython show this error with frames of the user's alone.

    Args:
        error: is about to be raised.
        shell: shows it.
        filename: of the cell.
    """
    if isinstance(error, ParallaxError | KeyboardInterrupt):
        render = _lines_of(error)
    else:
        frames = _from_file(error.__traceback__, filename)
        if frames is None:
            return  # a bug of ours keeps all frames
        render = shell.InteractiveTB.structured_traceback(type(error), error, frames, tb_offset=0)
    with contextlib.suppress(AttributeError):  # a type of the user's may have no room for it
        error._render_traceback_ = lambda: render  # type: ignore[attr-defined]


def _lines_of(error: BaseException) -> list[str]:
    remote = error.remote_traceback if isinstance(error, TaskError) else ""
    # The last line is the error itself; what comes before the first frame says which task it was.
    frames = remote.splitlines()[:-1]
    while frames and not frames[0].startswith("  "):
        del frames[0]
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    return [*frames, _headline(error), *notes]


def _headline(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    name = type(cause).__name__
    message = str(cause)
    return f"{_RED}{name}{_PLAIN}: {message}" if message else f"{_RED}{name}{_PLAIN}"


def _from_file(frames: TracebackType | None, filename: str) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename != filename:
        frames = frames.tb_next
    return frames
