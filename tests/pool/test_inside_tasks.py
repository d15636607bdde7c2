"""What tasks may do to the process they run in."""

from __future__ import annotations

import time
from typing import Any

import pytest

import parallax as px
from parallax.errors import TaskError
from parallax.pool.task_output import MAX_MESSAGE_CHARS
from tests.pool import tasks
from tests.pool.clusters import Driver, engines

same = px.remote(tasks.same)


def test_a_task_has_its_engines_session_whatever_it_asks_for(cluster: str) -> None:
    @px.remote
    def use_session() -> list[int]:
        answers = []
        with px.init(num_cpus=64, object_store_memory=1 << 25):
            answers.append(px.get(same.remote(1)))
        px.shutdown()
        answers.append(px.get(same.remote(2)))
        px.init("no such pool")
        answers.append(px.get(same.remote(3)))
        return answers

    assert px.get(use_session.remote()) == [1, 2, 3]
    assert px.get(same.remote(4)) == 4


def test_a_task_may_start_fresh_interpreters(cluster: str) -> None:
    @px.remote
    def roots() -> list[float]:
        import math
        import multiprocessing

        with multiprocessing.get_context("spawn").Pool(1) as workers:
            return workers.map(math.sqrt, [1, 4, 9])

    assert px.get(roots.remote()) == [1, 2, 3]


def test_a_thread_that_outlives_its_task_does_not_delay_the_next_one(cluster: str) -> None:
    @px.remote
    def leave_a_thread() -> int:
        import threading

        blocker = px.remote(num_cpus=0)(tasks.sleep).remote(600)
        threading.Thread(target=lambda: px.get(blocker), daemon=True).start()
        time.sleep(0.05)
        return px.get_runtime_context().engine_id

    px.get(leave_a_thread.remote())
    for _ in range(20):
        began = time.monotonic()
        assert px.get(same.remote(5), timeout=10) == 5
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("fate", ["SIG_IGN", "SIG_DFL"])
def test_a_task_that_takes_the_handler_of_interrupts_takes_it_for_itself(
    cluster: str, fate: str
) -> None:
    @px.remote
    def take_handler() -> int:
        import signal

        signal.signal(signal.SIGINT, getattr(signal, fate))
        return px.get_runtime_context().engine_id

    sleep = px.remote(tasks.sleep)
    for _ in range(4):
        px.get(take_handler.remote())
    refs = [sleep.remote(600), sleep.remote(600)]
    px.wait(refs, timeout=0.1)
    for ref in refs:
        px.cancel(ref)
    for ref in refs:
        with pytest.raises(px.errors.TaskCancelledError):
            px.get(ref, timeout=5)
    assert {e["engine"] for e in engines()} <= {1, 2}  # none had to be killed


def test_output_of_any_size_and_kind_arrives() -> None:
    script = f"""
        @px.remote
        def speak():
            print("x" * {3 * MAX_MESSAGE_CHARS})
            print("bad \\udcff text", file=sys.stderr)
        px.init(num_cpus=1)
        px.get(speak.remote())
    """
    with Driver(script) as driver:
        output, errors = driver.process.communicate(timeout=20)
    assert output == "x" * 3 * MAX_MESSAGE_CHARS + "\n"
    assert errors == "bad ? text\n"


def test_an_error_about_a_file_whose_name_is_no_unicode(cluster: str) -> None:
    @px.remote
    def open_it() -> Any:
        raise FileNotFoundError("no \udcff.txt")

    with pytest.raises(FileNotFoundError, match=r"no .*txt") as caught:
        px.get(open_it.remote(), timeout=10)
    assert isinstance(caught.value, TaskError)
    assert px.get(same.remote(6), timeout=10) == 6
