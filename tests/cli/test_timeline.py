"""`parallax timeline`: a trace for Perfetto."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import parallax
from tests.cli.conftest import Command

pytestmark = pytest.mark.process


@pytest.mark.usefixtures("steady_pool")
def test_trace_has_every_task(command: Command, tmp_path: Path) -> None:
    # Given a pool that has run three tasks
    with parallax.init("steady"):
        parallax.get([parallax.remote(abs).remote(x) for x in range(3)])
    # When it is written to a file
    path = tmp_path / "trace.json"
    written = command("timeline", "-o", str(path))
    # Then
    assert written.returncode == 0, written.stderr
    assert written.stdout.startswith(f"{path}: 3 tasks")
    events = json.loads(path.read_text())["traceEvents"]
    assert [event["name"] for event in events] == ["abs"] * 3
    assert all(event["ph"] == "X" and event["dur"] > 0 for event in events)
    # And the same to a pipe
    assert json.loads(command("timeline", "steady", "-o", "-").stdout)["traceEvents"] == events


@pytest.mark.usefixtures("steady_pool")
def test_folder_that_is_not_there_fails_in_a_sentence(command: Command, tmp_path: Path) -> None:
    failed = command("timeline", "-o", str(tmp_path / "none" / "trace.json"))
    assert failed.returncode == 1
    assert failed.stderr.startswith("parallax: ")
    assert "Traceback" not in failed.stderr
