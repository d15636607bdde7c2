"""Measurements run in processes of their own, and nothing outlives them.

Each test drives a runner in a child process: the runner stops every process below itself, which
must not be every process of the test suite.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.process

RUNNER = """
import dataclasses, json, signal, sys
from benchmarks import workloads
from benchmarks.plan import Step
from benchmarks.processes import adopting
from benchmarks.runner import take

signal.signal(signal.SIGTERM, signal.default_int_handler)
workload, timeout_s = sys.argv[1], float(sys.argv[2])
patient = dataclasses.replace(workloads.WORKLOADS[workload], timeout_s=timeout_s)
workloads.WORKLOADS[workload] = patient
with adopting():
    sample = take(Step(0, workload, "stdlib"))
print(json.dumps([dict(sample.metrics), sample.reason]))
"""

DETACHER = """
import subprocess, sys
from benchmarks.processes import adopting
with adopting():
    # The shell ends at once: its background child has lost its parent, and its session is new.
    subprocess.run(["sh", "-c", "setsid sleep 600 & echo $!"], check=True)
"""


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that is killed cannot remove its folder: it belongs to the test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def start(script: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_workers(runner: subprocess.Popen[str], count: int) -> Sequence[psutil.Process]:
    """Return the processes below a runner once its measurement has started its pool."""
    me = psutil.Process(runner.pid)
    while len(found := me.children(recursive=True)) < count:
        assert runner.poll() is None, "the runner ended early"
    return found


def gone(processes: Sequence[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


def test_a_measurement_returns_its_metrics() -> None:
    output, _ = start(RUNNER, "round_trip", "60").communicate()
    metrics, reason = json.loads(output)
    assert reason is None
    assert 0 < metrics["round_trip"] < 1


def test_a_system_that_cannot_do_the_work_says_why() -> None:
    output, _ = start(RUNNER, "chain", "60").communicate()
    assert json.loads(output) == [{}, "takes no futures as arguments"]


def test_a_measurement_over_its_time_is_stopped_with_all_its_processes() -> None:
    runner = start(RUNNER, "idle", "1")
    # Given a measurement that sleeps longer than it may, with a pool of two below it
    workers = wait_for_workers(runner, 3)
    output, _ = runner.communicate()
    assert json.loads(output) == [{}, "no result within 1 s"]
    assert gone(workers)


@pytest.mark.usefixtures("temporary_folder")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_runner_that_is_stopped_stops_its_measurement(number: signal.Signals) -> None:
    runner = start(RUNNER, "idle", "60")
    workers = wait_for_workers(runner, 3)
    runner.send_signal(number)
    runner.communicate()
    assert gone(workers)


def test_detached_processes_are_adopted_and_stopped() -> None:
    detacher = start(DETACHER)
    output, _ = detacher.communicate()
    assert not psutil.pid_exists(int(output))
