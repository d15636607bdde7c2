"""What is particular to the inline session: the user's own function, frames and interrupts."""

from __future__ import annotations

import asyncio
import bdb
import gc
import io
import pdb
import sys
import threading
import traceback
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import parallax as px


@pytest.fixture(autouse=True)
def session() -> Iterator[px.Session]:
    with px.init("inline", num_cpus=2) as made:
        yield made


def test_a_task_has_ended_when_remote_returns() -> None:
    ran: list[int] = []

    @px.remote
    def note(x: int) -> None:
        ran.append(x)

    note.remote(1)
    note.map([2, 3])
    assert ran == [1, 2, 3]


def test_it_is_the_users_own_function_in_the_users_own_thread() -> None:
    @px.remote
    def who() -> tuple[int, int]:
        return threading.get_ident(), id(sys._getframe().f_code)

    ref = who.remote()
    assert px.get(ref) == (threading.get_ident(), id(who.function.__code__))


def test_the_error_carries_the_frames_of_the_task() -> None:
    @px.remote
    def fail(x: int) -> float:
        secret = x + 1
        return secret / 0

    with pytest.raises(ZeroDivisionError) as caught:
        px.get(fail.remote(41))
    # What a debugger opens after the fact is the innermost frame.
    *_, (innermost, line) = traceback.walk_tb(caught.value.__traceback__)
    assert innermost.f_code is fail.function.__code__
    assert innermost.f_locals["secret"] == 42
    assert line == fail.function.__code__.co_firstlineno + 3


def test_frames_of_a_dependency_too() -> None:
    @px.remote
    def fail() -> None:
        raise KeyError

    @px.remote
    def use(x: Any) -> None:
        pass

    with pytest.raises(KeyError) as caught:
        px.get(use.remote(fail.remote()))
    *_, (innermost, _) = traceback.walk_tb(caught.value.__traceback__)
    assert innermost.f_code is fail.function.__code__


def test_a_breakpoint_stops_in_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    typed, shown = io.StringIO("p x * 2\ncontinue\n"), io.StringIO()
    debugger = pdb.Pdb(stdin=typed, stdout=shown, nosigint=True)
    monkeypatch.setattr(sys, "breakpointhook", lambda: debugger.set_trace(sys._getframe(1)))

    @px.remote
    def stop(x: int) -> int:
        breakpoint()
        return x

    traced = sys.gettrace()
    assert px.get(stop.remote(21)) == 21
    sys.settrace(traced)
    assert "42" in shown.getvalue()


def test_quitting_the_debugger_passes_to_the_caller() -> None:
    @px.remote
    def quit_here() -> None:
        raise bdb.BdbQuit

    with px.job("left") as job, pytest.raises(bdb.BdbQuit):
        quit_here.remote()
    assert job.state == "cancelled"


@pytest.mark.parametrize("streaming", [False, True])
def test_ctrl_c_passes_to_the_caller(streaming: bool) -> None:
    def interrupt() -> Iterator[int]:
        raise KeyboardInterrupt
        yield 1

    def call() -> None:
        raise KeyboardInterrupt

    go = (lambda: next(px.remote(interrupt).remote())) if streaming else px.remote(call).remote
    with px.job("interrupted") as job, pytest.raises(KeyboardInterrupt):
        go()
    assert job.counts["cancelled"] == 1
    assert px.get(px.remote(len).remote("abc")) == 3


def test_a_stream_computes_an_item_when_it_is_asked_for() -> None:
    made: list[int] = []

    @px.remote
    def count() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            yield i

    generator = count.remote()
    assert made == []
    next(generator)
    next(generator)
    assert made == [0, 1]


def test_a_dropped_stream_is_closed() -> None:
    closed: list[bool] = []

    @px.remote
    def count() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    generator = count.remote()
    next(generator)
    del generator
    gc.collect()
    px.put(1)
    assert closed == [True]


def test_a_stream_that_cancels_itself() -> None:
    streams: list[Any] = []

    @px.remote
    def count() -> Iterator[int]:
        yield 1
        px.cancel(streams[0])
        assert px.get_runtime_context().is_canceled()
        yield 2

    streams.append(count.remote())
    first, last = streams[0]
    assert px.get(first) == 1
    with pytest.raises(px.errors.TaskCancelledError):
        px.get(last)


def test_waiting_for_a_job_brings_its_streams_to_their_end() -> None:
    @px.remote
    def count() -> Iterator[int]:
        yield from range(3)

    with px.job("streams") as job:
        generator = count.remote()
    assert job.state == "running"
    assert job.wait()
    assert job.state == "done"
    assert px.get(list(generator)) == [0, 1, 2]


def test_coroutines_inside_a_running_loop() -> None:
    @px.remote
    async def inner(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @px.remote
    async def outer(x: int) -> tuple[int, str]:
        return await inner.remote(x), px.get_runtime_context().task_name

    @px.remote
    async def count() -> AsyncIterator[int]:
        for i in range(3):
            yield i

    async def main() -> Any:
        return await outer.remote(1), [await ref async for ref in count.remote()]

    assert asyncio.run(main()) == ((2, "outer"), [0, 1, 2])


def test_a_seed_leaves_the_callers_numbers_alone() -> None:
    import random

    px.shutdown()
    with px.init("inline", seed=1):
        draw = px.remote(random.random)
        random.seed(5)
        before = random.getstate()
        px.get(draw.remote())
        assert random.getstate() == before


# A lock cannot travel, so that tasks find these as attributes of an importable module.
meeting = threading.Barrier(2, timeout=30)
begun, go_on = threading.Event(), threading.Event()


@px.remote
def meet() -> int:
    meeting.wait()
    return 1


@px.remote
def run_long() -> int:
    begun.set()
    assert go_on.wait(30)
    return 2


def test_threads_run_tasks_beside_each_other() -> None:
    with ThreadPoolExecutor(2) as threads:
        refs = list(threads.map(lambda _: meet.remote(), range(2)))
    assert px.get(refs) == [1, 1]


def test_other_threads_wait_for_a_task_that_runs() -> None:
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run_long.remote)
        assert begun.wait(30)
        (job,) = px.jobs()
        assert job.counts["running"] == 1
        assert px.nodes()[0]["engines"][0]["running"] == "run_long"
        assert px.available_resources()["CPU"] == 1
        assert not job.wait(0)
        go_on.set()
        assert job.wait()
        assert px.get(future.result()) == 2
    assert px.available_resources()["CPU"] == 2


def test_output_is_kept_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    @px.remote
    def talk() -> None:
        print("in a task")

    stdout = sys.stdout
    with px.job("talking") as job:
        talk.remote()
        print("outside")
    assert sys.stdout is stdout
    assert capsys.readouterr().out == "in a task\noutside\n"
    assert job.output() == "in a task\n"


def test_the_session_lets_go_of_everything_when_it_ends() -> None:
    class Thing:
        pass

    kept: list[Any] = []

    @px.remote
    def keep() -> None:
        thing = Thing()
        kept.append(weakref.ref(thing))
        raise KeyError

    ref = keep.remote()
    with pytest.raises(KeyError):
        px.get(ref)
    gc.collect()
    assert kept[0]() is not None  # for a debugger
    px.shutdown()
    gc.collect()
    assert kept[0]() is None
    assert "stale" in repr(ref)
