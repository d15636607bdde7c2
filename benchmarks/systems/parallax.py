"""Parallax itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.systems.base import System


class Adapter(System):
    """The embedded pool, through the public API."""

    distribution = "parallax-jupyter"
    title = "Parallax"
    settings = "the embedded pool with its defaults; `map` with `chunk='auto'`"

    def start(self, engines: int) -> None:
        import parallax

        parallax.init(num_cpus=engines)
        self._parallax = parallax
        self._remotes: dict[Callable[..., Any], Any] = {}

    def stop(self) -> None:
        self._parallax.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._remote(function).remote(*args)

    def _remote(self, function: Callable[..., Any]) -> Any:
        remote = self._remotes.get(function)
        if remote is None:
            remote = self._remotes[function] = self._parallax.remote(function)
        return remote

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        values: list[Any] = self._parallax.get(list(handles))
        return values

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return self.gather(self._remote(function).map(items))

    def submit_after(self, function: Callable[..., Any], *handles: Any) -> Any:
        return self.submit(function, *handles)

    def actor(self, kind: type[Any]) -> Callable[..., Any]:
        hit: Callable[..., Any] = self._remote(kind).remote().hit.remote
        return hit

    def put(self, value: Any) -> Any:
        return self._parallax.put(value)
