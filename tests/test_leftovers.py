"""The watch over leftovers must itself be able to fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import leftovers


@pytest.fixture
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(leftovers, "SHM", tmp_path)
    return tmp_path


def test_a_process_that_lost_its_parent_is_found() -> None:
    # Given a grandchild in a session of its own, whose parent has ended
    grandchild = "import sys; sys.stdout.write('ready'); sys.stdout.flush(); sys.stdin.read()"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys;"
            f"subprocess.Popen([sys.executable, '-c', {grandchild!r}], start_new_session=True)",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent:
        assert parent.stdout.read(5) == b"ready"

        # When the run looks for what is left, then it is seen
        found = _ready(leftovers.processes())
        assert len(found) == 1

        # And once its input closes it ends, and nothing is left
        parent.stdin.close()
        psutil.wait_procs([psutil.Process(int(found[0].split()[0]))], timeout=10)
    assert not _ready(leftovers.processes())


def _ready(lines: list[str]) -> list[str]:
    return [line for line in lines if "ready" in line]


def test_a_new_segment_is_found_and_an_old_one_is_not(shm: Path) -> None:
    (shm / "parallax-old").touch()
    before = leftovers.segments()
    (shm / "parallax-new").touch()
    (shm / "somebody-else").touch()
    assert leftovers.settle(before, timeout_s=0)[1] == {"parallax-new"}
