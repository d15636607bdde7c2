"""loky, the executor under joblib."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.systems import stdlib

if TYPE_CHECKING:
    from concurrent.futures import Executor


class _Mapped:
    """An array dumped to a file once; it arrives in a task as a memory map of that file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        import joblib

        return joblib.load, (self.path, "r")

    def __del__(self) -> None:
        os.unlink(self.path)


class Adapter(stdlib.Adapter):
    """The reusable executor, with large arrays as joblib hands them over: by memory map."""

    distribution = "loky"
    title = "loky"
    settings = (
        "the reusable executor, kept warm; `map` in 8 chunks a worker; "
        "objects as joblib's memory maps in /dev/shm"
    )

    def _make_pool(self, engines: int) -> Executor:
        from loky import get_reusable_executor

        pool: Executor = get_reusable_executor(max_workers=engines, timeout=None)
        return pool

    def put(self, value: Any) -> _Mapped:
        import joblib

        descriptor, path = tempfile.mkstemp(prefix="bench-", dir="/dev/shm")
        os.close(descriptor)
        joblib.dump(value, path)
        return _Mapped(path)

    def get(self, handle: Any) -> Any:
        import joblib

        if isinstance(handle, _Mapped):
            return joblib.load(handle.path, mmap_mode="r")
        return handle.result()
