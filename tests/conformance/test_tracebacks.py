"""What a traceback shows: the caller's line and the task's own frames, and nothing of ours."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator

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


class Refuses:
    """Cannot be pickled, by its own code."""

    def __reduce__(self) -> str:
        raise OSError("not this one")


@px.remote
def same(x: object) -> object:
    return x


@px.remote
class Counter:
    def add(self) -> int:
        return 1


LOCK = threading.Lock()
WRONG: dict[str, Callable[[], object]] = {
    "get": lambda: px.get(5),  # type: ignore[call-overload]
    "get with a timeout": lambda: px.get([], timeout=-1),
    "wait": lambda: px.wait([]),
    "as_completed": lambda: px.as_completed(5),  # type: ignore[arg-type]
    "map_unordered": lambda: px.map_unordered(len, []),  # type: ignore[arg-type]
    "cancel": lambda: px.cancel(5),  # type: ignore[arg-type]
    "put": lambda: px.put(px.put(1)),
    "put a lock": lambda: px.put(LOCK),
    "remote": lambda: same.remote(1, 2),  # type: ignore[call-arg]
    "remote with a lock": lambda: same.remote(LOCK),
    "map": lambda: same.map(5),  # type: ignore[arg-type]
    "options": lambda: same.options(num_cpu=1),
    "a call": lambda: same(1),
    "a method that is not there": lambda: Counter.remote().ad,  # type: ignore[attr-defined]
    "decorator": lambda: px.remote(num_cpu=1),
    "init": lambda: px.init(num_cpus=-1),
    "init again": lambda: px.init(num_cpus=77),
}


@pytest.mark.needs("parallax")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_call_shows_the_callers_line_alone(
    session: object, wrong: Callable[[], object]
) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError)) as caught:
        wrong()
    assert files_of(caught.value) == {__file__}
    assert caught.value.__cause__ is None


def test_code_of_the_users_that_refuses_to_be_pickled_keeps_its_frames(session: object) -> None:
    with pytest.raises(px.errors.SerializationError) as caught:
        px.put(Refuses())
    assert files_of(caught.value) == {__file__}
    assert "not this one" in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is not None
    assert __file__ in files_of(caught.value.__cause__)


def test_an_error_of_an_iterable_keeps_its_frames(session: object) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise TypeError("of the user's")

    with pytest.raises(TypeError, match="of the user's") as caught:
        same.map(items())
    assert [f.name for f in traceback.extract_tb(caught.value.__traceback__)][-1] == "items"


@pytest.mark.needs("processes")
@pytest.mark.parametrize(
    "verb",
    [px.get, px.wait, lambda refs: list(px.as_completed(refs))],
    ids=["get", "wait", "as_completed"],
)
def test_a_stopped_cell_shows_the_line_that_waited(
    session: object, verb: Callable[[object], object]
) -> None:
    # Given a task that waits for longer than anybody
    ref = px.remote(time.sleep).remote(600)
    # When the caller is stopped while he waits for it
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt) as caught:
        verb([ref])
    # Then the traceback ends with his line
    px.cancel(ref)
    assert files_of(caught.value) == {__file__}


def files_of(error: BaseException) -> set[str]:
    return {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
