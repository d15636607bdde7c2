"""Wrong arguments of the verbs: what was wrong, with its value, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import parallax as px
from tests.conformance.tasks import same

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]

verbs = pytest.mark.parametrize(
    "verb", [px.get, px.wait, px.as_completed], ids=lambda v: v.__name__
)


@px.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


@verbs
@pytest.mark.parametrize("wrong", [5, None, "abc", b"abc", same], ids=repr)
def test_what_is_no_ref(verb: Callable[..., Any], wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"{verb.__name__} takes .* not {type(wrong).__name__}: "):
        verb(wrong)


@verbs
def test_a_list_with_something_else_names_the_first(verb: Callable[..., Any]) -> None:
    ref = px.put(1)
    with pytest.raises(TypeError, match=r"item 1 is list: \[ObjectRef"):
        verb([ref, [ref], 5])


@verbs
def test_a_generator_is_to_be_iterated_over(verb: Callable[..., Any]) -> None:
    generator = count.remote(1)
    with pytest.raises(TypeError, match="iterate over the generator"):
        verb(generator)
    with pytest.raises(TypeError, match="iterate over"):
        verb([generator])
    list(generator)


@pytest.mark.parametrize("verb", [px.wait, px.as_completed], ids=lambda v: v.__name__)
def test_a_bare_ref_where_a_list_is_due(verb: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"write {verb.__name__}\(\[ref\]\)"):
        verb(px.put(1))


@verbs
@pytest.mark.parametrize("timeout", [-1, "3", True, float("nan")], ids=repr)
def test_timeouts(verb: Callable[..., Any], timeout: Any) -> None:
    with pytest.raises(px.errors.UsageError, match=r"timeout=.* seconds"):
        verb([px.put(1)], timeout=timeout)


@pytest.mark.parametrize("timeout", [-1, "3"], ids=repr)
def test_timeouts_of_generators(timeout: Any) -> None:
    generator = count.remote(1)
    with pytest.raises(px.errors.UsageError, match=r"timeout=.* seconds"):
        generator.next(timeout)
    assert px.get(generator.next(30)) == 0


@pytest.mark.parametrize("num_returns", [0, 3, -1, "1", 1.5, True, None], ids=repr)
def test_num_returns_of_wait(num_returns: Any) -> None:
    refs = [px.put(1), px.put(2)]
    with pytest.raises(px.errors.UsageError, match=r"num_returns=.* number of refs, 2"):
        px.wait(refs, num_returns=num_returns)


def test_wait_names_what_is_there_twice() -> None:
    one, two = px.put(1), px.put(2)
    with pytest.raises(px.errors.UsageError, match=f"duplicates.*{two.hex()}"):
        px.wait([one, two, two])
    with pytest.raises(px.errors.UsageError, match="empty"):
        px.wait([])


@pytest.mark.parametrize("backpressure", [0, "2", 1.5, True], ids=repr)
def test_backpressure_of_map_unordered(backpressure: Any) -> None:
    with pytest.raises(px.errors.UsageError, match="backpressure="):
        px.map_unordered(same, [1], backpressure=backpressure)


@pytest.mark.parametrize("chunk", [None, 1.5, "2", True, -1], ids=repr)
def test_chunk_of_map(chunk: Any) -> None:
    with pytest.raises(px.errors.UsageError, match="chunk="):
        same.map([1], chunk=chunk)


def test_cancel_takes_one_ref() -> None:
    with pytest.raises(TypeError, match=r"not list.*job_of\(ref\)\.cancel"):
        px.cancel([px.put(1)])  # type: ignore[arg-type]
