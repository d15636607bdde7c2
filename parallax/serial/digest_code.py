"""Functions, classes and modules by content, for `digest`.

Of a notebook's function counts what it does, and not where it stands: its bytecode and constants
without file names and lines, its defaults, and whatever its global names and closure cells hold
now. So a cell may move, be run again or belong to another kernel; a comment changes nothing.
"""

from __future__ import annotations

import functools
import pickle
import sys
import types
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

from parallax.serial.bytecode import global_names
from parallax.serial.code_pickler import LruCache, find_by_name
from parallax.serial.digest import Digester
from parallax.serial.modules import is_local_module, snapshot_of

_HEAP_TYPE = 1 << 9
# What the interpreter and its caches write into a class, and what says the same as the rest.
_NOT_OF_A_CLASS = frozenset(
    (
        "__dict__",
        "__weakref__",
        "__module__",
        "__firstlineno__",
        "__static_attributes__",
        "__slotnames__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "_abc_impl",
    )
)


def add_name(d: Digester, module: str, name: str) -> None:
    """Something that can be imported: its name, and the version of what it belongs to."""
    d.tag(b"g")
    d.text(module)
    d.text(name)
    if module == "__main__" or not module:
        return
    if _is_local(module):
        d.modules[module] = None
        return
    version = getattr(sys.modules.get(module.partition(".")[0]), "__version__", None)
    if isinstance(version, str):
        d.text(version)


@functools.lru_cache(maxsize=4096)
def _is_local(module: str) -> bool:
    # Where a module lies does not change while a process lives; asking the finders takes long.
    return is_local_module(module)


def add_sources(d: Digester) -> None:
    """The sources of the local modules that were met, of those that they import, and so on."""
    found = snapshot_of(d.modules, d.functions)
    if found is None:
        return
    d.tag(b"M", len(found.sources))
    for name, source in sorted(found.sources.items()):
        d.text(name)
        d.tag(b"p" if source.is_package else b"f", len(source.source))
        d.out.update(source.source)


def add_class(d: Digester, cls: type) -> None:
    """A class: by its name if it can be imported, else by all that is written in it."""
    found = find_by_name(cls)
    if found is not None or not cls.__flags__ & _HEAP_TYPE:
        add_name(d, cls.__module__, f"{cls.__qualname__} {found[2] if found else 0}")
        return
    if d.met(cls):
        return
    d.tag(b"C")
    d.text(cls.__qualname__.rpartition("<locals>.")[2])
    d.add(type(cls))
    d.add(cls.__bases__)
    for name, attribute in sorted(vars(cls).items()):
        if name not in _NOT_OF_A_CLASS:
            d.text(name)
            d.add(attribute)


def _add_function(d: Digester, function: FunctionType) -> None:
    found = find_by_name(function)
    if found is not None:
        add_name(d, found[0], f"{found[1]} {found[2]}")
        return
    if d.met(function):
        return
    d.functions.append(function)
    d.tag(b"D")
    _add_code(d, function.__code__)
    d.add(function.__defaults__)
    d.add(function.__kwdefaults__)
    for cell in function.__closure__ or ():
        _add_cell(d, cell)
    namespace = function.__globals__
    for name in global_names(function.__code__):
        d.text(name)
        if name in namespace:
            d.add(namespace[name])
        else:
            d.tag(b"-")  # a built-in, or not there yet
    d.add({name: value for name, value in vars(function).items() if name != "__wrapped__"})


def _add_code(d: Digester, code: CodeType) -> None:
    d.tag(b"X", len(code.co_consts))
    d.text(code.co_name)
    for count in (
        code.co_flags,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
    ):
        d.add(count)
    d.add(code.co_code)
    d.add(code.co_exceptiontable)
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
        d.add(names)
    for constant in code.co_consts:
        d.add(constant)


def _add_cell(d: Digester, cell: CellType) -> None:
    try:
        content = cell.cell_contents
    except ValueError:  # empty: its variable is not bound yet
        d.tag(b"-")
    else:
        d.tag(b"+")
        d.add(content)


def _add_module(d: Digester, module: ModuleType) -> None:
    add_name(d, module.__name__, "")


def _add_wrapped(d: Digester, cached: Any) -> None:
    d.tag(b"L")
    d.add(cached.__wrapped__)


def _add_cached_property(d: Digester, cached: functools.cached_property[Any]) -> None:
    d.tag(b"P")
    d.add(cached.func)


def _add_type_variable(d: Digester, variable: TypeVar) -> None:
    d.tag(b"V")
    d.text(variable.__name__)
    d.add(variable.__bound__)
    d.add(variable.__constraints__)


def _add_descriptor(d: Digester, descriptor: Any) -> None:
    d.tag(b"d")
    d.text(descriptor.__name__)


def _add_static(d: Digester, method: Any) -> None:
    d.tag(b"w")
    d.text(type(method).__name__)
    d.add(method.__func__)


def _add_buffer(d: Digester, buffer: pickle.PickleBuffer) -> None:
    raw = buffer.raw()
    d.tag(b"b", raw.nbytes)
    d.out.update(raw)


ADD: dict[type, Callable[[Digester, Any], None]] = {
    FunctionType: _add_function,
    CodeType: _add_code,
    CellType: _add_cell,
    ModuleType: _add_module,
    LruCache: _add_wrapped,
    functools.cached_property: _add_cached_property,
    TypeVar: _add_type_variable,
    types.GetSetDescriptorType: _add_descriptor,
    types.MemberDescriptorType: _add_descriptor,
    staticmethod: _add_static,
    classmethod: _add_static,
    pickle.PickleBuffer: _add_buffer,
}
