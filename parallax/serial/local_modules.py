"""Which modules are local, where they lie, and what they import: all found without importing.

A module is *local* when it is a source file outside the standard library and outside every
site-packages: in the notebook's folder, in an editable install, somewhere on PYTHONPATH. All
others are taken to be the same on every host.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterable
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from typing import NamedTuple

from parallax.serial.bytecode import Import

_LIBRARY_FOLDERS = frozenset(("site-packages", "dist-packages"))
_STDLIB = tuple(
    {os.path.realpath(sysconfig.get_path(kind)) + os.sep for kind in ("stdlib", "platstdlib")}
)
_NEVER_LOCAL = frozenset(("parallax", "__main__", "__mp_main__"))
# File systems stamp times in ticks of up to 10 ms: a file written twice within one tick shows no
# change. A file read so soon after it was written is compared by content until it has settled.
_SETTLED_NS = 50_000_000


class Signature(NamedTuple):
    """What `os.stat` says of one version of a file."""

    mtime_ns: int
    size_bytes: int
    inode: int


class SourceFile:
    """One version of a source file, with the imports written in it.

    Attributes:
        path: the file.
        source: its bytes.
        imports: its import statements; none when it does not parse.
    """

    __slots__ = ("_settled", "_signature", "imports", "path", "source")

    def __init__(self, path: str, source: bytes, signature: Signature) -> None:
        self.path = path
        self.source = source
        self.imports = _imports_in(source)
        self._signature = signature
        self._settled = _is_settled(signature)

    def changed(self) -> bool:
        """Whether the file is another one now, or gone. About 1.5 µs."""
        try:
            found = os.stat(self.path)
        except OSError:
            return True
        if (found.st_mtime_ns, found.st_size, found.st_ino) != self._signature:
            return True
        if self._settled:
            return False
        self._settled = _is_settled(self._signature)
        try:
            with open(self.path, "rb") as file:
                return file.read() != self.source
        except OSError:
            return True


class Location(NamedTuple):
    """Where a local module lies; `origin` is empty for a folder without ``__init__.py``."""

    origin: str
    is_package: bool


_files: dict[str, SourceFile] = {}


def read_source(path: str) -> SourceFile | None:
    """The file as it is now, parsed once a version; None when it cannot be read."""
    known = _files.get(path)
    if known is not None and not known.changed():
        return known
    try:
        with open(path, "rb") as file:
            # The signature comes first: a write during the read then shows as a change.
            found = os.fstat(file.fileno())
            source = file.read()
    except OSError:
        return None
    signature = Signature(found.st_mtime_ns, found.st_size, found.st_ino)
    _files[path] = SourceFile(path, source, signature)
    return _files[path]


def find_spec(name: str) -> ModuleSpec | None:
    """The spec of a module, imported or not. Imports nothing, not even the parent packages.

    None for modules that are never local, whatever file they were started from.
    """
    if not name or name.partition(".")[0] in _NEVER_LOCAL:
        return None
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(spec, ModuleSpec):
        return spec
    parent, _, _ = name.rpartition(".")
    locations = None
    if parent:
        parent_spec = find_spec(parent)
        if parent_spec is None or parent_spec.submodule_search_locations is None:
            return None
        locations = parent_spec.submodule_search_locations
    elif name in sys.stdlib_module_names:
        return None
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, locations)
        except (ImportError, AttributeError, ValueError):
            continue
        except KeyError:
            # A folder without __init__.py wants its parent imported, which we do not.
            return _folder_spec(name, locations or ())
        if spec is not None:
            return spec
    return None


def _folder_spec(name: str, locations: Iterable[str]) -> ModuleSpec | None:
    child = name.rpartition(".")[2]
    folders = [os.path.join(location, child) for location in locations]
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [folder for folder in folders if os.path.isdir(folder)]
    return spec if spec.submodule_search_locations else None


def locate(spec: ModuleSpec) -> Location | None:
    """Where the module lies when it is local, else None."""
    is_package = spec.submodule_search_locations is not None
    if spec.origin is None:
        folders = spec.submodule_search_locations or ()
        return Location("", True) if any(map(_is_local_path, folders)) else None
    if spec.origin.endswith(".py") and _is_local_path(spec.origin):
        return Location(spec.origin, is_package)
    return None


def is_local_module(name: str) -> bool:
    """Whether a module is local, by its name."""
    spec = find_spec(name)
    return spec is not None and locate(spec) is not None


def absolute_name(statement: Import, package: str) -> str | None:
    """The module that an import statement names; None when its dots lead out of the package."""
    if not statement.level:
        return statement.module
    try:
        return resolve_name("." * statement.level + statement.module, package)
    except ImportError:
        return None


@lru_cache(maxsize=4096)
def _is_local_path(path: str) -> bool:
    if not _LIBRARY_FOLDERS.isdisjoint(path.split(os.sep)):
        return False
    return not os.path.realpath(path).startswith(_STDLIB)


def _is_settled(signature: Signature) -> bool:
    return time.time_ns() - signature.mtime_ns > _SETTLED_NS


def _imports_in(source: bytes) -> tuple[Import, ...]:
    try:
        with warnings.catch_warnings():
            # The import itself will warn, once, where the user expects it.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # the engine's import says what is wrong, with file and line
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [Import(alias.name, (), 0) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                found.append(Import(module or "", tuple(alias.name for alias in names), level))
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
                args=[ast.Constant(value=str() as module)],
            ):
                found.append(Import(module, (), 0))
            case _:
                pass
    return tuple(found)
