"""The engine's side of local modules: import them from what the driver shipped.

Every module has an *effective version*: the hash of its own source and of all that it imports,
directly or not. `serve` compares versions: a loaded module whose effective version differs is
taken out of `sys.modules` and put on a shelf, and one on the shelf that fits is put back, with
the state that it had. So an edit reloads the edited module and its dependents, nothing else, and
two jobs with different versions can take turns.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec, PathFinder
from importlib.resources.readers import FileReader
from importlib.util import decode_source, spec_from_file_location
from types import CodeType, ModuleType

from parallax.serial import source_lines

_SHELF_VERSIONS = 4
"""Versions of one module that are kept aside; each holds the module's state."""


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """One version of a local module.

    Attributes:
        origin: the file on the driver; empty for a folder without ``__init__.py``.
        is_package: whether it has submodules.
        source: the bytes of the file.
        imports: the modules of the same set that it imports, its parent package among them.
        digest: the hash of the first three.
    """

    origin: str
    is_package: bool
    source: bytes
    imports: tuple[str, ...] = ()
    digest: bytes = field(init=False, repr=False, default=b"")

    def __post_init__(self) -> None:
        head = f"{self.origin}\0{self.is_package}\0".encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(head + self.source, digest_size=16).digest()
        object.__setattr__(self, "digest", digest)

    def linked_to(self, imports: Iterable[str]) -> ModuleSource:
        """The same source with these imports."""
        return replace(self, imports=tuple(sorted(set(imports))))


class ShippedLoader(importlib.abc.ExecutionLoader):
    """Loads one module from its shipped source."""

    def __init__(self, name: str, source: ModuleSource, library: Library) -> None:
        self.name = name
        self._library = library
        self.source = source
        self.path = source.origin

    def get_filename(self, fullname: str) -> str:
        """The file on the driver's disk, as tracebacks show it."""
        return self.source.origin

    def get_source(self, fullname: str) -> str:
        """The shipped text."""
        return decode_source(self.source.source)

    def is_package(self, fullname: str) -> bool:
        """Whether the module has submodules."""
        return self.source.is_package

    def get_code(self, fullname: str) -> CodeType:
        """The compiled source. Bytes are compiled, so that a wrong encoding is a SyntaxError."""
        return self.source_to_code(self.source.source, self.source.origin)

    def get_data(self, path: str) -> bytes:
        """A file beside the module, where this host has it."""
        with open(path, "rb") as file:
            return file.read()

    def get_resource_reader(self, fullname: str) -> FileReader:
        """The files beside the module, where this host has them."""
        return FileReader(self)  # type: ignore[arg-type]  # asks for a path, and has it

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        self._library.note_loaded(self.name, module)
        super().exec_module(module)


class Library(importlib.abc.MetaPathFinder):
    """A finder that serves shipped sources, and the keeper of the modules made of them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._key = b""
        self._served: dict[str, ModuleSource] = {}
        self._versions: dict[str, bytes] = {}
        self._loaded: dict[str, tuple[ModuleType, bytes]] = {}
        self._shelf: dict[str, OrderedDict[bytes, ModuleType]] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find what was shipped; None leaves the module to this host's own finders."""
        source = self._served.get(fullname)
        if source is None:
            return None
        if not source.origin:
            # The folder may exist here as well, with modules that were not shipped.
            spec = PathFinder.find_spec(fullname, path)
            return spec or ModuleSpec(fullname, None, is_package=True)
        return spec_from_file_location(
            fullname,
            source.origin,
            loader=ShippedLoader(fullname, source, self),
            submodule_search_locations=(
                [os.path.dirname(source.origin)] if source.is_package else None
            ),
        )

    def note_loaded(self, name: str, module: ModuleType) -> None:
        """Remember in which effective version a module is being loaded."""
        with self._lock:
            self._loaded[name] = (module, self._versions.get(name, b""))

    def serve(self, key: bytes, sources: Mapping[str, ModuleSource]) -> None:
        """Serve these sources from now on, beside those of other modules served before."""
        if key == self._key:
            return
        with self._lock:
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)
            for name, source in sources.items():
                if self._served.get(name) != source:
                    _show_lines(source)
            self._served = {**self._served, **sources}
            self._versions = _effective_versions(self._served)
            self._put_away()
            self._bring_back()
            self._key = key

    def _put_away(self) -> None:
        """Take modules of another version out of `sys.modules`."""
        gone = {}
        for name, version in self._versions.items():
            module = sys.modules.get(name)
            loaded, loaded_version = self._loaded.get(name, (None, b""))
            if module is None or (module is loaded and version == loaded_version):
                continue
            if not self._served[name].origin and module is not loaded:
                continue  # a folder has no code of its own
            gone[name] = sys.modules.pop(name)
            if module is loaded:
                shelf = self._shelf.setdefault(name, OrderedDict())
                shelf[loaded_version] = module
                shelf.move_to_end(loaded_version)
                while len(shelf) > _SHELF_VERSIONS:
                    shelf.popitem(last=False)
        for name, module in gone.items():
            parent, child = _split(name)
            if parent is not None and vars(parent).get(child) is module:
                delattr(parent, child)

    def _bring_back(self) -> None:
        """Put modules of the right version back from the shelf."""
        back = {}
        for name, version in self._versions.items():
            module = self._shelf.get(name, OrderedDict()).pop(version, None)
            if module is not None and name not in sys.modules:
                sys.modules[name] = back[name] = module
                self._loaded[name] = (module, version)
        for name, module in back.items():
            parent, child = _split(name)
            if parent is not None:
                setattr(parent, child, module)


def _split(name: str) -> tuple[ModuleType | None, str]:
    parent, _, child = name.rpartition(".")
    return sys.modules.get(parent), child


def _effective_versions(sources: Mapping[str, ModuleSource]) -> dict[str, bytes]:
    versions = {}
    for name in sources:
        reached = {name}
        todo = [name]
        while todo:
            for target in sources[todo.pop()].imports:
                if target in sources and target not in reached:
                    reached.add(target)
                    todo.append(target)
        digest = hashlib.blake2b(digest_size=16)
        for other in sorted(reached):
            digest.update(other.encode() + b"\0" + sources[other].digest)
        versions[name] = digest.digest()
    return versions


def _show_lines(source: ModuleSource) -> None:
    """Let tracebacks and `inspect` show the shipped text, whatever lies on this host's disk."""
    try:
        text = decode_source(source.source)
    except (SyntaxError, UnicodeDecodeError):
        return
    source_lines.register_file(source.origin, text)


_library = Library()
serve = _library.serve
