"""The end of a pool: no segment, no socket and no folder of it stays."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from parallax.errors import UsageError
from parallax.net.connection import read_connection
from parallax.pool.config import PoolConfig
from parallax.store.janitor import remove_if_last, sweep

POLL_S = 0.01


def clean_up(config: PoolConfig, lease: int, *, wait_s: float = 0.0) -> bool:
    """Remove the pool's folders when this process is the last of the pool.

    Args:
        lease: this process's hold on the store; given up by this call.
        wait_s: how long to wait for others of the pool that are just ending.

    Returns:
        Whether they are gone.
    """
    _unlink_connection(config)
    store = Path(config.store)
    deadline = time.monotonic() + wait_s
    gone = remove_if_last(store, lease)
    while not gone and time.monotonic() < deadline:
        time.sleep(POLL_S)
        sweep(store.parent, store.name, os.getuid())
        gone = not store.exists()
    if gone:
        for folder in (config.spill, config.folder):
            shutil.rmtree(folder, ignore_errors=True)
    return gone


def _unlink_connection(config: PoolConfig) -> None:
    """Remove the pool's connection file, unless another pool has taken the name meanwhile."""
    if not config.connection:
        return
    path = Path(config.connection)
    try:
        mine = read_connection(path).cluster == config.cluster
    except (OSError, UsageError):
        return
    if mine:
        path.unlink(missing_ok=True)
