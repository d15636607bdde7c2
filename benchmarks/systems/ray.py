"""Ray."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.systems.base import System


class Adapter(System):
    """A Ray of this process alone, in a temporary folder of its own."""

    distribution = "ray"
    title = "Ray"
    settings = (
        "`address='local'`, `num_cpus` = engines, no dashboard, no usage statistics, no worker "
        "logs, a store of 2 GiB; `map` through `ray.util.multiprocessing.Pool`"
    )

    def start(self, engines: int) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        ray.init(
            address="local",
            num_cpus=engines,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=2 << 30,
            _temp_dir=os.path.join(tempfile.gettempdir(), "ray"),
        )
        self._ray = ray
        self._engines = engines
        self._remotes: dict[Callable[..., Any], Any] = {}
        self._actors: list[Any] = []

    def stop(self) -> None:
        self._ray.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._remote(function).remote(*args)

    def _remote(self, function: Callable[..., Any]) -> Any:
        remote = self._remotes.get(function)
        if remote is None:
            remote = self._remotes[function] = self._ray.remote(function)
        return remote

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        values: list[Any] = self._ray.get(list(handles))
        return values

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        from ray.util.multiprocessing import Pool

        if not hasattr(self, "_pool"):
            self._pool = Pool(self._engines)
        chunk = max(1, len(items) // (8 * self._engines))
        values: list[Any] = self._pool.map(function, items, chunksize=chunk)
        return values

    def submit_after(self, function: Callable[..., Any], *handles: Any) -> Any:
        return self.submit(function, *handles)

    def actor(self, kind: type[Any]) -> Callable[..., Any]:
        actor = self._remote(kind).remote()
        self._actors.append(actor)  # it ends with its last handle, which a method is not
        hit: Callable[..., Any] = actor.hit.remote
        return hit

    def put(self, value: Any) -> Any:
        return self._ray.put(value)
