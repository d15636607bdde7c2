"""Tasks submit tasks, get, put, wait and cancel; one that waits gives up its CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate

pytestmark = pytest.mark.usefixtures("session")


@px.remote
def one() -> int:
    return 1


@px.remote
def fib(n: int) -> int:
    if n < 2:
        return n
    return sum(px.get([fib.remote(n - 1), fib.remote(n - 2)]))


@px.remote
def wait_for_child(i: int) -> int:
    @px.remote
    def child(x: int) -> int:
        return x + 1

    return px.get(child.remote(i))


def test_recursion() -> None:
    assert px.get(fib.remote(8)) == 21


def test_many_tasks_that_each_wait_for_a_child() -> None:
    assert px.get([wait_for_child.remote(i) for i in range(50)]) == list(range(1, 51))


def test_tasks_that_await_their_children() -> None:
    @px.remote
    def two() -> Iterator[int]:
        yield 1
        yield 2

    @px.remote
    async def awaits() -> list[int]:
        return [await one.remote()] + [await ref async for ref in two.remote()]

    @px.remote
    def asks_a_future() -> list[int]:
        return [one.remote().future().result()]

    # Given more of them than engines
    refs = [awaits.remote() for _ in range(4)] + [asks_a_future.remote() for _ in range(4)]
    assert px.get(refs, timeout=10) == [[1, 1, 2]] * 4 + [[1]] * 4


def test_all_verbs_work_in_a_task() -> None:
    @px.remote
    def use_all() -> list[Any]:
        ref = px.put([1, 2])
        ready, rest = px.wait([one.remote(), one.remote()], num_returns=2)
        done = list(px.as_completed([one.remote()]))
        values = list(px.map_unordered(double, [1]))
        return [px.get(ref), px.get(ready), rest, px.get(done), values]

    @px.remote
    def double(x: int) -> int:
        return 2 * x

    assert px.get(use_all.remote()) == [[1, 2], [1, 1], [], [1], [2]]


def test_a_ref_made_in_a_task_can_be_returned() -> None:
    @px.remote
    def make() -> list[px.ObjectRef[Any]]:
        return [px.put("put"), one.remote()]

    put, task = px.get(make.remote())
    assert px.get([put, task]) == ["put", 1]


def test_a_ref_passed_on_lives_as_long_as_somebody_holds_it() -> None:
    @px.remote
    def wrap(box: list[Any]) -> list[Any]:
        return [box]

    @px.remote
    def read(box: list[Any]) -> Any:
        return px.get(box[0][0])

    ref = px.put("still here")
    box = wrap.remote([ref])
    del ref
    assert px.get(read.remote(box)) == "still here"


def test_a_generator_in_a_task() -> None:
    @px.remote
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    @px.remote
    def total() -> int:
        return sum(px.get(ref) for ref in count.remote(5))

    assert px.get(total.remote()) == 10


def test_an_error_passes_through_the_tasks_between() -> None:
    @px.remote
    def fail() -> None:
        raise KeyError("deep")

    @px.remote
    def outer(depth: int) -> Any:
        return px.get(outer.remote(depth - 1) if depth else fail.remote())

    with pytest.raises(KeyError, match="deep") as caught:
        px.get(outer.remote(2))
    assert isinstance(caught.value, px.errors.TaskError)
    assert isinstance(caught.value.cause, KeyError)


def test_a_task_can_handle_the_error_of_its_child() -> None:
    @px.remote
    def fail() -> None:
        raise KeyError("handled")

    @px.remote
    def outer() -> str:
        try:
            px.get(fail.remote())
        except KeyError as error:
            return f"caught {error.args[0]}"
        return "nothing"

    assert px.get(outer.remote()) == "caught handled"


def test_children_belong_to_the_job_of_their_parent() -> None:
    @px.remote
    def jobs_of_both() -> tuple[str, str]:
        @px.remote
        def child() -> str:
            return px.get_runtime_context().job_id

        return px.get_runtime_context().job_id, px.get(child.remote())

    ref = jobs_of_both.remote()
    mine, childs = px.get(ref)
    assert mine == childs == px.job_of(ref).id


@pytest.mark.needs("concurrency")
def test_a_task_that_waits_gives_up_its_cpu(gate: Gate) -> None:
    @px.remote
    def inner(gate: Gate) -> None:
        gate.pass_through()

    @px.remote
    def outer(gate: Gate) -> None:
        px.get(inner.remote(gate))

    @px.remote
    def wait_for_inner(gate: Gate) -> None:
        px.wait([inner.remote(gate)])

    # Given two tasks that wait for children, both CPUs are the children's.
    refs = [outer.remote(gate), wait_for_inner.remote(gate)]
    gate.wait_for(2)
    gate.open()
    px.get(refs)


@pytest.mark.needs("concurrency", "parallax")
def test_threads_of_a_task_may_use_the_verbs() -> None:
    @px.remote
    def outer() -> list[int]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda _: px.get(one.remote()), range(8)))

    assert px.get(outer.remote()) == [1] * 8


def test_the_context_of_a_task() -> None:
    @px.remote
    def context() -> Any:
        facts = px.get_runtime_context()
        return facts, facts.is_canceled()

    ref = context.remote()
    facts, canceled = px.get(ref)
    assert facts.task_id == ref.hex()
    assert facts.task_name == "context"
    assert facts.job_id == px.job_of(ref).id
    assert facts.attempt_number == 0
    assert facts.resources == {"CPU": 1.0}
    assert not canceled
    (node,) = px.nodes()
    assert facts.node_id == node["node"]
    assert facts.engine_id in {engine["engine"] for engine in node["engines"]}


def test_the_context_outside_of_tasks() -> None:
    facts = px.get_runtime_context()
    assert (facts.task_id, facts.task_name, facts.engine_id, facts.resources) == ("", "", 0, {})
    assert not facts.is_canceled()


def test_the_context_is_over_with_the_task() -> None:
    px.get(one.remote())
    assert px.get_runtime_context().task_id == ""
