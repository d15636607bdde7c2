"""Takes measurements: a fresh interpreter each, with nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import msgspec

from benchmarks.plan import Step
from benchmarks.processes import die_with_parent_and_adopt, stop_descendants
from benchmarks.results import Sample
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.start import EXEC_TIME

_ROOT = Path(__file__).parents[1]

_GRACE_S = 5.0
"""How long an interrupted measurement may take to stop its own system."""


def take(step: Step) -> Sample:
    """Take one measurement in a process of its own and stop all that it started.

    Call inside `processes.adopting`, from the main thread. A measurement that fails, or that
    exceeds the workload's time limit, is a sample with a reason.
    """
    workload = WORKLOADS[step.workload]
    if step.system in workload.left_out:
        return _without_value(step, workload.left_out[step.system])
    # A short name: Ray's socket paths leave it some 30 characters.
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.measure", step.system, step.workload]
        finished = _run(command, folder, workload.timeout_s)
        output, errors = ((folder / name).read_text() for name in ("stdout", "stderr"))
    if not finished:
        return _without_value(step, f"no result within {workload.timeout_s:.0f} s")
    return _parse(step, output, errors)


def _run(command: list[str], folder: Path, timeout_s: float) -> bool:
    """Run a command to its end, its output in files; return whether it got there in time.

    Files and not pipes: a process that outlives the command would hold a pipe open.
    """
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=die_with_parent_and_adopt,
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                _interrupt(process)
            stop_descendants()
    return True


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        "TMPDIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),
        EXEC_TIME: repr(monotonic()),
    }


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let a measurement stop its system; whoever ignores that is killed with all the rest."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _parse(step: Step, output: str, errors: str) -> Sample:
    """Read the last line of a measurement's output; libraries may have printed before it."""
    lines = output.strip().splitlines()
    try:
        answer = msgspec.json.decode(lines[-1]) if lines else {}
    except msgspec.DecodeError:
        answer = {}
    if "metrics" in answer:
        return Sample(
            system=step.system,
            workload=step.workload,
            round=step.round,
            metrics=answer["metrics"],
        )
    last_error = (errors.strip().splitlines() or ["no output"])[-1]
    return _without_value(step, answer.get("unsupported") or f"failed: {last_error}")


def _without_value(step: Step, reason: str) -> Sample:
    return Sample(system=step.system, workload=step.workload, round=step.round, reason=reason)
