"""Dask distributed."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.systems.base import System


class Adapter(System):
    """A `LocalCluster` of processes with one thread each, through the futures API."""

    distribution = "distributed"
    title = "Dask distributed"
    settings = (
        "`LocalCluster` with processes, one thread a worker, no dashboard; "
        "`Client.map` to submit batches; `map` through `dask.bag` in 8 partitions a worker; "
        "objects by `scatter(broadcast=True)`"
    )

    def start(self, engines: int) -> None:
        from distributed import Client, LocalCluster

        self._engines = engines
        self._cluster = LocalCluster(
            n_workers=engines, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self._client = Client(self._cluster)

    def stop(self) -> None:
        self._client.close()
        self._cluster.close()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(function, *args, pure=False)

    def submit_many(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        futures: list[Any] = self._client.map(function, list(items), pure=False)
        return futures

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        values: list[Any] = self._client.gather(list(handles))
        return values

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        import dask.bag

        bag = dask.bag.from_sequence(items, npartitions=8 * self._engines).map(function)
        values: list[Any] = self.gather([self._client.compute(bag)])[0]
        return values

    def submit_after(self, function: Callable[..., Any], *handles: Any) -> Any:
        return self.submit(function, *handles)

    def put(self, value: Any) -> Any:
        return self._client.scatter(value, broadcast=True, hash=False)
