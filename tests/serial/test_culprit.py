"""The error names what cannot be pickled, the way to it, and the cure."""

from __future__ import annotations

import concurrent.futures
import functools
import pickle
import socket
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.errors import SerializationError
from parallax.serial import culprit
from parallax.serial.culprit import explain
from parallax.serial.functions import ship
from tests.serial.notebook import Notebook


def refused(value: Any, name: str = "value") -> SerializationError:
    """What `explain` says of a value that truly cannot be pickled."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever pickling raises
        cloudpickle.dumps(value)
    return explain(value, caught.value, name=name)


class Session:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.name = "a session"

    def describe(self) -> str:
        return self.name


class Slotted:
    __slots__ = ("lock", "name")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.name = "slotted"


class Node:
    def __init__(self, parent: Any = None) -> None:
        self.child = Node(self) if parent is None else None
        self.parent = parent
        if parent is None:
            self.lock = threading.Lock()


class Stubborn:
    def __getstate__(self) -> Any:
        raise ValueError("not today")


class Unwilling:
    def __getstate__(self) -> Any:
        raise RuntimeError("I stay.")


class TestTheWay:
    def test_through_a_closure_into_an_attribute(self) -> None:
        db = Session()

        def f() -> Any:
            return db

        with pytest.raises(SerializationError) as caught:
            ship(f)

        error = caught.value
        assert str(error).startswith(
            "cannot ship f: closure variable 'db' → Session.lock is a _thread.lock object, "
            "which cannot be pickled. "
        )
        assert error.path == "f → closure 'db' → .lock"
        assert isinstance(error.__cause__, TypeError)

    def test_through_globals_and_helpers(self) -> None:
        notebook = Notebook()
        notebook.names["db"] = sqlite3.connect(":memory:")
        notebook.run("def helper(): return db\ndef f(): return helper()")

        error = refused(notebook["f"], "f")

        assert error.path == "f → global 'helper' → global 'db'"
        assert "global 'helper' → global 'db' is a sqlite3.Connection object" in str(error)
        notebook["db"].close()

    def test_through_containers(self) -> None:
        value = {"a": [1, (2, {"b": threading.Lock()})]}

        error = refused(value)

        assert error.path == "value → ['a'] → [1] → [1] → ['b']"
        assert "cannot ship value: value['a'][1][1]['b'] is a _thread.lock" in str(error)

    def test_a_name_of_several_words_is_not_repeated(self) -> None:
        error = refused({"a": [threading.Lock()]}, name="argument 'x' of f")

        assert error.path == "argument 'x' of f → ['a'] → [0]"
        assert "cannot ship argument 'x' of f: its part ['a'][0] is a _thread.lock" in str(error)

    def test_a_reason_that_is_a_sentence_ends_once(self) -> None:
        error = refused(Unwilling())

        assert "pickling it raised RuntimeError: I stay. Create it inside the task" in str(error)

    @pytest.mark.parametrize(
        ("make", "path"),
        [
            (lambda: {threading.Lock(): 1}, "key <"),
            (lambda: {threading.Lock()}, "item <"),
            (Slotted, ".lock"),
            (lambda: functools.partial(print, 1, threading.Lock()), "argument 1"),
            (lambda: functools.partial(print, end=threading.Lock()), "argument 'end'"),
            (lambda: Session().describe, "its instance → .lock"),
            (lambda: _default(threading.Lock()), "a default"),
            (lambda: _keyword_default(threading.Lock()), "the default of 'lock'"),
            (lambda: type("Local", (), {"lock": threading.Lock()}), ".lock"),
            (lambda: type("Local", (), {"p": property(_closure(threading.Lock()))}), ".p"),
            (lambda: functools.lru_cache(_closure(threading.Lock())), "the cached function"),
        ],
    )
    def test_through_other_things(self, make: Callable[[], Any], path: str) -> None:
        assert refused(make()).path.startswith(f"value → {path}")

    def test_a_culprit_by_itself(self) -> None:
        error = refused(threading.Lock(), "lock")

        assert str(error).startswith("cannot ship lock: it is a _thread.lock object, which")
        assert error.path == "lock"

    def test_what_refers_back_to_the_guilty_is_not_guilty(self) -> None:
        assert refused(Node()).path == "value → .lock"

    def test_circles_end(self) -> None:
        items: list[Any] = [[], threading.Lock()]
        items[0].append(items)

        assert refused(items).path == "value → [1]"

    def test_a_million_items_are_searched_by_halving(self, monkeypatch: pytest.MonkeyPatch) -> None:
        value = [*range(300_000), threading.Lock(), *range(300_000)]
        looked_at = []

        def looking(parts: list[Any], path: Any) -> Any:
            looked_at.append(len(parts))
            return really(parts, path)

        really = culprit._refusal
        monkeypatch.setattr(culprit, "_refusal", looking)
        assert refused(value).path == "value → [300000]"
        assert len(looked_at) <= 25
        assert sum(looked_at) <= 2.1 * len(value)

    def test_an_own_method_that_raises(self) -> None:
        error = refused([Stubborn()])

        assert f"value[0] is a {__name__}.Stubborn object" in str(error)
        assert "and pickling it raised ValueError: not today" in str(error)

    def test_nested_too_deeply(self) -> None:
        value: list[Any] = []
        for _ in range(100_000):
            value = [value]

        assert "it is nested too deeply" in str(refused(value))
        while value:
            value = value.pop()

    def test_an_error_that_does_not_come_back(self) -> None:
        """Something else failed, once; the value itself is all that can be named."""
        error = explain([1, 2], OSError("gone"), name="x")

        assert str(error).startswith("cannot ship x: it is a list, and pickling it raised OSError")

    def test_it_is_pickled_with_its_path(self) -> None:
        error = pickle.loads(pickle.dumps(refused([threading.Lock()])))

        assert error.path == "value → [0]"


def _default(value: Any) -> Any:
    def f(lock: Any = value) -> Any:
        return lock

    return f


def _keyword_default(value: Any) -> Any:
    def f(*, lock: Any = value) -> Any:
        return lock

    return f


def _closure(value: Any) -> Any:
    return lambda *_: value


def _generator() -> Iterator[int]:
    yield 1


class TestTheCure:
    @pytest.mark.parametrize(
        ("make", "cure"),
        [
            (threading.Lock, "create it inside the task"),
            (threading.RLock, "create it inside the task"),
            (threading.Event, "create it inside the task"),
            (threading.local, "create it inside the task"),
            (lambda: sqlite3.connect(":memory:"), "Connect inside the task"),
            (socket.socket, "Connect inside the task"),
            (_generator, "Pass a list of its items"),
            (lambda: weakref.ref(Session()), "Pass the object that it refers to"),
            (concurrent.futures.ThreadPoolExecutor, "submit tasks instead"),
            (concurrent.futures.Future, "pass its result"),
            (lambda: threading.Thread(target=print), "It lives in this process only"),
            (lambda: __import__("queue").Queue(), "return values from tasks"),
            (lambda: __import__("sys")._getframe(), "Pass the values that you need"),
            (Stubborn, "define how it is pickled with __reduce__"),
        ],
    )
    def test_of_the_usual_suspects(self, make: Callable[[], Any], cure: str) -> None:
        suspect = make()

        error = refused({"it": suspect})

        assert error.path == "value → ['it']", "what holds the lock is named, not the lock"
        assert cure in str(error)
        if hasattr(suspect, "close") and not isinstance(suspect, Iterator):
            suspect.close()

    def test_of_open_files(self, tmp_path: Path) -> None:
        with open(tmp_path / "f", "wb") as file:
            assert "Open the file inside the task" in str(refused([file]))

    def test_of_what_belongs_to_the_notebook(self) -> None:
        Shell = type("InteractiveShell", (Stubborn,), {"__module__": "IPython.core"})

        assert "It belongs to the notebook's kernel" in str(refused([Shell()]))


@given(
    st.recursive(
        st.just("lock") | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(), inner),
        max_leaves=12,
    )
)
def test_the_path_leads_to_a_lock(shape: Any) -> None:
    value = _with_locks(shape)
    try:
        cloudpickle.dumps(value)
    except TypeError as refusal:
        steps = explain(value, refusal).path.split(" → ")[1:]
        for step in steps:
            value = value[int(step.strip("[]"))]
        assert isinstance(value, type(threading.Lock()))


def _with_locks(shape: Any) -> Any:
    if isinstance(shape, list):
        return [_with_locks(item) for item in shape]
    if isinstance(shape, dict):
        return {key: _with_locks(item) for key, item in shape.items()}
    return threading.Lock() if shape == "lock" else shape
