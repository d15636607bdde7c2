"""`keep`, `recall` and `forget` on every session."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import parallax as px
from parallax.errors import TaskError
from tests.conformance.actors import Counter
from tests.conformance.gates import Gate
from tests.conformance.tasks import same, stop_at

pytestmark = [pytest.mark.needs("parallax"), pytest.mark.usefixtures("session")]


@pytest.fixture(autouse=True)
def _nothing_kept(session: str) -> Iterator[None]:
    """An inline session's names outlive it."""
    yield
    for kept in px.recall():
        px.forget(kept.name)


def test_a_kept_value_needs_no_reference() -> None:
    px.keep(same.remote({"a": [1, 2]}), "plain")
    px.keep(px.put("put"), "put")
    assert px.recall("plain") == {"a": [1, 2]}
    assert px.recall("put") == "put"


def test_a_large_value_comes_back_as_read_only_views() -> None:
    px.keep(same.remote(np.arange(1 << 17)), "large")
    array = px.recall("large")
    assert not array.flags.writeable
    px.forget("large")
    assert (array == np.arange(1 << 17)).all()


def test_a_failed_task_is_kept_as_its_error() -> None:
    @px.remote
    def divide(a: int, b: int) -> float:
        return a / b

    px.keep(divide.remote(1, 0), "failed")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as caught:
            px.recall("failed")
        assert isinstance(caught.value, TaskError)
    (kept,) = px.recall()
    assert (kept.name, kept.state) == ("failed", "failed")


def test_what_is_kept_is_listed_in_order() -> None:
    with px.job("nightly"):
        ref = same.remote(1)
    px.wait([ref])
    px.keep(ref, "b")
    px.keep(px.put(b"xyz"), "a")
    rows = px.recall()
    assert [(row.name, row.state) for row in rows] == [("b", "kept"), ("a", "kept")]
    assert [row.job for row in rows] == ["nightly", ""]
    assert rows[1].size_bytes > 3
    assert 0 <= rows[1].kept_at - rows[0].kept_at < 60
    assert "<td>nightly</td>" in rows._repr_html_()  # type: ignore[attr-defined]


def test_keeping_again_replaces() -> None:
    px.keep(px.put(1), "x")
    px.keep(px.put(np.arange(1 << 17)), "x")
    px.keep(px.put(2), "x")
    assert px.recall("x") == 2
    assert len(px.recall()) == 1


def test_an_unknown_name_says_which_are_near() -> None:
    with pytest.raises(px.errors.UsageError, match=r"Nothing is kept here: parallax\.keep"):
        px.recall("forest")
    px.keep(px.put(1), "forest")
    for verb in (px.recall, px.forget):
        with pytest.raises(px.errors.UsageError, match=r"'forrest'\. Did you mean 'forest'\?"):
            verb("forrest")
        with pytest.raises(px.errors.UsageError, match=r"none is near: parallax\.recall\(\)"):
            verb("qq")


def test_forgotten_is_forgotten() -> None:
    px.keep(px.put(1), "x")
    px.forget("x")
    assert px.recall() == []
    with pytest.raises(px.errors.UsageError):
        px.recall("x")


def test_a_value_with_references_is_refused() -> None:
    counter = Counter.remote()
    for value in ([px.put(1)], {"c": counter}):
        with pytest.raises(px.errors.UsageError, match="contains references or handles"):
            px.keep(px.put(value), "x")
        assert px.recall() == []


@pytest.mark.needs("concurrency")
def test_a_task_that_returns_references_is_kept_as_refused(gate: Gate) -> None:
    @px.remote
    def refer(passed: int) -> list[object]:
        return [px.put(passed)]

    px.keep(refer.remote(stop_at.remote(gate)), "x")
    gate.open()
    with pytest.raises(px.errors.UsageError, match="contains references or handles"):
        px.recall("x")
    assert px.recall()[0].state == "failed"


@pytest.mark.needs("concurrency")
def test_a_task_that_has_not_ended_is_kept_when_it_ends(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    px.keep(ref, "later")
    del ref
    (kept,) = px.recall()
    assert kept.state == "pending"
    for timeout in (0, 0.01):
        with pytest.raises(px.errors.GetTimeoutError, match="'later' was not kept within"):
            px.recall("later", timeout=timeout)
    gate.open()
    px.recall("later")
    assert px.recall()[0].state == "kept"
    px.recall("later", timeout=0)


@pytest.mark.needs("concurrency")
def test_a_cancelled_task_is_kept_as_cancelled(gate: Gate) -> None:
    ref = stop_at.remote(gate)
    px.keep(ref, "cancelled")
    px.cancel(ref)
    with pytest.raises(px.errors.TaskCancelledError):
        px.recall("cancelled")


def test_tasks_keep_and_recall_too() -> None:
    @px.remote
    def keep(name: str) -> None:
        px.keep(px.put(name.upper()), name)

    @px.remote
    def recall(name: str) -> object:
        return px.recall(name)

    px.get(keep.remote("inside"))
    assert px.recall("inside") == "INSIDE"
    assert px.get(recall.remote("inside")) == "INSIDE"


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match=r"keep\(put\(value\), name\)"):
        px.keep(3, "x")  # type: ignore[arg-type]
    for name in ("", "x" * 201, 7, None):
        with pytest.raises(px.errors.UsageError, match="1 to 200 characters"):
            px.keep(px.put(1), name)  # type: ignore[arg-type]
        with pytest.raises(px.errors.UsageError, match="1 to 200 characters"):
            px.forget(name)  # type: ignore[arg-type]
    with pytest.raises(px.errors.UsageError, match="timeout"):
        px.recall("x", timeout=-1)
