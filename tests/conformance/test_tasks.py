"""`@remote`, calls, options as such, `map`."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

import parallax as px

pytestmark = pytest.mark.usefixtures("session")


@px.remote
def add(a: Any, b: Any = 10) -> Any:
    """Add two things."""
    return a + b


def test_remote_returns_a_ref_at_once_and_get_its_value() -> None:
    ref = add.remote(1, 2)
    assert isinstance(ref, px.ObjectRef)
    assert px.get(ref) == 3


def test_arguments_by_position_by_name_and_by_default() -> None:
    assert px.get([add.remote(1), add.remote(1, b=2), add.remote(b=5, a=4)]) == [11, 3, 9]


def test_remote_with_options() -> None:
    @px.remote(num_cpus=1, max_retries=0)
    def double(x: int) -> int:
        return 2 * x

    assert px.get(double.remote(4)) == 8


@pytest.mark.needs("parallax")
@pytest.mark.parametrize(
    "function",
    [lambda x: x + 1, functools.partial(pow, 2), math.sqrt, len, str.upper],
    ids=["lambda", "partial", "builtin", "len", "method"],
)
def test_any_callable_can_be_remote(function: Any) -> None:
    argument = {len: "abc", str.upper: "abc"}.get(function, 4)
    assert px.get(px.remote(function).remote(argument)) == function(argument)


def test_async_functions_run_to_their_end() -> None:
    @px.remote
    async def later(x: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return x + 1

    assert px.get(later.remote(1)) == 2


def test_calling_a_remote_function_says_how_to_call_it() -> None:
    with pytest.raises(TypeError, match=r"add\.remote\("):
        add(1, 2)


@pytest.mark.needs("parallax")
def test_the_function_itself_is_within_reach() -> None:
    assert add.function(1, 2) == 3
    assert add.__name__ == "add"
    assert add.__doc__ == "Add two things."
    assert repr(add) == "<remote function add(a, b=10)>"
    assert repr(px.remote(num_cpus=2, name="n")(max)) == "<remote function n, num_cpus=2>"


def test_options_return_a_new_callable() -> None:
    other = add.options(num_cpus=2)
    assert other is not add
    assert px.get([other.remote(1, 1), add.remote(1, 2)]) == [2, 3]


@pytest.mark.needs("parallax")
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("num_cpu", "num_cpus"),
        ("cpus", "num_cpus"),
        ("retries", "max_retries"),
        ("timeout", "timeout_s"),
        ("num_return", "num_returns"),
    ],
)
def test_an_unknown_option_names_the_nearest_one(wrong: str, right: str) -> None:
    with pytest.raises(px.errors.UsageError, match=f"{wrong}.*Did you mean {right}"):
        add.options(**{wrong: 1})
    with pytest.raises(px.errors.UsageError, match=f"{wrong}.*Did you mean {right}"):
        px.remote(**{wrong: 1})


@pytest.mark.needs("parallax")
@pytest.mark.parametrize(
    "options",
    [
        {"num_cpus": -1},
        {"num_cpus": True},
        {"num_cpus": float("nan")},
        {"num_gpus": 1.5},
        {"memory": "1G"},
        {"resources": {"CPU": 2}},
        {"resources": ["crane"]},
        {"num_returns": -1},
        {"num_returns": "many"},
        {"max_retries": -2},
        {"max_retries": 1.5},
        {"retry_exceptions": [int]},
        {"timeout_s": 0},
        {"timeout_s": -1},
        {"max_calls": 0},
        {"backpressure": 0},
        {"scheduling_strategy": "EVERYWHERE"},
        {"name": 5},
    ],
    ids=repr,
)
def test_a_value_that_makes_no_sense_fails_where_it_is_written(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(px.errors.UsageError, match=re.escape(name)):
        px.remote(**options)


@pytest.mark.needs("parallax")
def test_remote_on_something_else() -> None:
    with pytest.raises(px.errors.UsageError):
        px.remote(5)
    with pytest.raises(px.errors.UsageError, match="already"):
        px.remote(add)


def test_a_ref_as_argument_is_replaced_by_its_value_and_makes_a_dependency() -> None:
    one = px.put(1)
    two = add.remote(one, 1)
    assert px.get([add.remote(two, one), add.remote(a=one, b=two), add.remote(0, b=two)]) == [
        3,
        3,
        2,
    ]


def test_refs_inside_containers_are_passed_as_refs() -> None:
    @px.remote
    def kinds(things: Any, named: Any) -> list[str]:
        return [type(things[0]).__name__, type(named["x"][0]).__name__]

    ref = px.put(1)
    assert px.get(kinds.remote([ref], {"x": (ref,)})) == ["ObjectRef", "ObjectRef"]


def test_one_value_as_several_arguments() -> None:
    ref = px.put([1])
    assert px.get(add.remote(ref, ref)) == [1, 1]


def test_a_long_chain_and_a_wide_fan() -> None:
    ref = px.put(0)
    for _ in range(200):
        ref = add.remote(ref, 1)
    assert px.get(ref) == 200

    @px.remote
    def total(*numbers: int) -> int:
        return sum(numbers)

    assert px.get(total.remote(*[add.remote(i, 0) for i in range(100)])) == sum(range(100))


def test_arguments_are_copies() -> None:
    @px.remote
    def append(items: list[int]) -> list[int]:
        items.append(4)
        return items

    mine = [1, 2, 3]
    assert px.get(append.remote(mine)) == [1, 2, 3, 4]
    assert mine == [1, 2, 3]


def test_arguments_are_those_at_the_time_of_the_call() -> None:
    mine = [1, 2, 3]
    ref = add.remote(mine, [])
    mine.append(4)
    assert px.get(ref) == [1, 2, 3]


@pytest.mark.needs("parallax")
def test_everything_has_a_repr_in_text_and_in_html() -> None:
    @px.remote
    def count() -> Iterator[int]:
        yield 1

    generator = count.remote()
    things = [add, px.put(1), generator, px.job_of(px.remote(len).remote("")), px.jobs()[0]]
    things += [px.get_runtime_context(), *generator]
    for thing in things:
        assert " object at 0x" not in repr(thing)
        html = thing._repr_html_()  # type: ignore[attr-defined]
        assert html.startswith("<")
        assert html.endswith(">")


# ---- map ----------------------------------------------------------------------------------


@pytest.mark.needs("parallax")
@pytest.mark.parametrize("chunk", ["auto", 1, 2, 7, 1000])
def test_map_gives_one_ref_an_item_in_order(chunk: Any) -> None:
    refs = add.map(range(50), chunk=chunk)
    assert all(isinstance(ref, px.ObjectRef) for ref in refs)
    assert px.get(refs) == [x + 10 for x in range(50)]


@pytest.mark.needs("parallax")
def test_map_over_several_iterables_ends_with_the_shortest() -> None:
    assert px.get(add.map([1, 2, 3], iter([10, 20]))) == [11, 22]
    assert add.map([]) == []


@pytest.mark.needs("parallax")
def test_map_over_refs_and_large_items_among_small_ones() -> None:
    refs = add.map([1, px.put(2), 3, "x" * 100_000], [1, 1, px.put(1), "y"])
    assert px.get(refs[:3]) == [2, 3, 4]
    assert len(px.get(refs[3])) == 100_001


@pytest.mark.needs("parallax")
@pytest.mark.parametrize("chunk", ["auto", 4])
def test_an_error_in_a_map_is_that_of_its_item_alone(chunk: Any) -> None:
    @px.remote
    def inverse(x: int) -> float:
        return 1 / x

    refs = inverse.map([1, 2, 0, 4], chunk=chunk)
    assert px.get([refs[0], refs[1], refs[3]]) == [1, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError):
        px.get(refs[2])


@pytest.mark.needs("parallax")
def test_map_with_wrong_arguments() -> None:
    with pytest.raises(px.errors.UsageError):
        add.map()
    with pytest.raises(px.errors.UsageError, match="chunk"):
        add.map([1], chunk=0)
    with pytest.raises(px.errors.UsageError, match="chunk"):
        add.map([1], chunk="big")
    with pytest.raises(px.errors.UsageError, match="iterable"):
        add.map(px.put([1, 2]))
    with pytest.raises(TypeError):
        add.map(5)


@pytest.mark.needs("parallax")
@pytest.mark.parametrize("backpressure", [None, 1, 3])
def test_map_unordered_yields_every_value(backpressure: int | None) -> None:
    values = list(px.map_unordered(add, range(20), backpressure=backpressure))
    assert sorted(values) == [x + 10 for x in range(20)]


@pytest.mark.needs("parallax")
def test_map_unordered_takes_items_as_tasks_finish() -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    values = px.map_unordered(add, endless(), backpressure=3)
    for count in range(1, 10):
        next(values)
        assert taken <= count + 2 + 3


@pytest.mark.needs("parallax")
def test_map_unordered_with_wrong_arguments() -> None:
    with pytest.raises(px.errors.UsageError, match="remote function"):
        px.map_unordered(len, [1])
    with pytest.raises(px.errors.UsageError, match="backpressure"):
        px.map_unordered(add, [1], backpressure=0)
    with pytest.raises(px.errors.UsageError, match="one return value"):
        px.map_unordered(add.options(num_returns=2), [1])
