"""Small things that every process of a pool does as it starts."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_NAME = 15
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def reset_signals() -> None:
    """The dispositions of a fresh interpreter, nothing blocked.

    A parent under `nohup` ignores SIGHUP and SIGINT, and children inherit that; a notebook's
    interrupt would then never reach a task.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere pipes tell)."""
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)


def become_subreaper() -> None:
    """Adopt the orphans of this process's descendants (Linux): whoever ends it finds them."""
    if sys.platform == "linux":
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def child_pids() -> list[int]:
    """The children of this process; those that it has adopted, too.

    Empty where the system cannot tell.
    """
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            pids += map(int, Path(f"/proc/self/task/{thread}/children").read_text().split())
    return pids


def name_process(name: str) -> None:
    """The name that `ps` and `top` show (Linux)."""
    if sys.platform == "linux":
        _prctl(PR_SET_NAME, name.encode()[:15])


def _prctl(option: int, argument: int | bytes) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def raise_file_limit() -> None:
    """As many open files as the system allows: each mapped segment holds one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    del soft


def offer_to_oom_killer() -> None:
    """Should the kernel have to kill for memory, then this process before others (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def redirect_output(path: Path) -> None:
    """Send what C code and crashes print to a log file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def start_logging() -> None:
    """Log to standard error, which is the process's log file."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s",
        stream=sys.stderr,
        force=True,
    )
