"""One adapter a system, found by name and imported only in the process that measures it."""

from __future__ import annotations

from importlib import import_module

from benchmarks.systems.base import System, Unsupported

__all__ = ["HEAVY", "NAMES", "SLOW", "System", "Unsupported", "load"]

NAMES = ("parallax", "stdlib", "loky", "dask", "ray", "ipyparallel")
"""Every system, in the order of the report's columns."""

HEAVY = frozenset({"ray", "ipyparallel"})
"""Systems that need many seconds to start: no part of a quick run."""

SLOW = HEAVY | {"dask"}
"""Systems whose every measurement takes long: fewer rounds."""


def load(name: str) -> System:
    """Return the adapter of a system, not yet started.

    Raises:
        ModuleNotFoundError: The name is not one of `NAMES`.
    """
    adapter: System = import_module(f"benchmarks.systems.{name}").Adapter()
    return adapter
