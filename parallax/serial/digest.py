"""Values by content: what is equal has the same digest, in every process and on every day.

Pickled bytes do not do: they follow the order in which a dict was filled, the seed of string
hashes, the file and line of a notebook's cell, and which parts of a value are one object. So the
digest walks through a value as pickle would, and hashes what it meets in an order of its own:

- containers by their items; dicts and sets whatever their order; equal numbers of different types
  differ, for functions may tell them apart;
- arrays, tables and frames by their memory, without copying it (`digest_arrays`);
- functions and classes of notebooks by their code and all that it reads, those of local modules by
  the modules' sources, all others by their name and their library's version (`digest_code`);
- anything else by what its `__reduce_ex__` says that it is made of.

The hash is xxh3 with 128 bits: as fast as memory is read, and made for accidents, not for enemies.
"""

from __future__ import annotations

import copyreg
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, TypeAlias

import msgspec
import xxhash

from parallax.errors import ParallaxError, UsageError
from parallax.serial.code_pickler import Pickler
from parallax.serial.refs import collecting

DIGEST_BYTES = 16

_MANY = 16
"""From so many items on a sequence of plain values is worth a look at their types."""
_INT64 = range(-(1 << 63), 1 << 63)
_LENGTH = struct.Struct("<cQ").pack
_SHORT = struct.Struct("<cq").pack
_DOUBLE = struct.Struct("<cd").pack
# Exact types that MessagePack tells apart and brings back whole.
_MSGPACK = frozenset((type(None), bool, int, float, str, bytes))
_SETS: tuple[Any, ...] = (set.__reduce__, frozenset.__reduce__)

Add: TypeAlias = "Callable[[Digester, Any], None]"


def digest(value: Any, *, name: str = "a value") -> bytes:
    """The digest of a value, `DIGEST_BYTES` long.

    Costs some 2 µs for a small plain value, one pass of xxh3 over the memory of arrays, and some
    5 µs an object for others. May run the value's own `__reduce_ex__`. Thread-safe, as long as
    nobody changes the value meanwhile.

    Args:
        name: of the value, for messages.

    Raises:
        UsageError: it has no content that could be told: a lock, an open file, a reference.
    """
    digester = Digester()
    with collecting() as refs:
        try:
            digester.add(value)
            digester.add_modules()
        except RecursionError:
            raise UsageError(_refused(name, "it is nested too deep")) from None
        except ParallaxError:
            raise
        except Exception as error:  # the value's own code may raise anything
            raise UsageError(_refused(name, f"{type(error).__name__}: {error}")) from error
    if refs:
        raise UsageError(
            f"{name} holds a reference, which means nothing in another session, so it cannot be "
            "part of a cache's key. Pass the ObjectRef as an argument of its own, where its value "
            "counts, or the value itself; handles of actors do not go with cache=True."
        )
    return digester.out.digest()


def _refused(name: str, why: str) -> str:
    return (
        f"{name} cannot be part of a cache's key: {why.rstrip('.')}. Pass plain data, arrays or "
        "objects that can be pickled, or call the function without cache=True."
    )


class Digester:
    """One walk through one value.

    Attributes:
        out: what the parts go to.
        modules: the local modules that something was referred to in.
        functions: those that went by their code.
        known: of functions and classes that were met, their number; they may refer to each other.
    """

    __slots__ = ("_open", "functions", "kept", "known", "modules", "out")

    def __init__(self) -> None:
        self.out = xxhash.xxh3_128()
        self.modules: dict[str, None] = {}
        self.functions: list[FunctionType] = []
        self.known: dict[int, int] = {}
        self.kept: list[Any] = []
        """An id means its object only while that lives."""
        self._open: dict[int, int] = {}
        """Containers that this walk is inside of, and how deep: they may contain themselves."""

    def add(self, value: Any) -> None:
        """Go through one value."""
        kind = type(value)
        if (add := _ADD.get(kind)) is not None or (add := _further(kind)) is not None:
            add(self, value)
        elif isinstance(value, type):
            _code().add_class(self, value)
        else:
            self.inside(value, _add_object)

    def tag(self, tag: bytes, count: int = 0) -> None:
        """Say what comes, and how much of it."""
        self.out.update(_LENGTH(tag, count))

    def text(self, text: str) -> None:
        """A name."""
        data = text.encode("utf-8", "surrogatepass")
        self.out.update(_LENGTH(b"s", len(data)))
        self.out.update(data)

    def inside(self, value: Any, add: Add) -> None:
        """Go through what may contain itself."""
        depth = self._open.get(id(value))
        if depth is not None:
            self.tag(b"^", len(self._open) - depth)
            return
        self._open[id(value)] = len(self._open)
        try:
            add(self, value)
        finally:
            del self._open[id(value)]

    def apart(self, value: Any) -> bytes:
        """The digest of a part by itself, to be sorted."""
        out, self.out = self.out, xxhash.xxh3_128()
        try:
            self.add(value)
            return self.out.digest()
        finally:
            self.out = out

    def reduced(self, value: Any, reduced: Any) -> None:
        """Go through what an object is made of."""
        if isinstance(reduced, str):
            self.tag(b"n")
            self.text(reduced)
            _code().add_name(self, getattr(value, "__module__", None) or type(value).__module__, "")
            return
        make, args, state, items, pairs = (*reduced, None, None, None)[:5]
        self.tag(b"o")
        self.add(make)
        self.add(args)
        self.add(state)
        self.add(None if items is None else list(items))
        if pairs is not None:
            listed = list(pairs)
            self.add(listed if isinstance(value, OrderedDict) else dict(listed))

    def met(self, value: Any) -> bool:
        """Whether a function or class was met before; then its number is enough."""
        number = self.known.get(id(value))
        if number is None:
            self.known[id(value)] = len(self.known)
            self.kept.append(value)
            return False
        self.tag(b"#", number)
        return True

    def add_modules(self) -> None:
        """What the local modules say that were met: at the end, each once."""
        if self.modules or self.functions:
            _code().add_sources(self)


def _add_none(d: Digester, value: Any) -> None:
    d.out.update(b"N")


def _add_bool(d: Digester, value: bool) -> None:
    d.out.update(b"T" if value else b"F")


def _add_int(d: Digester, value: int) -> None:
    if value in _INT64:
        d.out.update(_SHORT(b"i", value))
    else:
        _add_bytes(d, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True), b"I")


def _add_float(d: Digester, value: float) -> None:
    d.out.update(_DOUBLE(b"f", value))


def _add_complex(d: Digester, value: complex) -> None:
    d.out.update(_DOUBLE(b"c", value.real))
    d.out.update(_DOUBLE(b"c", value.imag))


def _add_bytes(d: Digester, value: bytes | bytearray, tag: bytes = b"b") -> None:
    d.out.update(_LENGTH(tag, len(value)))
    d.out.update(value)


def _add_bytearray(d: Digester, value: bytearray) -> None:
    _add_bytes(d, value, b"B")


def _add_list(d: Digester, value: list[Any]) -> None:
    d.tag(b"[", len(value))
    d.inside(value, _add_items)


def _add_tuple(d: Digester, value: tuple[Any, ...]) -> None:
    d.tag(b"(", len(value))
    d.inside(value, _add_items)


def _add_items(d: Digester, items: Any) -> None:
    if len(items) >= _MANY and _MSGPACK.issuperset(map(type, items)):
        try:
            data = msgspec.msgpack.encode(items)
        except (OverflowError, UnicodeEncodeError):
            pass  # an int beyond 64 bits, a lone surrogate: one by one
        else:
            _add_bytes(d, data, b"m")
            return
    for item in items:
        d.add(item)


def _add_dict(d: Digester, value: dict[Any, Any]) -> None:
    d.tag(b"{", len(value))
    d.inside(value, _add_pairs)


def _add_pairs(d: Digester, pairs: dict[Any, Any]) -> None:
    if all(type(key) is str for key in pairs):
        for key in sorted(pairs):
            d.text(key)
            d.add(pairs[key])
        return
    keys = [(d.apart(key), key) for key in pairs]
    keys.sort(key=lambda pair: pair[0])
    for mark, key in keys:
        d.out.update(mark)
        d.add(pairs[key])


def _add_set(d: Digester, value: Iterable[Any]) -> None:
    marks = sorted(map(d.apart, value))
    d.tag(b"S" if type(value) is set else b"Z", len(marks))
    d.out.update(b"".join(marks))


def _add_object(d: Digester, value: Any) -> None:
    kind = type(value)
    if isinstance(value, set | frozenset) and kind.__reduce__ in _SETS:
        # A set lists its items in the order of their hashes.
        d.tag(b"U")
        d.add(kind)
        _add_set(d, value)
        d.add(getattr(value, "__dict__", None))
        return
    d.reduced(value, reduce(value))


def reduce(value: Any) -> Any:
    """What pickle would make of it."""
    kind = type(value)
    reducer = Pickler._dispatch_table.get(kind) or copyreg.dispatch_table.get(kind)
    return reducer(value) if reducer is not None else value.__reduce_ex__(5)


_ADD: dict[type, Add] = {
    type(None): _add_none,
    bool: _add_bool,
    int: _add_int,
    float: _add_float,
    complex: _add_complex,
    str: Digester.text,
    bytes: _add_bytes,
    bytearray: _add_bytearray,
    list: _add_list,
    tuple: _add_tuple,
    dict: _add_dict,
    set: _add_set,
    frozenset: _add_set,
}
_more: dict[type, Add] = {}
_bases: dict[type, Add] = {}
_libraries_seen: tuple[bool, ...] = ()
_LIBRARIES = ("numpy", "pandas", "pyarrow")


def _further(kind: type) -> Add | None:
    """How to add code, and what belongs to libraries that are imported by now."""
    global _libraries_seen
    seen = tuple([name in sys.modules for name in _LIBRARIES])
    if seen != _libraries_seen or not _more:
        from parallax.serial import digest_arrays  # late: both need this module

        _more.update(_code().ADD)
        _more.update(digest_arrays.types())
        _bases.update(digest_arrays.bases())
        _libraries_seen = seen
    add = _more.get(kind)
    if add is None and _bases:
        for base in kind.__mro__:
            if base in _bases:
                add = _more[kind] = _bases[base]
                break
    return add


def _code() -> Any:
    from parallax.serial import digest_code  # late: it needs this module

    return digest_code
