"""Barriers and events: those who wait and die."""

from __future__ import annotations

import os
import signal

import pytest

import parallax as px
from tests.conformance.gates import wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("pool")]


@px.remote(max_retries=0)
def meet(barrier: px.sync.Barrier, pids: px.sync.Queue[int]) -> int:
    pids.put(os.getpid())
    return barrier.wait()


def test_one_who_dies_breaks_the_barrier_for_those_who_wait() -> None:
    barrier, pids = px.sync.Barrier(3), px.sync.Queue[int]()
    victim = meet.remote(barrier, pids)
    pid = pids.get()
    other = meet.remote(barrier, pids)
    wait_until(lambda: barrier.n_waiting() == 2)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(px.sync.BrokenBarrierError, match="one of those who waited is gone"):
        px.get(other, timeout=20)
    with pytest.raises(px.errors.EngineDiedError):
        px.get(victim)


def test_one_who_waits_for_an_event_and_dies_leaves_the_line() -> None:
    @px.remote
    def wait(event: px.sync.Event) -> None:
        event.wait()

    event = px.sync.Event()
    ref = wait.remote(event)
    waiting = lambda: px.get(event._desk.call(lambda desk: len(desk._line)))  # noqa: E731
    wait_until(lambda: waiting() == 1)
    px.cancel(ref)
    wait_until(lambda: waiting() == 0)


def test_a_desk_needs_no_cpu() -> None:
    """It is there even while all CPUs are taken by tasks that wait for nothing."""

    @px.remote
    def compute(event_name: str) -> bool:
        event = px.sync.Event(name=event_name)
        while not event.is_set():
            continue
        return True

    first = px.sync.Event(name="busy")
    refs = [compute.remote("busy") for _ in range(2)]
    counter = px.sync.Counter()
    assert counter.add() == 1
    first.set()
    assert px.get(refs) == [True, True]
