"""The code that an engine has: blobs by content, templates, and functions loaded from them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Container
from typing import Any

from parallax.messages import TemplateDefined
from parallax.serial import functions, modules


class LoadedTemplate:
    """A template whose function is ready to be called."""

    __slots__ = ("function", "modules", "retry_types", "spec", "wants_blas_threads")

    def __init__(self, spec: TemplateDefined, function: Any, retry_types: Any) -> None:
        self.spec = spec
        self.function = function
        self.modules = spec.modules
        self.retry_types = retry_types
        self.wants_blas_threads = max(1, int(spec.demand.get("CPU", 1)))


class Library:
    """Templates by id.

    Args:
        fetch: gets the values of captured objects by their ids.
    """

    def __init__(self, fetch: Callable[[list[int]], list[Any]]) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.specs: dict[int, TemplateDefined] = {}
        self.fetch = fetch
        self.needless: dict[int | bytes, None] = {}
        """Templates and blobs that may be forgotten."""
        self._loaded: dict[int, LoadedTemplate] = {}
        self._installed = b""

    def define(self, spec: TemplateDefined) -> None:
        """The hub has told of a template."""
        self.specs[spec.template] = spec
        self.needless.pop(spec.template, None)

    def define_blob(self, key: bytes, data: bytes) -> None:
        """The hub has told of a piece of code."""
        self.blobs[key] = data
        self.needless.pop(key, None)

    def forget(self, used: Container[int]) -> None:
        """Forget what is needless, but not these templates, nor what they need."""
        names, self.needless = self.needless, {}
        for name in names:
            if isinstance(name, bytes):
                if any(name in (s.function, s.modules) for s in self.specs.values()):
                    self.needless[name] = None
                else:
                    del self.blobs[name]
            elif name in used:
                self.needless[name] = None
            else:
                del self.specs[name]
                self._loaded.pop(name, None)

    def use(self, template: int) -> LoadedTemplate:
        """The template, loaded, with the local modules of its version importable.

        Raises:
            Exception: whatever importing the function's modules raises.
        """
        loaded = self._loaded.get(template)
        if loaded is not None:
            if loaded.modules and loaded.modules != self._installed:
                self._install(loaded.modules)
            return loaded
        spec = self.specs[template]
        function = None  # of a call that names a method
        if spec.function:
            self._install(spec.modules)
            captured = self.fetch(spec.captured) if spec.captured else []
            function = functions.load(self.blobs[spec.function], captured)
        retry_types: Any = spec.retry_exceptions
        if spec.retry_types:
            retry_types = pickle.loads(spec.retry_types)
        loaded = self._loaded[template] = LoadedTemplate(spec, function, retry_types)
        return loaded

    def _install(self, key: bytes) -> None:
        if key and key != self._installed:
            modules.install(pickle.loads(self.blobs[key]))
            self._installed = key
