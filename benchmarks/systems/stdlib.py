"""`concurrent.futures.ProcessPoolExecutor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.systems.base import System

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


class Adapter(System):
    """The standard library's pool, forked."""

    title = "ProcessPoolExecutor"
    settings = "workers forked once and kept warm; `map` in 8 chunks a worker"

    def start(self, engines: int) -> None:
        self._engines = engines
        self._pool = self._make_pool(engines)

    def _make_pool(self, engines: int) -> Executor:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(engines, mp_context=multiprocessing.get_context("fork"))

    def stop(self) -> None:
        self._pool.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._pool.submit(function, *args)

    def gather(self, handles: Sequence[Future[Any]]) -> list[Any]:
        return [handle.result() for handle in handles]

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        chunk = max(1, len(items) // (8 * self._engines))
        return list(self._pool.map(function, items, chunksize=chunk))
