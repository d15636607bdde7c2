"""What inline sessions keep: in this process, until it ends, whichever session kept it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from parallax.core.keeps import holds_refs
from parallax.core.objects import gone
from parallax.errors import UsageError
from parallax.messages import Failure
from parallax.pool.failures import to_error
from parallax.pool.journal_names import unknown_name
from parallax.serial.values import unpack
from parallax.sessions.inline.book import InlineBook


class _Kept(msgspec.Struct):
    value: bytes | Failure
    job: str
    kept_at: float


_kept: dict[str, _Kept] = {}
_lock = threading.Lock()


class InlineKeeper:
    """See `Keeper`.

    Args:
        settle: waits until an object has a value or an error.
    """

    def __init__(self, book: InlineBook, settle: Callable[[int, float | None], None]) -> None:
        self._book = book
        self._settle = settle

    def keep(self, object_id: int, name: str) -> None:
        """See `Keeper`. Waits for the task, should another thread run it."""
        self._settle(object_id, None)
        with self._book.changed:
            row = self._book.objects.rows.get(object_id)
            if row is None or row.value is None:
                raise to_error(gone(object_id))
            if row.contained:
                raise to_error(holds_refs(name))
            job = self._book.jobs.get(row.job)
            kept = _Kept(row.value, job.name if job is not None else "", time.time())
        with _lock:
            _kept.pop(name, None)  # the newest comes last
            _kept[name] = kept

    def forget(self, name: str) -> None:
        """See `Keeper`."""
        with _lock:
            if name not in _kept:
                raise UsageError(unknown_name(name, list(_kept)))
            del _kept[name]

    def recall(self, name: str, timeout_s: float | None) -> Any:
        """See `Keeper`."""
        with _lock:
            if name not in _kept:
                raise UsageError(unknown_name(name, list(_kept)))
            value = _kept[name].value
        if isinstance(value, Failure):
            raise to_error(value)
        return unpack(value)

    def names(self) -> list[dict[str, Any]]:
        """See `Keeper`."""
        with _lock:
            return [
                {
                    "name": name,
                    "state": "failed" if isinstance(kept.value, Failure) else "kept",
                    "size_bytes": 0 if isinstance(kept.value, Failure) else len(kept.value),
                    "kept_at": kept.kept_at,
                    "job": kept.job,
                }
                for name, kept in _kept.items()
            ]
