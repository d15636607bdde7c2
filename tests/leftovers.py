"""Find what a test run left behind: processes that it started and their shared memory."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

SHM = Path("/dev/shm")
PREFIX = "parallax-"

# Every process that a test starts inherits this variable, however often it forks, and even when
# its parent has died and init has adopted it.
MARK = "PARALLAX_TEST_RUN"


def mark_descendants() -> None:
    """Let every process started from now on be recognised as this run's. Not thread-safe."""
    os.environ.setdefault(MARK, uuid.uuid4().hex)


def stop_embedded_pool() -> None:
    """Shut down the pool of this process, which a test may have started without an `init`."""
    parallax = sys.modules.get("parallax")
    if parallax is not None and parallax.is_initialized():
        parallax.shutdown()


def segments() -> set[str]:
    """The folders of this user's pools in shared memory; each holds the segments of one pool."""
    uid = os.getuid()
    return {path.name for path in SHM.glob(PREFIX + "*") if _owner(path) == uid}


def processes() -> list[str]:
    """The living processes of this run, but for this one, as `pid command`."""
    mark = os.environ[MARK]
    return [
        f"{process.pid} {_command(process)}"
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _is_marked(process, mark)
    ]


def settle(before: set[str], timeout_s: float) -> tuple[list[str], set[str]]:
    """What is still left after at most `timeout_s` seconds, for what is just now ending.

    Args:
        before: the `segments` that were there when the run began.
        timeout_s: seconds to wait until nothing is left.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        left = processes(), _unclaimed(segments() - before)
        if left == ([], set()) or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _unclaimed(names: set[str]) -> set[str]:
    """The folders that no process of another run holds a file of: every pool keeps one open."""
    mark = os.environ[MARK]
    strangers = [p for p in psutil.process_iter() if not _is_marked(p, mark)]
    return names - {name for process in strangers for name in _open_in_shm(process)}


def _open_in_shm(process: psutil.Process) -> Iterator[str]:
    with suppress(OSError):  # another user's process, or gone
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                path = link.readlink()
                if path.is_relative_to(SHM) and path != SHM:
                    yield path.relative_to(SHM).parts[0]


def _is_marked(process: psutil.Process, mark: str) -> bool:
    # Python's own helper for named semaphores and segments: it ends with the process it serves.
    try:
        helper = "multiprocessing.resource_tracker" in " ".join(process.cmdline())
        return process.environ().get(MARK) == mark and not helper
    except psutil.Error:  # another user's, a zombie, or gone
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:160]
    except psutil.Error:
        return "(gone)"


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None
