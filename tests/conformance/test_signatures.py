"""A call that does not fit its function fails where it is written."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest

import parallax as px
from tests.conformance.tasks import same

pytestmark = pytest.mark.usefixtures("session")


@px.remote
def add(a: Any, b: Any = 10, *, scale: Any = 1) -> Any:
    """A function of all kinds of parameters."""
    return (a + b) * scale


@pytest.mark.parametrize(
    "call",
    [
        lambda: add.remote(),
        lambda: add.remote(1, 2, 3),
        lambda: add.remote(1, c=3),
        lambda: add.remote(1, a=2),
        lambda: add.remote(b=2),
        lambda: add.options(num_cpus=2).remote(1, 2, 3),
        lambda: same.remote(),
    ],
)
def test_a_call_that_does_not_fit_is_a_type_error_at_once(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="argument"):
        call()


@pytest.mark.needs("parallax")
def test_it_shows_the_signature_and_the_call() -> None:
    @px.remote
    def area(width, height=2):  # type: ignore[no-untyped-def]
        return width * height

    with pytest.raises(
        TypeError, match=re.escape("called with 1 positional argument and deep=...")
    ):
        area.remote(1, deep=3)
    with pytest.raises(TypeError, match=r"called with no positional arguments: missing.*'width'"):
        area.remote()
    with pytest.raises(TypeError) as caught:
        area.remote(1, 2, 3)
    assert str(caught.value) == (
        "area(width, height=2) cannot be called with 3 positional arguments: too many positional "
        "arguments. No task was started."
    )


@pytest.mark.needs("parallax")
def test_a_huge_signature_is_cut() -> None:
    @px.remote
    def use(x: Any = "x" * 100_000) -> None:
        pass

    with pytest.raises(TypeError) as caught:
        use.remote(1, 2)
    assert len(str(caught.value)) < 400


@pytest.mark.needs("parallax")
def test_nothing_is_submitted_by_a_call_that_does_not_fit() -> None:
    with px.job("empty") as job:
        with pytest.raises(TypeError):
            add.remote(1, 2, 3)
        with pytest.raises(TypeError):
            add.map([1], [2], [3])
        with pytest.raises(TypeError):
            px.map_unordered(px.remote(lambda: 1), [1])
    assert not any(job.counts.values())


@pytest.mark.needs("parallax")
def test_a_map_that_does_not_fit_leaves_its_iterables_alone() -> None:
    items = iter([1, 2])
    with pytest.raises(TypeError):
        add.map(items, items, items)
    assert list(items) == [1, 2]


def test_calls_that_fit_go_on_fitting() -> None:
    for _ in range(2):
        refs = [add.remote(1), add.remote(1, 2), add.remote(1, b=2), add.remote(b=2, scale=3, a=1)]
        assert px.get(refs) == [11, 3, 3, 9]
        with pytest.raises(TypeError):
            add.remote(1, 2, 3)


def test_any_number_of_arguments_where_the_function_takes_any() -> None:
    @px.remote
    def count(*args: Any, **named: Any) -> int:
        return len(args) + len(named)

    assert px.get([count.remote(*range(n), **{f"k{n}": n}) for n in range(20)]) == list(
        range(1, 21)
    )


@pytest.mark.needs("parallax")
@pytest.mark.parametrize(
    "function", [max, functools.partial(max, 0), dict.fromkeys, getattr], ids=repr
)
def test_functions_without_a_signature_are_left_to_the_engine(function: Any) -> None:
    with pytest.raises((TypeError, px.errors.TaskError)):
        px.get(px.remote(function).remote())


@pytest.mark.needs("parallax")
def test_what_a_wrapper_takes_counts_and_not_what_it_shows() -> None:
    def connected(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            return function("connection", *args, **named)

        return call

    @px.remote
    @connected
    def query(connection: str, text: str) -> str:
        return f"{connection}: {text}"

    assert px.get(query.remote("x")) == "connection: x"
    with pytest.raises(px.errors.TaskError, match="query"):
        px.get(query.remote())


@pytest.mark.needs("parallax")
def test_a_function_that_was_reloaded_in_place() -> None:
    def area(width: Any) -> Any:
        return width

    def area_now(width: Any, height: Any) -> Any:
        return width * height

    remote = px.remote(area)
    with pytest.raises(TypeError):
        remote.remote(2, 3)
    area.__code__ = area_now.__code__
    assert px.get(remote.remote(2, 3)) == 6
