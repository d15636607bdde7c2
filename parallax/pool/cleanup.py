"""The end of a pool: no segment, no socket and no folder of it stays."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from parallax.pool.config import PoolConfig
from parallax.store.janitor import remove_if_last


def clean_up(config: PoolConfig, lease: int) -> None:
    """Remove the pool's folders when this process is the last of the pool."""
    if config.connection:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(config.connection)
    if remove_if_last(Path(config.store), lease):
        for folder in (config.spill, config.folder):
            shutil.rmtree(folder, ignore_errors=True)
