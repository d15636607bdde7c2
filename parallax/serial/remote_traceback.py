"""Tracebacks as text, where the source lines are: on the engine that ran the code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from parallax.errors import SerializationError, UsageError

MAX_CHARS = 32_000
"""A longer traceback loses its middle."""

_MAX_CHAIN = 8
_PARALLAX = str(Path(__file__).resolve().parent.parent) + "/"
_IMPORT_MACHINERY = "<frozen importlib"
_PICKLERS = ("/cloudpickle/", "/dill/", "/pickle.py")
MAX_HEADLINE_CHARS = 400

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def format_error(error: BaseException) -> str:
    """The traceback as Python prints it, with the user's frames alone.

    The notes of the error itself are left out; they travel with it and Python prints them. Never
    raises, whatever the error's own methods do.

    Returns:
        The text; empty where no frame of the user's has to do with it and the message says it all:
        that is so for what Parallax itself has against a task's return value.
    """
    try:
        report = traceback.TracebackException.from_exception(error)
        report.__notes__ = None
        if type(error) in (UsageError, SerializationError) and _is_ours(report):
            text = describe(error)
            return "" if is_short(text) else "".join(report.format_exception_only()).rstrip("\n")
        return shorten("".join(_format_chain(report)).rstrip("\n"))
    except Exception as failure:  # noqa: BLE001 - user types may break the formatting itself
        name = type(error).__name__
        return f"{name}: its traceback could not be formatted: {type(failure).__name__}"


def format_frames(error: BaseException) -> str:
    """The user's frames that the error came through, without the error itself."""
    frames = traceback.extract_tb(error.__traceback__)
    _keep_user_frames(frames)
    return shorten("".join(frames.format()).rstrip("\n"))


def describe(error: BaseException) -> str:
    """The error's message, cut where it is huge. Never raises."""
    try:
        return shorten(str(error))
    except Exception:  # noqa: BLE001 - user types may raise anything
        return f"<a {type(error).__name__} that cannot be printed>"


def is_short(text: str) -> bool:
    """Whether it fits in one line."""
    return "\n" not in text and len(text) <= MAX_HEADLINE_CHARS


def shorten(text: str, max_chars: int = MAX_CHARS) -> str:
    """The text, without its middle when it is longer than ``max_chars``."""
    if len(text) <= max_chars:
        return text
    head, tail = max_chars // 4, max_chars * 3 // 4
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters left out …\n{text[-tail:]}"


def _is_ours(report: traceback.TracebackException) -> bool:
    """Whether all frames are those of Parallax and of what pickles for it."""
    node: traceback.TracebackException | None = report
    while node is not None:
        for frame in node.stack:
            file = frame.filename
            if not file.startswith(_PARALLAX) and not any(part in file for part in _PICKLERS):
                return False
        node = node.__cause__ or node.__context__
    return True


def _format_chain(report: traceback.TracebackException) -> Iterator[str]:
    """The causes first. Deep chains keep the latest errors, which lead to the caller."""
    chain: list[tuple[traceback.TracebackException, str]] = []
    link = ""
    current: traceback.TracebackException | None = report
    while current is not None:
        chain.append((current, link))
        if current.__cause__ is not None:
            current, link = current.__cause__, _CAUSE
        elif current.__context__ is not None and not current.__suppress_context__:
            current, link = current.__context__, _CONTEXT
        else:
            current = None
    if len(chain) > _MAX_CHAIN:
        yield f"… {len(chain) - _MAX_CHAIN} earlier errors of the chain left out …\n\n"
    for node, following in reversed(chain[:_MAX_CHAIN]):
        _keep_user_frames_everywhere(node)
        yield from node.format(chain=False)
        yield following


def _keep_user_frames_everywhere(report: traceback.TracebackException) -> None:
    todo = [report]
    while todo:
        node = todo.pop()
        _keep_user_frames(node.stack)
        todo += node.exceptions or ()


def _keep_user_frames(frames: traceback.StackSummary) -> None:
    """Drop the frames of Parallax; but not all frames, for then the error is its own."""
    kept = [
        frame
        for frame in frames
        if not frame.filename.startswith(_PARALLAX)
        and not frame.filename.startswith(_IMPORT_MACHINERY)
    ]
    if kept:
        frames[:] = kept
