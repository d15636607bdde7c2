"""The `?` key: what every public name says of itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import parallax as px

FUNCTIONS = {name: thing for name in px.__all__ if inspect.isfunction(thing := getattr(px, name))}
CLASSES = {name: thing for name in px.__all__ if inspect.isclass(thing := getattr(px, name))}
VALUES = {"NodeAffinity", "PlacementGroupSchedulingStrategy", "Pool", "RuntimeContext"}
"""Plain data, frozen."""
WAITS = re.compile(
    r"[Bb]locks|returns? at once|does not (block|wait)|round trip|Starts nothing|Joins none",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"^ +\*{0,2}(\w+(?:, \w+)*): \S", re.MULTILINE)


def members() -> Iterator[Any]:
    for name, kind in CLASSES.items():
        for attribute, value in vars(kind).items():
            if not attribute.startswith("_"):
                function = getattr(value, "fget", value)
                if inspect.isfunction(function):
                    yield pytest.param(function, id=f"{name}.{attribute}")


def functions() -> Iterator[Any]:
    yield from (pytest.param(function, id=name) for name, function in FUNCTIONS.items())


def described(text: str, section: str) -> set[str]:
    """The names that a section of a docstring has entries for."""
    _, found, rest = text.partition(f"{section}:\n")
    if not found:
        return set()
    lines = rest.split("\n\n", 1)[0]
    return {name for entry in _ENTRY.findall(lines) for name in entry.split(", ")}


def test_the_door_opens_on_all_that_it_names() -> None:
    assert sorted(px.__all__) == px.__all__
    assert all(hasattr(px, name) for name in px.__all__)
    assert "__version__" in px.__all__


@pytest.mark.parametrize("name", sorted(set(px.__all__) - {"__version__"}))
def test_it_begins_with_a_sentence_in_one_line(name: str) -> None:
    text = inspect.getdoc(getattr(px, name))
    assert text
    first = text.splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 100


@pytest.mark.parametrize("function", [*functions(), *members()])
def test_it_describes_every_argument(function: Any) -> None:
    text = inspect.getdoc(function)
    assert text
    names = set(inspect.signature(function).parameters) - {"self"}
    if function is px.remote:  # its options are what it takes
        names = set(px.remote(len).task_options.__slots__)
    # A docstring without sections may name them in its sentence.
    assert names <= (described(text, "Args") or set(re.findall(r"`(\w+)`", text)))


@pytest.mark.parametrize("function", [*functions()])
def test_it_says_whether_it_waits(function: Any) -> None:
    assert WAITS.search(inspect.getdoc(function) or "")


@pytest.mark.parametrize("function", [*functions()])
def test_it_names_its_errors(function: Any) -> None:
    if inspect.signature(function).parameters and function is not px.pools:
        assert "Raises:\n" in (inspect.getdoc(function) or "")


@pytest.mark.parametrize(
    "thing", [*FUNCTIONS.values(), *CLASSES.values()], ids=lambda t: t.__name__
)
def test_it_has_an_example(thing: Any) -> None:
    if thing.__name__ not in VALUES:
        assert ">>> " in (inspect.getdoc(thing) or "")


@pytest.mark.parametrize("name", sorted(set(CLASSES) - VALUES))
def test_classes_say_what_threads_may_do(name: str) -> None:
    assert "thread" in (inspect.getdoc(CLASSES[name]) or "").lower()


def test_functions_may_be_called_from_any_thread() -> None:
    assert "any\nthread" in (px.__doc__ or "")


@pytest.mark.parametrize(
    "error",
    [kind for kind in vars(px.errors).values() if inspect.isclass(kind)],
    ids=lambda kind: kind.__name__,
)
def test_every_error_says_what_it_means(error: type) -> None:
    assert issubclass(error, px.errors.ParallaxError) or error.__module__ != "parallax.errors"
    assert (error.__doc__ or "").splitlines()[0].endswith(".")
