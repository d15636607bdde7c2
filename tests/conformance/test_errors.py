"""Errors: yours arrive as yours, and each of ours says what to do."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import traceback
import types
from collections.abc import Iterator
from typing import Any

import pytest

import parallax as px
from tests.conformance.tasks import same

pytestmark = pytest.mark.usefixtures("session")


class Odd(Exception):
    """Its constructor takes what its `args` do not tell."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"{code} at {where}")
        self.code = code
        self.where = where


class Locked(Exception):
    """It holds what cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class Final(Exception):
    """It refuses subclasses."""

    def __init_subclass__(cls) -> None:
        raise TypeError("this class is final")


class Loud(Exception):
    """Even its text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@px.remote
def call(function: Any) -> Any:
    return function()


def _raise(error: BaseException) -> Any:
    raise error


def test_except_of_the_users_own_type() -> None:
    @px.remote
    def divide(a: int, b: int) -> float:
        return a / b

    with pytest.raises(ZeroDivisionError) as caught:
        px.get(divide.remote(1, 0))
    assert isinstance(caught.value, px.errors.TaskError)
    assert isinstance(caught.value, px.errors.ParallaxError)
    assert type(caught.value.cause) is ZeroDivisionError
    assert caught.value.args == ("division by zero",)


def test_except_task_error() -> None:
    with pytest.raises(px.errors.TaskError) as caught:
        px.get(call.remote(lambda: _raise(KeyError("k"))))
    assert isinstance(caught.value, KeyError)
    assert caught.value.task_name == "call"


def test_the_traceback_shows_the_users_frames_with_their_lines() -> None:
    @px.remote
    def outer() -> None:
        inner_function(0)

    def inner_function(x: int) -> float:
        return 1 / x  # here it happens

    with pytest.raises(ZeroDivisionError) as caught:
        px.get(outer.remote())
    text = "".join(traceback.format_exception(caught.value))
    for line in ("inner_function(0)", "return 1 / x  # here it happens", "in inner_function"):
        assert line in text
    assert "executor.py" not in text


def test_the_error_of_an_argument_is_that_of_its_dependents() -> None:
    bad = call.remote(lambda: _raise(ValueError("origin")))
    for ref in (same.remote(bad), same.remote(same.remote(bad)), same.remote(x=bad)):
        with pytest.raises(ValueError, match="origin"):
            px.get(ref)


def test_a_ref_to_an_error_raises_each_time() -> None:
    ref = call.remote(lambda: _raise(ValueError("again")))
    for _ in range(3):
        with pytest.raises(ValueError, match="again"):
            px.get(ref)


def test_causes_notes_and_attributes_travel() -> None:
    def fail() -> None:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            error = OSError(2, "no such file", "name.txt")
            error.add_note("a note")
            error.extra = [1, 2]  # type: ignore[attr-defined]
            raise error from cause

    with pytest.raises(OSError, match="no such file") as caught:
        px.get(call.remote(fail))
    error = caught.value
    assert (error.errno, error.filename) == (2, "name.txt")
    assert error.extra == [1, 2]  # type: ignore[attr-defined]
    assert "a note" in error.__notes__
    text = "".join(traceback.format_exception(error))
    assert "KeyError: 'cause'" in text


def test_an_odd_constructor() -> None:
    with pytest.raises(Odd, match="5 at home") as caught:
        px.get(call.remote(lambda: _raise(Odd(5, where="home"))))
    assert (caught.value.code, caught.value.where) == (5, "home")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Locked("it holds a lock"), "it holds a lock"),
        (lambda: Final("it is final"), "it is final"),
        (lambda: ValueError(threading.Lock()), "lock"),
        (lambda: ValueError("x" * 1_000_000), "xxx"),
        (Loud, "Loud"),
    ],
    ids=["unpicklable", "final", "argument", "huge", "unprintable"],
)
def test_whatever_is_raised_can_be_caught_and_read(make: Any, text: str) -> None:
    with pytest.raises(px.errors.TaskError) as caught:
        px.get(call.remote(lambda: _raise(make())))
    assert text in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "make", [SystemExit, lambda: SystemExit(3), GeneratorExit, lambda: _Base("own")], ids=repr
)
def test_what_is_no_exception_is_a_task_error(make: Any) -> None:
    with pytest.raises(px.errors.TaskError) as caught:
        px.get(call.remote(lambda: _raise(make())))
    assert isinstance(caught.value, Exception)
    assert type(caught.value.cause).__name__ == type(make()).__name__


class _Base(BaseException):
    pass


@pytest.mark.needs("processes")
def test_a_keyboard_interrupt_in_a_task_does_not_interrupt_the_caller() -> None:
    with pytest.raises(px.errors.TaskError) as caught:
        px.get(call.remote(lambda: _raise(KeyboardInterrupt())))
    assert not isinstance(caught.value, KeyboardInterrupt)


def test_stop_iteration_does_not_end_the_callers_loop() -> None:
    ref = call.remote(lambda: _raise(StopIteration(5)))
    with pytest.raises(px.errors.TaskError):
        list(map(px.get, [ref]))


def test_sys_exit_ends_the_task_alone() -> None:
    with pytest.raises(px.errors.TaskError):
        px.get(call.remote(lambda: sys.exit(1)))
    assert px.get(same.remote(1)) == 1


def test_exception_groups() -> None:
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("a"), ExceptionGroup("in", [KeyError("b")])])

    seen = []
    try:
        px.get(call.remote(fail))
    except* ValueError as group:
        seen.append(str(group.exceptions[0]))
    except* KeyError:
        seen.append("key")
    assert seen == ["a", "key"]


@pytest.mark.needs("processes")
def test_an_error_whose_class_is_not_here() -> None:
    def fail() -> None:
        made = types.ModuleType("made_there")
        exec("class Unknown(Exception): pass", made.__dict__)
        sys.modules["made_there"] = made
        raise made.Unknown("nobody knows me")

    with pytest.raises(px.errors.TaskError, match="nobody knows me"):
        px.get(call.remote(fail))


@pytest.mark.needs("processes")
def test_a_result_whose_class_is_not_here() -> None:
    def make() -> Any:
        made = types.ModuleType("made_there")
        exec("class Unknown: pass", made.__dict__)
        sys.modules["made_there"] = made
        return made.Unknown()

    ref = call.remote(make)
    with pytest.raises(px.errors.ParallaxError, match=r"made_there.*importable here"):
        px.get(ref)
    # An argument neither: the driver has the class, the engine has not.
    made = types.ModuleType("made_here")
    exec("class Unknown: pass", made.__dict__)
    sys.modules["made_here"] = made
    with pytest.raises(px.errors.SerializationError, match=r"made_here.*importable here"):
        px.get(same.remote(made.Unknown()))
    del sys.modules["made_here"]
    assert px.get(same.remote(1)) == 1


def test_arguments_that_cannot_be_pickled() -> None:
    with pytest.raises(px.errors.SerializationError, match="lock") as caught:
        same.remote({"deep": [threading.Lock()]})
    assert isinstance(caught.value, TypeError)
    assert "deep" in caught.value.path


def test_a_put_that_cannot_be_pickled() -> None:
    with pytest.raises(px.errors.SerializationError, match="generator"):
        px.put(x for x in range(3))


def test_a_captured_variable_that_cannot_be_pickled() -> None:
    lock = threading.Lock()

    @px.remote
    def use() -> bool:
        return lock.locked()

    with pytest.raises(px.errors.SerializationError, match="'lock'") as caught:
        use.remote()
    assert "use" in caught.value.path


def test_a_result_that_cannot_be_pickled() -> None:
    with pytest.raises(px.errors.SerializationError, match="lock") as caught:
        px.get(call.remote(threading.Lock))
    assert isinstance(caught.value, px.errors.TaskError)


@pytest.mark.needs("parallax")
def test_what_we_have_against_a_result_says_so_without_our_frames() -> None:
    with pytest.raises(px.errors.SerializationError) as caught:
        px.get(call.remote(lambda: {"deep": [threading.Lock()]}))
    assert str(caught.value) == (
        "cannot ship the return value of call: its part ['deep'][0] is a _thread.lock object, "
        "which cannot be pickled. A lock holds in one process only, and tasks share nothing that "
        "it could guard: create it inside the task, or do without.\n\nTask 'call' failed with it."
    )
    with pytest.raises(px.errors.UsageError) as wrong:
        px.get(call.options(num_returns=2).remote(lambda: 5))
    assert str(wrong.value).endswith("it returned int.\n\nTask 'call' failed with it.")


@pytest.mark.needs("parallax")
def test_an_item_that_cannot_be_pickled() -> None:
    @px.remote
    def locks() -> Iterator[Any]:
        yield threading.Lock()

    (ref,) = locks.remote()
    with pytest.raises(px.errors.SerializationError, match="cannot ship an item of locks"):
        px.get(ref)


def test_a_reducer_that_raises_shows_where() -> None:
    with pytest.raises(px.errors.SerializationError) as caught:
        px.get(call.remote(Unwilling))
    text = "".join(traceback.format_exception(caught.value))
    assert 'raise KeyError("not me")  # here' in text


class Unwilling:
    def __reduce__(self) -> Any:
        raise KeyError("not me")  # here


@pytest.mark.needs("parallax")
def test_what_belongs_to_this_process_says_so() -> None:
    @px.remote
    def count() -> Iterator[int]:
        yield 1

    generator = count.remote()
    with pytest.raises(px.errors.SerializationError, match=r"Pass its refs on, one by one\.$"):
        same.remote(generator)
    list(generator)
    with pytest.raises(px.errors.SerializationError, match="A task has a session of its own"):
        same.remote(px.init())


def test_an_argument_that_cannot_be_unpickled() -> None:
    with pytest.raises(px.errors.TaskError, match="not today"):
        px.get(same.remote(Reluctant()))
    assert px.get(same.remote(1)) == 1


class Reluctant:
    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("not today")


def test_a_failed_call_leaves_everything_as_it_was() -> None:
    with pytest.raises(px.errors.SerializationError):
        same.remote(threading.Lock())
    with pytest.raises(TypeError):
        px.get(call.remote(lambda: same.function()))
    assert px.get(same.remote(1)) == 1


def test_errors_can_be_pickled_again() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        px.get(call.remote(lambda: 1 / 0))
    back = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(back, ZeroDivisionError)
    assert isinstance(back, px.errors.TaskError)


def test_errors_as_values_are_no_failures() -> None:
    assert isinstance(px.get(same.remote(ValueError("a value"))), ValueError)


def test_the_family() -> None:
    errors = px.errors
    for kind in (
        errors.TaskError,
        errors.TaskCancelledError,
        errors.TaskTimeoutError,
        errors.EngineDiedError,
        errors.NodeDiedError,
        errors.ObjectLostError,
        errors.OutOfMemoryError,
        errors.ObjectStoreFullError,
        errors.ClusterLostError,
        errors.GetTimeoutError,
        errors.PendingCallsLimitExceeded,
        errors.UsageError,
        errors.SerializationError,
        errors.ProtocolError,
        errors.AuthenticationError,
        errors.InternalError,
    ):
        assert issubclass(kind, errors.ParallaxError)
    assert issubclass(errors.ActorDiedError, errors.ActorError)
    assert issubclass(errors.ActorUnavailableError, errors.ActorError)
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.SerializationError, TypeError)
    assert issubclass(errors.GetTimeoutError, TimeoutError)


@pytest.mark.needs("parallax")
def test_a_freed_object_is_an_object_lost_error() -> None:
    text = pickle.dumps(px.put("gone"))
    gc.collect()
    px.get(same.remote(0))
    with pytest.raises(px.errors.ObjectLostError, match="last reference"):
        px.get(pickle.loads(text))
