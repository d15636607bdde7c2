"""The processes below this one: adopted, measured, and in the end stopped."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent_and_adopt() -> None:
    """Tie the calling process to its parent, and its orphaned descendants to itself.

    Both settings outlive `exec`, so this runs between fork and exec of a measurement: systems
    that detach their processes stay below the one that started them, and can be counted.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


@contextmanager
def adopting() -> Iterator[None]:
    """Adopt orphaned descendants inside the block; at its end stop every descendant."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        stop_descendants()
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


def descendants() -> list[psutil.Process]:
    """Return every living process below this one."""
    import psutil

    below: list[psutil.Process] = psutil.Process().children(recursive=True)
    return below


def stop_descendants() -> int:
    """Kill every process below this one and reap it; return how many there were.

    Loops because a process that is about to be killed may still fork.
    """
    import psutil

    stopped = 0
    while victims := descendants():
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(victims, timeout=10)
        stopped += len(victims)
    return stopped


def private_memory_bytes() -> dict[int, int]:
    """Return the unique set size of every process below this one, by pid."""
    import psutil

    sizes: dict[int, int] = {}
    for process in descendants():
        # A process that ends while it is being read has no memory left to count.
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            sizes[process.pid] = process.memory_full_info().uss
    return sizes


def cpu_seconds() -> float:
    """Return the core time used so far by this process and every living one below it."""
    import psutil

    total = 0.0
    for process in [psutil.Process(), *descendants()]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
