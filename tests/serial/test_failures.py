"""Whatever a task raises arrives as something that can be caught and read."""

from __future__ import annotations

import asyncio
import copy
import copyreg
import gc
import json
import linecache
import pickle
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.errors import GetTimeoutError, TaskError
from parallax.serial.failures import dump_error, load_error
from parallax.serial.functions import load, ship
from tests.serial.notebook import Notebook, run_python


def failed(function: Callable[[], Any], *, task_name: str = "f") -> BaseException:
    """What `get` raises for a task that ran this function."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - tasks raise anything
        return load_error(dump_error(error, task_name=task_name))
    raise AssertionError("it did not raise")


def arrived(error: BaseException, *, task_name: str = "f") -> Any:
    """What `get` raises for a task that raised this error."""

    def task() -> None:
        raise error

    return failed(task, task_name=task_name)


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class TestItIsTheUsersOwnType:
    def test_it_is_caught_by_either_type(self) -> None:
        error = failed(lambda: 1 / 0, task_name="divide")

        assert isinstance(error, ZeroDivisionError)
        assert isinstance(error, TaskError)
        assert type(error.cause) is ZeroDivisionError
        assert error.args == error.cause.args == ("division by zero",)
        assert error.task_name == "divide"

    def test_its_names_read_well(self) -> None:
        error = arrived(ValueError("bad", 3))

        assert type(error).__name__ == type(error).__qualname__ == "TaskError(ValueError)"
        assert repr(type(error)) == "<class 'parallax.errors.TaskError(ValueError)'>"
        assert repr(error) == "TaskError(ValueError)('bad', 3)"

    def test_one_type_for_each_of_the_users_types(self) -> None:
        first, second = arrived(ValueError(1)), arrived(ValueError(2))

        assert type(first) is type(second)

    def test_the_users_types_are_free_to_go(self) -> None:
        def make() -> weakref.ref[type]:
            kind = type("Passing", (Exception,), {})
            arrived(kind())
            return weakref.ref(kind)

        reference = make()
        gc.collect()

        assert reference() is None

    @pytest.mark.parametrize(
        ("raise_it", "fields"),
        [
            (lambda: Path("/no/such").read_bytes(), {"errno": 2, "filename": "/no/such"}),
            (lambda: b"\xff".decode(), {"encoding": "utf-8", "start": 0, "object": b"\xff"}),
            (lambda: compile("x = (", "cell", "exec"), {"lineno": 1, "filename": "cell"}),
            (lambda: __import__("no_such_module"), {"name": "no_such_module"}),
            (lambda: no_such_name, {"name": "no_such_name"}),  # noqa: F821
            (lambda: object().wrong, {"name": "wrong"}),  # type: ignore[attr-defined]
            (lambda: {}["k"], {"args": ("k",)}),
            (lambda: json.loads("{"), {"pos": 1, "lineno": 1}),
            (
                lambda: subprocess.run(["false"], check=True),
                {"returncode": 1, "cmd": ["false"]},
            ),
        ],
    )
    def test_the_fields_of_standard_types(
        self, raise_it: Callable[[], Any], fields: dict[str, Any]
    ) -> None:
        error = failed(raise_it)

        assert isinstance(error, TaskError)
        assert error.cause is not None
        for name, value in fields.items():
            assert getattr(error, name) == getattr(error.cause, name) == value
        assert isinstance(error, type(error.cause))

    def test_attributes_and_slots(self) -> None:
        class Rich(Exception):
            __slots__ = ("slot",)

            def __init__(self, code: int) -> None:
                super().__init__(f"code {code}")
                self.code = code
                self.slot = [code]

            @property
            def double(self) -> int:
                return 2 * self.code

        error = arrived(Rich(21))

        assert (error.code, error.slot, error.double) == (21, [21], 42)
        assert error.args == ("code 21",), "plain pickle would have made it 'code code 21'"

    def test_attributes_that_have_the_names_of_ours(self) -> None:
        original = ValueError("x")
        original.cause = "mine"  # type: ignore[attr-defined]
        original._parallax_text = "mine"  # type: ignore[attr-defined]

        error = arrived(original)

        assert type(error.cause) is ValueError
        assert error.cause.cause == "mine"
        assert str(error).startswith("x\n")

    def test_a_class_of_the_notebook_is_the_notebooks_own(self) -> None:
        notebook = Notebook()
        notebook.run("class MyError(Exception): pass\ndef f(): raise MyError('x')")
        shipped = ship(notebook["f"])

        error = failed(load(shipped.blob))

        assert isinstance(error, notebook["MyError"])

    def test_errors_of_parallax_are_types_like_others(self) -> None:
        error = arrived(GetTimeoutError("late"))

        assert isinstance(error, GetTimeoutError)
        assert isinstance(error, TimeoutError)
        assert isinstance(error, TaskError)


class TestWhatIsShown:
    def test_the_message_and_the_users_frames(self) -> None:
        notebook = Notebook()
        notebook.run("def inner(x):\n    return 1 / x\n\ndef f():\n    return inner(0)\n")

        text = str(failed(notebook["f"]))

        filename = notebook["f"].__code__.co_filename
        assert text.startswith("division by zero\n\nTask 'f' raised it:\n\nTraceback (most recent")
        assert f'  File "{filename}", line 5, in f\n    return inner(0)' in text
        assert f'  File "{filename}", line 2, in inner\n    return 1 / x' in text
        assert text.endswith("ZeroDivisionError: division by zero")

    def test_the_last_line_of_a_traceback_names_the_type(self) -> None:
        error = failed(lambda: 1 / 0)

        text = shown(error)

        assert text.splitlines()[-1] == "ZeroDivisionError: division by zero"
        assert "parallax.errors.TaskError(ZeroDivisionError): division by zero" in text
        assert text.count("division by zero") == 2

    def test_frames_of_parallax_are_left_out(self) -> None:
        error = failed(lambda: load(b"no pickle"))

        assert isinstance(error, TaskError)
        assert "functions.py" not in error.remote_traceback
        assert "test_failures.py" in error.remote_traceback

    def test_an_error_within_parallax_keeps_its_frames(self) -> None:
        try:
            load(b"no pickle")
        except pickle.UnpicklingError as error:
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
            loaded = load_error(dump_error(error, task_name="f"))

        assert "functions.py" in str(loaded)

    def test_an_error_without_a_traceback_or_a_message(self) -> None:
        loaded = load_error(dump_error(ValueError(), task_name="f"))

        assert str(loaded) == "Task 'f' raised it:\n\nValueError"

    def test_notes_once(self) -> None:
        original = ValueError("x")
        original.add_note("in batch 7")

        error = arrived(original)

        assert error.__notes__ == error.cause.__notes__ == ["in batch 7"]
        assert shown(error).count("in batch 7") == 1

    def test_a_long_message_once_in_full(self) -> None:
        message = "word" * 200

        assert str(arrived(ValueError(message))).count(message) == 1

    def test_huge_messages_are_bounded(self) -> None:
        data = dump_error(ValueError("x" * 50_000_000, b"y" * 50_000_000), task_name="f")

        assert len(data) < 2_000_000
        assert len(str(load_error(data))) < 100_000

    def test_deep_recursion_is_bounded(self) -> None:
        def sink(n: int) -> int:
            return sink(n + 1)

        error = failed(lambda: sink(0))

        assert isinstance(error, RecursionError)
        assert "Previous line repeated" in str(error)


class TestChains:
    def test_cause_and_context(self) -> None:
        def task() -> None:
            try:
                try:
                    {}["key"]
                except KeyError:
                    raise OSError(5, "disk")  # noqa: B904
            except OSError as error:
                raise ValueError("bad") from error

        error = failed(task)

        assert isinstance(error, TaskError)
        cause = error.cause.__cause__  # type: ignore[union-attr]
        assert isinstance(cause, OSError)
        assert cause.errno == 5
        assert isinstance(cause.__context__, KeyError)
        assert "direct cause" in str(error)
        assert "During handling" in str(error)
        assert str(error).index("KeyError: 'key'") < str(error).index("ValueError: bad")

    def test_from_none(self) -> None:
        def task() -> None:
            try:
                1 / 0  # noqa: B018
            except ZeroDivisionError:
                raise ValueError("bad") from None

        error = failed(task)

        assert error.cause.__suppress_context__  # type: ignore[attr-defined]
        assert "ZeroDivisionError" not in str(error)

    def test_deep_chains_are_bounded(self) -> None:
        error: Exception = ValueError(0)
        for number in range(1, 3000):
            deeper = ValueError(number)
            deeper.__cause__ = error
            error = deeper

        data = dump_error(error, task_name="f")

        assert len(data) < 100_000
        text = str(load_error(data))
        assert "earlier errors of the chain left out" in text
        assert text.endswith("ValueError: 2999")

    def test_chains_in_a_circle_end(self) -> None:
        one, two = ValueError("one"), KeyError("two")
        one.__cause__, two.__cause__ = two, one

        cause = arrived(one).cause

        assert cause.__cause__.__cause__ is cause

    def test_errors_in_arguments_and_attributes(self) -> None:
        inner = KeyError("inner")
        inner.__cause__ = OSError(7, "deep")
        outer = ValueError("outer", [inner])
        outer.mine = outer  # type: ignore[attr-defined]
        outer.other = inner  # type: ignore[attr-defined]
        inner.back = outer  # type: ignore[attr-defined]

        cause = arrived(outer).cause

        assert cause.mine is cause
        assert cause.args[1][0] is cause.other
        assert cause.other.back is cause
        assert cause.other.__cause__.errno == 7


class TestNotAnException:
    @pytest.mark.parametrize(
        "original",
        [
            KeyboardInterrupt("stop"),
            SystemExit(3),
            GeneratorExit(),
            asyncio.CancelledError(),
            BaseExceptionGroup("mixed", [KeyboardInterrupt(), ValueError()]),
            StopIteration(5),
            StopAsyncIteration(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_it_arrives_as_a_task_error_alone(self, original: BaseException) -> None:
        """Or it would end the caller's kernel, generator or loop."""
        error = arrived(original)

        assert isinstance(error, TaskError)
        assert not isinstance(error, type(original))
        assert type(error).__name__ == f"TaskError({type(original).__name__})"
        assert type(error.cause) is type(original)
        assert error.cause.args[:1] == original.args[:1]

    def test_the_exit_code_can_be_read(self) -> None:
        assert failed(lambda: sys.exit(3)).cause.code == 3  # type: ignore[attr-defined]

    def test_a_stop_iteration_does_not_cut_the_callers_loop(self) -> None:
        errors = [arrived(ValueError()), arrived(StopIteration())]

        def get(error: BaseException) -> Any:
            raise error

        with pytest.raises(TaskError):
            list(map(get, errors[1:]))


class TestGroups:
    def group(self) -> Any:
        inner = ExceptionGroup("inner", [KeyError("k")])
        with_cause = ValueError("v")
        with_cause.__cause__ = OSError(5, "disk")
        return ExceptionGroup("many", [with_cause, inner])

    def test_except_star(self) -> None:
        error = arrived(self.group())
        seen = []

        try:
            raise error
        except* ValueError as group:
            seen.append(group.exceptions[0].args)
        except* KeyError as group:
            seen.append(group.exceptions[0].exceptions[0].args)  # type: ignore[attr-defined]

        assert seen == [("v",), ("k",)]

    def test_it_is_a_group_with_the_same_members(self) -> None:
        error = arrived(self.group())

        assert isinstance(error, ExceptionGroup)
        assert error.message == "many"
        assert error.exceptions == error.cause.exceptions  # type: ignore[attr-defined]
        assert error.exceptions[0].__cause__.errno == 5  # type: ignore[union-attr]
        assert error.split(ValueError)[0].exceptions[0].args == ("v",)  # type: ignore[union-attr]
        assert "ValueError: v" in str(error)
        assert "KeyError: 'k'" in shown(error)

    def test_a_group_of_the_users_own(self) -> None:
        class MyGroup(ExceptionGroup[Exception]):
            def derive(self, excs: Any) -> MyGroup:
                return MyGroup(self.message, excs)

        error = arrived(MyGroup("mine", [ValueError(1), KeyError(2)]))

        assert isinstance(error, MyGroup)
        _, rest = error.split(ValueError)
        assert type(rest) is MyGroup
        assert [type(member) for member in rest.exceptions] == [KeyError]

    def test_a_member_that_cannot_travel(self) -> None:
        error = arrived(ExceptionGroup("many", [ValueError(1), Homesick("x")]))

        assert isinstance(error, ExceptionGroup)
        assert type(error.exceptions[0]) is ValueError
        assert type(error.exceptions[1]).__name__ == "TaskError(Homesick)"

    def test_large_groups_keep_a_thousand_members(self) -> None:
        error = arrived(ExceptionGroup("many", [ValueError(n) for n in range(3000)]))

        assert [member.args[0] for member in error.exceptions] == list(range(999))


def _make_homesick() -> type[Exception]:
    class Homesick(Exception):
        """Not to be found by its name, so it goes by value, which the lock forbids."""

        lock = threading.Lock()

    return Homesick


Homesick = _make_homesick()


class TestOddTypes:
    def test_a_constructor_with_required_keywords(self) -> None:
        class Odd(Exception):
            def __init__(self, *, code: int) -> None:
                super().__init__(f"code {code}")
                self.code = code

        error = arrived(Odd(code=7))

        assert isinstance(error, Odd)
        assert error.code == 7  # type: ignore[unreachable]

    def test_a_new_with_required_arguments(self) -> None:
        class Odd(OSError):
            def __new__(cls, one: int, two: int) -> Odd:
                return super().__new__(cls, one, two)

            def __init__(self, one: int, two: int) -> None:
                pass

        assert isinstance(arrived(Odd(1, 2)), Odd)

    def test_a_registered_reducer(self) -> None:
        class Registered(Exception):
            pass

        copyreg.pickle(Registered, lambda error: (_rebuild_registered, (Registered, "again")))  # type: ignore[arg-type,return-value]
        try:
            error = arrived(Registered("first"))
        finally:
            del copyreg.dispatch_table[Registered]

        assert isinstance(error, Registered)
        assert error.args == ("rebuilt again",)

    def test_a_reducer_of_its_own(self) -> None:
        class Own(Exception):
            def __reduce__(self) -> Any:
                return _rebuild_registered, (Own, "itself")

        assert arrived(Own("x")).args == ("rebuilt itself",)

    def test_a_type_that_forbids_subclasses(self) -> None:
        """Its own hook is not run, so that `except Final` works even so."""

        class Final(Exception):
            def __init_subclass__(cls) -> None:
                raise TypeError("final")

        assert isinstance(arrived(Final("x")), Final)

    def test_a_metaclass_that_forbids_subclasses(self) -> None:
        class Meta(type):
            def __new__(cls, name: str, bases: Any, namespace: Any) -> Any:
                if bases != (Exception,):
                    raise TypeError("final")
                return super().__new__(cls, name, bases, namespace)

        class Final(Exception, metaclass=Meta):
            pass

        error = arrived(Final("x"))

        assert type(error).__name__.startswith("TaskError(")
        assert isinstance(error.cause, Final)
        assert str(error).startswith("x\n")

    def test_attributes_that_cannot_be_pickled(self) -> None:
        original = ValueError("x", threading.Lock())
        original.lock = threading.Lock()  # type: ignore[attr-defined]
        original.fine = 5  # type: ignore[attr-defined]

        error = arrived(original)

        assert isinstance(error, ValueError)
        assert error.args[0] == "x"
        assert error.args[1].startswith("<lock left behind")
        assert error.lock.startswith("<lock left behind")  # type: ignore[attr-defined]
        assert error.fine == 5  # type: ignore[attr-defined]

    def test_a_class_that_cannot_be_pickled(self) -> None:
        error = arrived(Homesick("x"))

        assert type(error).__name__ == "TaskError(Homesick)"
        assert error.cause is None
        assert error.args == ("x",)

    @pytest.mark.parametrize(
        "name",
        [
            "__str__",
            "__repr__",
            "__reduce__",
            "__reduce_ex__",
            "__setstate__",
            "__setattr__",
            "__getattr__",
            "__getattribute__",
            "__eq__",
            "__hash__",
            "__copy__",
            "__init__",
            "__bool__",
            "args",
            "add_note",
            "with_traceback",
            "__cause__",
        ],
    )
    def test_any_method_that_raises(self, name: str) -> None:
        def broken(self: Any, *args: Any) -> Any:
            raise RuntimeError("broken")

        kind = type("Broken", (Exception,), {})
        original = kind("x")
        if name in ("args", "__cause__"):
            setattr(kind, name, property(broken))
        else:
            setattr(kind, name, broken)

        error = load_error(dump_error(original, task_name="f"))

        assert isinstance(error, TaskError)
        assert type(error).__name__ == "TaskError(Broken)"
        assert "Broken" in str(error)
        assert repr(error)
        assert shown(error)
        assert type(copy.copy(error)).__name__ == "TaskError(Broken)"

    @pytest.mark.parametrize("raised", [ValueError, SystemExit, GeneratorExit, RecursionError])
    def test_unpickling_that_raises(self, raised: type[BaseException]) -> None:
        class Trap(Exception):
            def __reduce__(self) -> Any:
                return _raise, (raised,)

        error = arrived(Trap("x"))

        assert isinstance(error, TaskError)
        assert isinstance(error, Trap), "rebuilt from its parts"

    def test_what_unpickles_as_something_else(self) -> None:
        class Liar(Exception):
            def __reduce__(self) -> Any:
                return int, ()

        assert isinstance(arrived(Liar("x")), Liar)

    def test_junk_for_notes(self) -> None:
        for junk in ("text", 5, [1, "note"], None):
            original = ValueError("x")
            original.__notes__ = junk  # type: ignore[assignment]

            assert isinstance(arrived(original), ValueError)

    def test_names_that_end_in_an_object_with_a_million_items(self) -> None:
        """AttributeError keeps the object that lacked the attribute; it stays behind."""
        items = list(range(1_000_000))

        data = None
        try:
            items.push(1)  # type: ignore[attr-defined]
        except AttributeError as error:
            data = dump_error(error, task_name="f")

        assert data is not None
        assert len(data) < 5_000


def _rebuild_registered(kind: type[BaseException], text: str) -> BaseException:
    return kind(f"rebuilt {text}")


def _raise(kind: type[BaseException]) -> None:
    raise kind


class TestTravellingOn:
    def test_pickled_and_copied(self) -> None:
        error = failed(lambda: 1 / 0)
        error.add_note("a note made here")

        for again in (
            pickle.loads(pickle.dumps(error)),
            copy.copy(error),
            copy.deepcopy(error),
        ):
            assert type(again) is type(error)
            assert str(again) == str(error)
            assert again.__notes__ == ["a note made here"]

    def test_through_an_outer_task_it_stays_the_same_error(self) -> None:
        inner = failed(lambda: 1 / 0, task_name="inner")

        def outer() -> None:
            raise inner

        error = failed(outer, task_name="outer")

        assert type(error) is type(inner)
        assert isinstance(error, TaskError)
        assert error.task_name == "inner"
        assert type(error.cause) is ZeroDivisionError
        text = str(error)
        assert text.startswith("division by zero\n\nTask 'outer' waited for it:\n  File ")
        assert "raise inner" in text
        assert "\n\nTask 'inner' raised it:\n\nTraceback" in text
        assert text.count("division by zero") == 2

    def test_through_many_tasks(self) -> None:
        error = failed(lambda: 1 / 0, task_name="0")
        for number in range(1, 40):
            error = arrived(error, task_name=str(number))

        text = str(error)
        assert "Task '39' waited" in text
        assert "… 31 more tasks waited for it …" in text
        assert text.count("division by zero") == 2

    def test_a_note_made_on_the_way(self) -> None:
        error = arrived(ValueError("x"), task_name="inner")
        error.add_note("seen by outer")

        assert arrived(error, task_name="outer").__notes__ == ["seen by outer"]

    def test_as_the_cause_of_another_error(self) -> None:
        def outer() -> None:
            try:
                raise arrived(KeyError("k"), task_name="inner")
            except KeyError as error:
                raise ValueError("outer failed") from error

        error = failed(outer, task_name="outer")

        assert isinstance(error, ValueError)
        cause = error.cause.__cause__  # type: ignore[attr-defined]
        assert isinstance(cause, KeyError)
        assert isinstance(cause, TaskError)
        assert cause.task_name == "inner"
        assert "Task 'inner' raised it" in str(error)

    def test_among_others_in_a_group(self) -> None:
        error = arrived(ExceptionGroup("g", [arrived(KeyError("k"), task_name="inner")]))

        assert isinstance(error.exceptions[0], KeyError)
        assert error.exceptions[0].task_name == "inner"

    def test_what_stands_in_for_a_lost_error_travels_too(self) -> None:
        original = ValueError("x")
        original.__cause__ = Homesick("lost")
        cause = arrived(original).cause.__cause__

        again = arrived(cause)

        assert type(again).__name__ == "TaskError(Homesick)"
        assert "lost" in str(again)


class TestBetweenProcesses:
    def test_a_class_that_is_not_here(self, tmp_path: Path) -> None:
        (tmp_path / "px_only_there.py").write_text(
            "class Strange(Exception):\n    pass\n\ndef f():\n    raise Strange('odd', 1)\n"
        )
        run_python(
            """
            import pathlib, px_only_there
            from parallax.serial.failures import dump_error
            try:
                px_only_there.f()
            except Exception as error:
                pathlib.Path("data").write_bytes(dump_error(error, task_name="f"))
            """,
            cwd=tmp_path,
        )

        error = load_error((tmp_path / "data").read_bytes())

        assert type(error).__name__ == "TaskError(Strange)"
        assert isinstance(error, TaskError)
        assert error.cause is None
        assert error.args == ("('odd', 1)",)
        assert "raise Strange('odd', 1)" in str(error)

    def test_the_lines_of_a_cell_that_only_the_engine_knows(self, tmp_path: Path) -> None:
        run_python(
            """
            import linecache, pathlib
            from parallax.serial.failures import dump_error
            cell = "def f():\\n    return 1 / 0  # in the cell\\n"
            linecache.cache["<cell>"] = (1, None, cell.splitlines(True), "<cell>")
            exec(compile(cell, "<cell>", "exec"))
            try:
                f()
            except Exception as error:
                pathlib.Path("data").write_bytes(dump_error(error, task_name="f"))
            """,
            cwd=tmp_path,
        )
        assert "<cell>" not in linecache.cache

        text = str(load_error((tmp_path / "data").read_bytes()))

        assert 'File "<cell>", line 2, in f\n    return 1 / 0  # in the cell' in text


def test_bytes_that_are_no_error() -> None:
    for data in (b"", b"junk", pickle.dumps(5), pickle.dumps((1, 2))):
        error = load_error(data)

        assert isinstance(error, TaskError)
        assert "unreadable" in str(error)


values = st.recursive(
    st.none()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats()
    | st.builds(threading.Lock)
    | st.builds(ValueError, st.text())
    | st.just(lambda: 1)
    | st.just(Homesick),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
bases = st.sampled_from((Exception, ValueError, KeyError, OSError, ImportError, SyntaxError))
odd_bases = st.sampled_from((StopIteration, KeyboardInterrupt, SystemExit, TaskError, UnicodeError))


def _broken(self: Any, *args: Any) -> Any:
    raise RuntimeError("broken")


methods = st.dictionaries(
    st.sampled_from(["__str__", "__repr__", "__reduce__", "__getattr__", "__setattr__", "__eq__"]),
    st.just(_broken),
    max_size=2,
)


@given(
    base=bases | odd_bases,
    methods=methods,
    slots=st.sets(st.sampled_from(["one", "two"])),
    args=st.lists(values, max_size=3),
    attributes=st.dictionaries(st.text(min_size=1), values, max_size=3),
    notes=st.lists(st.text(), max_size=2),
    grouped=st.booleans(),
)
def test_any_error_arrives(
    base: type[BaseException],
    methods: dict[str, Any],
    slots: set[str],
    args: list[Any],
    attributes: dict[str, Any],
    notes: list[str],
    grouped: bool,
) -> None:
    kind = type("Generated", (base,), {"__slots__": tuple(slots)})
    original = kind.__new__(kind)
    original.args = tuple(args)
    for slot in slots:
        setattr(original, slot, args)
    for note in notes:
        original.add_note(note)
    original.__dict__.update(attributes)
    for name, method in methods.items():
        setattr(kind, name, method)
    if grouped:
        original = BaseExceptionGroup("group", [original, ValueError()])

    error: Any = load_error(dump_error(original, task_name="f"))

    assert isinstance(error, TaskError)
    assert error.task_name == "f"
    assert "TaskError(" in type(error).__name__
    assert str(error)
    assert repr(error)
    if not (grouped and "__getattr__" in methods):  # a member that Python itself cannot show
        assert shown(error)
    assert isinstance(error.cause, type(original))
    ends_loops = isinstance(original, StopIteration)
    if isinstance(original, Exception) and not ends_loops:
        assert isinstance(error, type(original))
    again = load_error(dump_error(error, task_name="outer"))
    assert type(again) is type(error)
    assert pickle.loads(pickle.dumps(error)).task_name == "f"
