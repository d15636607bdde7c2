"""ipyparallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.systems.base import System


class Adapter(System):
    """A local cluster: tasks through the load-balanced view, batches and data by the direct one."""

    distribution = "ipyparallel"
    title = "ipyparallel"
    settings = (
        "tasks through the load-balanced view (`hwm=0`: tasks are handed out ahead; no database); "
        "`map` through the direct view, which splits the items evenly; objects by `push`"
    )

    def start(self, engines: int) -> None:
        import ipyparallel

        self._ipp = ipyparallel
        self._cluster = ipyparallel.Cluster(
            n=engines, log_level=40, controller_args=["--nodb", "--TaskScheduler.hwm=0"]
        )
        self._client = self._cluster.start_and_connect_sync(activate=False)
        self._balanced = self._client.load_balanced_view()
        self._direct = self._client[:]

    def stop(self) -> None:
        self._client.close(linger=1)
        self._cluster.stop_cluster_sync()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._balanced.apply_async(function, *args)

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return [handle.get() for handle in handles]

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        values: list[Any] = self._direct.map_sync(function, items)
        return values

    def put(self, value: Any) -> Any:
        # One name for all: the engines drop the last value, as no workload holds two at once.
        self._direct.push({"pushed": value}, block=True)
        return self._ipp.Reference("pushed")

    def get(self, handle: Any) -> Any:
        if isinstance(handle, self._ipp.Reference):
            return self._direct.pull(handle.name, targets=0, block=True)
        return handle.get()
