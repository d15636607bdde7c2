"""Forks of a driver and of an engine: they start clean, and do no harm as they end."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from typing import Any

import pytest

import parallax as px
from parallax.errors import ClusterLostError, UsageError
from parallax.sessions.current import current
from tests.pool.clusters import Driver, engines, wait_gone

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@px.remote
def double(x: int) -> int:
    return 2 * x


def _in_fork(action: Any) -> Any:
    """Run in a forked child; its answer."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(action()))
    child.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        child.join()
        assert child.exitcode == 0


def test_a_forked_child_of_the_driver_says_that_refs_are_not_its_own(cluster: str) -> None:
    ref = px.remote(time.sleep).remote(600)

    def use_all() -> list[str]:
        errors = []
        for use in (
            lambda: px.get(ref),
            lambda: ref.future().result(5),
            lambda: px.wait([ref]),
            lambda: px.cancel(ref),
        ):
            try:
                use()
            except (UsageError, ClusterLostError) as error:
                errors.append(type(error).__name__)
        return errors

    assert len(_in_fork(use_all)) == 4
    px.cancel(ref)
    assert px.get(double.remote(2)) == 4


def test_a_forked_child_of_the_driver_starts_a_pool_of_its_own(cluster: str) -> None:
    refs = [double.remote(i) for i in range(100)]

    def use_pool() -> tuple[bool, int, str]:
        before = px.is_initialized()
        px.init(num_cpus=1)
        answer = px.get(double.remote(21))
        name = current().cluster
        px.shutdown()
        return before, answer, name

    before, answer, name = _in_fork(use_pool)
    assert (before, answer) == (False, 42)
    assert name != cluster
    wait_gone(name)
    assert px.get(refs) == [2 * i for i in range(100)]


def test_workers_of_multiprocessing_beside_a_pool(cluster: str) -> None:
    with multiprocessing.get_context("fork").Pool(2) as workers:
        there = workers.map_async(abs, range(-50, 0))
        here = px.get([double.remote(i) for i in range(200)])
        assert there.get(30) == list(range(50, 0, -1))
    assert here == [2 * i for i in range(200)]
    assert px.get(double.remote(3)) == 6


def test_a_child_that_ends_like_a_program_ends_nothing_of_its_parents() -> None:
    script = """
        @px.remote
        def double(x):
            return 2 * x
        px.init(num_cpus=1)
        large = px.put(bytearray(1 << 22))
        px.get(double.remote(1))
        import warnings
        warnings.simplefilter('ignore', DeprecationWarning)  # Python's own, of any such fork
        child = os.fork()
        if child == 0:
            del large
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        say(status=os.waitstatus_to_exitcode(status), answer=px.get(double.remote(4)),
            size=len(px.get(large)))
    """
    with Driver(script) as driver:
        assert driver.hear() == {"status": 7, "answer": 8, "size": 1 << 22}
        assert driver.end() == (0, "")


def test_tasks_may_use_multiprocessing(cluster: str) -> None:
    @px.remote
    def squares() -> list[int]:
        with multiprocessing.get_context("fork").Pool(2) as workers:
            return workers.map(_square_aloud, range(500))

    assert px.get(squares.remote()) == [i * i for i in range(500)]
    assert px.get([double.remote(i) for i in range(20)]) == [2 * i for i in range(20)]


def _square_aloud(x: int) -> int:
    print("squaring", x)  # enough of it would once have been sent through the parent's socket
    return x * x


def test_a_task_that_forks_returns_once(cluster: str) -> None:
    @px.remote
    def fork() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return child

    for _ in range(5):
        assert px.get(fork.remote()) > 0
    assert px.get([double.remote(i) for i in range(20)]) == [2 * i for i in range(20)]
    assert {e["engine"] for e in engines()} <= {1, 2}  # none was replaced


def test_a_fork_in_a_task_has_no_context_of_it(cluster: str) -> None:
    @px.remote
    def ask_child() -> Any:
        return _in_fork(lambda: (px.is_initialized(), sys.stdout.fileno() >= 0))

    assert px.get(ask_child.remote()) == (False, True)
