"""Tracebacks without the frames of Parallax."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

_PARALLAX = str(Path(__file__).resolve().parent.parent) + "/"


def user_frames(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not ours; None when there is none."""
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_PARALLAX):
            return traceback
        traceback = traceback.tb_next
    return None
