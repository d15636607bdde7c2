"""`durable=True` on every session; what it is for, named pools show in tests/pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import parallax as px
from parallax.errors import UsageError
from tests.conformance.actors import Counter

pytestmark = [pytest.mark.needs("parallax"), pytest.mark.usefixtures("session")]


@px.remote(durable=True)
def add(*numbers: Any) -> Any:
    """Their sum."""
    return sum(numbers)


@px.remote(durable=True, num_returns=2)
def halve(number: int) -> tuple[int, int]:
    """Two parts of it."""
    return number // 2, number - number // 2


def test_durable_tasks_are_tasks() -> None:
    first, second = halve.remote(7)
    total = add.remote(first, second, px.put(10))
    assert px.get(total) == 17
    assert px.get(add.map(range(5))) == [0, 1, 2, 3, 4]
    assert px.get(add.remote(np.ones(1 << 17), 1)).sum() == 1 << 18
    assert px.get(add.options(durable=False).remote(total, 1)) == 18
    assert px.get(px.remote(sum).remote([1, 2])) == 3
    assert px.wait([add.remote(1)])[1] == []
    assert add.options(num_returns=0).remote() is None
    with pytest.raises(TypeError):
        px.get(add.remote("not a number", total))


def test_large_values_that_it_captures_are_fine() -> None:
    table = np.arange(1 << 18)

    @px.remote(durable=True)
    def look_up(place: int) -> int:
        return int(table[place])

    assert px.get(look_up.remote(5)) == 5


def test_in_tasks_it_has_no_effect() -> None:
    @px.remote(durable=True)
    def outer(number: int) -> Any:
        return px.get(add.remote(number, 1))

    assert px.get(outer.remote(1)) == 2


def test_kept_like_any_other() -> None:
    px.keep(add.remote(1, 2), "sum")
    assert px.recall("sum") == 3
    px.forget("sum")


def test_references_inside_of_arguments_are_refused() -> None:
    counter = Counter.remote()
    for argument in ([px.put(1)], {"actor": counter}, (np.ones(1 << 17), px.put(1))):
        with pytest.raises(UsageError, match=r"add is durable, and its arguments contain .* own"):
            add.remote(argument)
        with pytest.raises(UsageError, match="add is durable"):
            add.map([argument])
    cached = add.options(cache=True)
    with pytest.raises(UsageError):
        cached.remote([px.put(1)])


def test_references_from_outside_are_refused() -> None:
    ref = px.put(1)

    @px.remote(durable=True)
    def read() -> Any:
        return px.get(ref)

    with pytest.raises(UsageError, match="read is durable, and uses references or handles"):
        read.remote()
    assert px.get(read.options(durable=False).remote()) == 1


def numbers() -> Iterator[int]:
    """Nothing but a stream."""
    yield 1


class Plain:
    """A class."""


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (numbers, {}, r"numbers streams its results, and a stream ends with its reader"),
        (sum, {"num_returns": "streaming"}, "sum streams its results"),
        (sum, {"max_retries": 0}, r"which max_retries=0 forbids. Allow max_retries=1"),
        (sum, {"durable": 1}, "durable=1 must be True or False"),
        (Plain, {}, 'lifetime="detached"'),
    ],
)
def test_what_cannot_be_durable_says_what_to_do(
    function: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        px.remote(**{"durable": True, **options})(function)


def test_calls_of_actors_cannot_be_durable() -> None:
    counter = Counter.remote()
    with pytest.raises(UsageError, match=r"Calls end with their actor.*parallax\.keep"):
        counter.add.options(durable=True)


def test_placement_groups_cannot_be_durable() -> None:
    group = px.placement_group([{"CPU": 1}])
    with pytest.raises(UsageError, match="a placement group ends with its pool"):
        add.options(scheduling_strategy=group)
    px.remove_placement_group(group)
