"""Keys of calls: the same for calls that mean the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.errors import UsageError
from parallax.serial.call_key import (
    Key,
    code_digest,
    complete,
    function_digest,
    known_key,
    parts_of,
    recipe_of,
)

CODE = bytes(16)


class Later:
    """Stands for a value that is not here."""


def f(x: Any, y: Any = 2, *rest: Any, z: Any = 3, **more: Any) -> None:
    """Any signature."""


def is_later(value: Any) -> bool:
    return type(value) is Later


def key(*args: Any, **kwargs: Any) -> Key:
    found = known_key(recipe_of(CODE, parts_of(f, args, kwargs, is_later)))
    assert found is not None
    return found


def test_positions_and_names_are_as_good() -> None:
    assert key(1, 5) == key(1, y=5) == key(y=5, x=1)
    assert key(1, z=1, a=2) == key(a=2, x=1, z=1)


def test_other_calls_have_other_keys() -> None:
    calls = [
        key(),
        key(1),
        key(1, 2),
        key(2, 1),
        key(1, 2, 3),
        key(1, 2, z=3),
        key(1, 2, w=3),
        key(x=1, w=2),
        key("1"),
    ]
    assert len(set(calls)) == len(calls)


@given(st.lists(st.integers() | st.text(), min_size=1, max_size=4), st.data())
def test_what_comes_later_makes_the_same_key(args: list[Any], data: st.DataObject) -> None:
    later = data.draw(st.sets(st.integers(0, len(args) - 1), min_size=1))
    there = [Later() if i in later else arg for i, arg in enumerate(args)]
    recipe = recipe_of(CODE, parts_of(f, there, {"z": Later()}, is_later))
    assert known_key(recipe) is None
    assert complete(recipe, args, {"z": 9}, "f") == key(*args, z=9)


def test_a_value_without_content_is_named_whenever_it_comes() -> None:
    generator = (i for i in "a")
    with pytest.raises(UsageError, match="argument 'y' of f cannot be part of a cache's key"):
        key(1, y=generator)
    recipe = recipe_of(CODE, parts_of(f, [1, Later()], {}, is_later))
    with pytest.raises(UsageError, match="argument 'y' of f cannot be part of a cache's key"):
        complete(recipe, [1, generator], {}, "f")


def test_the_number_of_returns_and_versions_count(monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_digest(f, "f")
    one = function_digest(code, 1)
    assert function_digest(code, 1) == one
    assert function_digest(code, 2) != one
    monkeypatch.setattr("parallax.serial.call_key.VERSION", "99")
    assert function_digest(code, 1) != one
    monkeypatch.undo()
    monkeypatch.setattr("parallax.serial.call_key.FORMAT", 99)
    assert function_digest(code, 1) != one
