"""What a traceback shows: the caller's line and the task's own frames, and nothing of ours."""

from __future__ import annotations

import traceback

import pytest

import parallax as px


def test_a_failed_get_shows_no_frame_of_the_library(session: object) -> None:
    @px.remote
    def divide(x: int) -> float:
        return 1 / x

    ref = divide.remote(0)
    with pytest.raises(ZeroDivisionError) as caught:
        px.get(ref)
    frames = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert set(frames) == {__file__}  # an inline task's own frame may be there, too
    text = "".join(traceback.format_exception(caught.value))
    assert "return 1 / x" in text
    assert "executor.py" not in text
