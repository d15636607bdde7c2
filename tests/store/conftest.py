"""Stores in shared memory where there is some, and what tests need around them."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallax.store.shared import SharedStore

MIB = 1 << 20
OpenStore = Callable[..., SharedStore]


@pytest.fixture
def root() -> Iterator[Path]:
    """An empty directory of the kind that stores live in."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = Path(tempfile.mkdtemp(prefix="parallax-test-", dir=base))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def open_store(root: Path, tmp_path: Path) -> Iterator[OpenStore]:
    """Open the same store again and again, as each process of a cluster does."""
    stores = []

    def open_store(limit_bytes: int = 64 * MIB) -> SharedStore:
        store = SharedStore(root / "store", limit_bytes=limit_bytes, spill_dir=tmp_path / "spill")
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> SharedStore:
    return open_store()


@pytest.fixture
def names() -> Iterator[str]:
    """Names that were not used yet."""
    return (f"object-{number}" for number in itertools.count())
