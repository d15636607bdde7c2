"""End a pool from outside, by its processes: it works even when the hub does not answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from parallax.errors import ClusterLostError
from parallax.net.connection import Connection
from parallax.pool.config import PoolConfig
from parallax.pool.journal_file import lock_folder
from parallax.pool.local import sweep_dead

POLL_S = 0.02
KILL_S = 5.0
"""A killed process is gone in an instant, unless the kernel itself waits for something."""


def end_pool(connection: Connection, config: PoolConfig, timeout_s: float) -> bool:
    """Tell the hub to terminate, and return when no process and no segment is left.

    Blocks: 0.1 s for a pool that is well, at most `timeout_s` + 5 s for one that is not.

    Args:
        timeout_s: seconds for it to end by itself; then all its processes are killed.

    Returns:
        Whether it ended by itself.

    Raises:
        ClusterLostError: something of it is still there; says what.
    """
    family = _family(connection.pid)
    store = Path(config.store)
    _tell(family[:1], kill=False)
    # The last process of the pool removes the store, when it is done with all the rest.
    orderly = _until(lambda: not _alive(family) and not store.exists(), timeout_s)
    if not orderly:
        # The hub, if it still runs, may have started engines meanwhile.
        family = list({*family, *_family(connection.pid)})
        _tell(family, kill=True)
        _until(lambda: not _alive(family), KILL_S)
        sweep_dead()
        for path in (config.connection, f"{config.folder}/connection.json"):
            if path:
                Path(path).unlink(missing_ok=True)
        _check_gone(family, store)
    return orderly


def drop_journal(folder: Path) -> None:
    """Remove what an ended pool kept.

    Raises:
        JournalError: a pool of the same name uses it.
    """
    lock = lock_folder(folder)
    try:
        shutil.rmtree(folder)
    finally:
        os.close(lock)


def _family(pid: int) -> list[psutil.Process]:
    """The hub and all that it and its children have started; empty when it has ended."""
    try:
        hub = psutil.Process(pid)
        return [hub, *hub.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _tell(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill() if kill else process.terminate()


def _until(reached: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _alive(family: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    # A zombie holds nothing any more; whoever started it has not looked yet.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _check_gone(family: list[psutil.Process], store: Path) -> None:
    left = [f"process {process.pid}" for process in _alive(family)]
    if store.exists():
        left.append(str(store))
    if left:
        raise ClusterLostError(
            f"the pool was killed, but this is left of it: {', '.join(left)}. A process that "
            "cannot be killed waits for the system, most often for a disk; look at it with ps."
        )
