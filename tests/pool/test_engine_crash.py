"""An engine that dies in mid-task: that task pays, and nobody else notices."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import parallax as px
from parallax.errors import EngineDiedError, TaskCancelledError
from tests.pool import tasks
from tests.pool.clusters import engines, wait_until

note_and_do = px.remote(tasks.note_and_do)
same = px.remote(tasks.same)


def _wait_whole() -> None:
    """Wait until the pool has its two engines again, both idle."""
    wait_until(lambda: [e["state"] for e in engines()] == ["idle", "idle"])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (tasks.kill_self, "killed by SIGKILL.*dmesg.*num_cpus"),
        (tasks.exit_at_once, "exit code 3.*return or raise"),
        (
            tasks.segfault,
            "SIGSEGV.*Compiled code.*Segmentation fault.* in segfault.* in note_and_do",
        ),
        (tasks.abort, "killed by SIGABRT"),
        (tasks.terminate_self, "killed by SIGTERM.*max_retries"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_task_that_kills_its_engine_is_retried_and_then_fails(
    cluster: str, tmp_path: Path, how: Callable[[], None], words: str
) -> None:
    diary = tmp_path / "diary"
    ref = note_and_do.options(max_retries=2).remote(str(diary), how)
    others = [same.remote(i) for i in range(100)]
    with pytest.raises(EngineDiedError) as caught:
        px.get(ref)
    assert re.search(words, str(caught.value), re.DOTALL)
    assert "note_and_do" in str(caught.value)
    assert "after 3 attempts" in str(caught.value)
    assert "parallax/" not in str(caught.value)  # the user's frames and no others
    assert diary.read_text() == "begun\n" * 3
    assert px.get(others) == list(range(100))
    _wait_whole()


def test_a_retry_that_succeeds_is_not_noticed(cluster: str, tmp_path: Path) -> None:
    die_twice = px.remote(tasks.die_twice)
    # One after the other: the next one's crash could take the news of an end with it.
    for i in range(4):
        assert px.get(die_twice.remote(str(tmp_path / str(i)))) == 3


def test_retries_that_succeed_at_once_are_not_noticed(cluster: str, tmp_path: Path) -> None:
    die_twice = px.remote(tasks.die_twice)
    refs = [die_twice.remote(str(tmp_path / str(i))) for i in range(4)]
    assert all(runs >= 3 for runs in px.get(refs))


def test_only_the_culprit_of_a_map_pays(cluster: str) -> None:
    refs = px.remote(max_retries=1)(tasks.exit_at_37).map(range(100), chunk=20)
    results = []
    for ref in refs:
        try:
            results.append(px.get(ref))
        except EngineDiedError as error:
            results.append(str(error))
    assert [r for r in results if isinstance(r, int)] == [i for i in range(100) if i != 37]
    assert "exit code 5" in str(results[37])


def test_a_storm_of_kills_loses_no_task(cluster: str) -> None:
    # By value: a function of this module would have each new engine import pytest.
    @px.remote(max_retries=-1)
    def sleep_and_return(x: int) -> int:
        time.sleep(0.004)
        return x

    dice = random.Random(11)
    refs = [sleep_and_return.remote(i) for i in range(500)]
    killed = 0
    while px.wait(refs, num_returns=len(refs), timeout=0.04)[1]:
        living = engines()
        if living:
            victim = dice.choice(living)["pid"]
            try:
                os.kill(victim, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
    assert px.get(refs) == list(range(500))
    assert killed > 5
    _wait_whole()


# ---- code that ignores interrupts -----------------------------------------------------------


STUBBORN = [
    tasks.hold_gil,
    tasks.match_for_ever,
    tasks.swallow_interrupts,
    tasks.ignore_interrupts,
]


@pytest.mark.parametrize("how", STUBBORN, ids=lambda how: how.__name__)
def test_force_stops_what_ignores_interrupts(
    cluster: str, tmp_path: Path, how: Callable[[], None]
) -> None:
    diary = tmp_path / "diary"
    ref = note_and_do.remote(str(diary), how)
    queued = [same.remote(i) for i in range(50)]
    wait_until(lambda: diary.exists() and diary.read_text())
    px.cancel(ref, force=True)
    with pytest.raises(TaskCancelledError):
        px.get(ref, timeout=5)
    assert px.get(queued, timeout=5) == list(range(50))
    assert diary.read_text() == "begun\n"
    _wait_whole()


def test_an_interrupted_get_stops_what_ignores_interrupts(cluster: str, tmp_path: Path) -> None:
    refs = [note_and_do.remote(str(tmp_path / how.__name__), how) for how in STUBBORN[:2]]
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        px.get(refs)
    for ref in refs:
        with pytest.raises(TaskCancelledError):
            px.get(ref, timeout=5)
    _wait_whole()


def test_a_time_limit_stops_what_ignores_interrupts(cluster: str, tmp_path: Path) -> None:
    ref = note_and_do.options(timeout_s=0.1).remote(str(tmp_path / "diary"), tasks.match_for_ever)
    with pytest.raises(px.errors.TaskTimeoutError, match=r"timeout_s=0\.1"):
        px.get(ref, timeout=5)
    _wait_whole()


def test_children_of_a_cancelled_task_that_ignore_interrupts_end_too(
    cluster: str, tmp_path: Path
) -> None:
    @px.remote
    def submit_and_wait(path: str) -> None:
        px.get(note_and_do.remote(path, tasks.hold_gil))

    ref = submit_and_wait.remote(str(tmp_path / "diary"))
    wait_until((tmp_path / "diary").exists)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        px.get(ref)
    _wait_whole()
