"""Code by content, once per version: functions and classes to bytes and back.

A function is pickled once and addressed by the hash of what it became; engines ask for the keys
that they lack. What it captured beyond a mebibyte stays outside of the pickle, so that it can lie
in the object store once instead of in every message. A `Guard` tells, at every submission and for
next to nothing, whether the function must be shipped anew.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import IO, Any

from parallax.errors import ParallaxError
from parallax.serial import source_lines
from parallax.serial.culprit import explain
from parallax.serial.dill_fallback import reduce_with_dill
from parallax.serial.guard import Guard
from parallax.serial.modules import ModuleSet, is_local_module, snapshot_of
from parallax.serial.recorder import Recorder
from parallax.serial.refs import collecting

CAPTURE_LIMIT_BYTES = 1 << 20
KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class ShippedFunction:
    """A function or class, ready to travel.

    Attributes:
        key: the hash of the code, of what it captured and of the local modules that it uses.
        blob: the pickle; it refers to `captured` by position.
        captured: the large values left out of the blob, in order.
        captured_names: for each of them the variable that held it, for a note to the user.
        captured_keys: for each of them the hash of its content, the same in every version of the
            code; what was put in the store for one version serves the next.
        refs: the ids of the object refs met inside.
        modules: the local modules that the code uses, as they are on disk; None without any.
        guard: tells whether what the code reads was bound anew.
    """

    key: bytes
    blob: bytes
    captured: list[Any]
    captured_names: list[str]
    captured_keys: list[bytes]
    refs: list[int]
    modules: ModuleSet | None
    guard: Guard

    def __repr__(self) -> str:
        return (
            f"ShippedFunction({self.key.hex()[:8]}, {len(self.blob):,} bytes, "
            f"captured={self.captured_names}, modules={self.modules})"
        )


def ship(function: Any, *, capture_limit_bytes: int = CAPTURE_LIMIT_BYTES) -> ShippedFunction:
    """Pickle a function, class or other callable in the version that it has now.

    Functions and classes of `__main__` go by value, with the globals that they read; those of
    local modules by reference, with the modules' sources as they are on disk; all others by
    reference. Costs about 100 µs for a small function, and a pass over what it captured. Safe
    to call from any thread.

    Args:
        function: what to ship.
        capture_limit_bytes: captured arrays, strings, frames and tables above it stay outside.

    Raises:
        SerializationError: something that it captured cannot be pickled; the message names the
            variable and the path.
    """
    name = _name_of(function)
    with collecting() as refs:
        try:
            pickler, blob = _dump(_CodePickler, function, capture_limit_bytes)
        except ParallaxError:
            raise
        except Exception as error:  # noqa: BLE001 - captured objects raise anything while pickled
            refs.clear()
            try:
                pickler, blob = _dump(_DillCodePickler, function, capture_limit_bytes)
            except Exception:  # noqa: BLE001 - the first refusal says more than this one
                raise explain(function, error, name=name) from error
    modules = snapshot_of(pickler.modules, pickler.functions)
    key = hashlib.blake2b(blob, digest_size=KEY_BYTES, key=modules.key if modules else b"")
    return ShippedFunction(
        key=key.digest(),
        blob=blob,
        captured=pickler.captured,
        captured_names=_captured_names(pickler),
        captured_keys=pickler.captured_keys,
        refs=list(refs),
        modules=modules,
        guard=Guard(
            pickler.functions,
            _parts_of(function),
            is_own=lambda kind: kind in pickler.own_types or is_local_module(kind.__module__),
        ),
    )


def load(blob: bytes, captured: Sequence[Any] = ()) -> Any:
    """Rebuild what `ship` packed.

    Args:
        blob: the pickle.
        captured: the values that were left out of it, in order.

    Raises:
        Exception: whatever the code's own modules and classes raise while they are imported and
            rebuilt, such as ModuleNotFoundError or SyntaxError.
    """
    with io.BytesIO(blob) as file:
        # Lines first: what raises while the function is rebuilt already shows them.
        source_lines.register(pickle.load(file))
        return _CodeUnpickler(file, captured).load()


class _CodePickler(Recorder):
    """Pickles code, leaving large values out."""

    def __init__(self, file: IO[bytes], capture_limit_bytes: int) -> None:
        super().__init__(file)
        self._limit = capture_limit_bytes
        self._sizes = _size_functions()
        self._positions: dict[int, tuple[int, bytes]] = {}
        self.captured: list[Any] = []
        self.captured_keys: list[bytes] = []

    def persistent_id(self, obj: Any) -> tuple[int, bytes] | None:
        """Position and content hash of a value that stays out; None for what goes in."""
        size_of = self._sizes.get(type(obj))
        if size_of is None or size_of(obj) <= self._limit:
            return None
        found = self._positions.get(id(obj))
        if found is None:
            # The hash makes the blob, and so the key, follow the content of what is not in it.
            found = self._positions[id(obj)] = (len(self.captured), _content_hash(obj))
            self.captured.append(obj)
            self.captured_keys.append(found[1])
        return found


class _DillCodePickler(_CodePickler):
    """Asks dill for objects that cloudpickle refuses."""

    def reducer_override(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        return reduce_with_dill(obj) if reduced is NotImplemented else reduced


class _CodeUnpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], captured: Sequence[Any]) -> None:
        super().__init__(file)
        self._captured = captured

    def persistent_load(self, pid: tuple[int, bytes]) -> Any:
        return self._captured[pid[0]]


def _dump(
    kind: type[_CodePickler], function: Any, capture_limit_bytes: int
) -> tuple[_CodePickler, bytes]:
    with io.BytesIO() as file:
        pickler = kind(file, capture_limit_bytes)
        pickler.dump(function)
        code = file.getvalue()
    sources = pickle.dumps(source_lines.collect(pickler.functions), 5)
    return pickler, sources + code


_SIZES: tuple[tuple[str, str, Callable[[Any], int]], ...] = (
    ("numpy", "ndarray", lambda array: int(array.nbytes)),
    ("pandas", "DataFrame", lambda frame: int(frame.memory_usage(index=True).sum())),
    ("pandas", "Series", lambda series: int(series.memory_usage(index=True))),
    ("pyarrow", "Table", lambda table: int(table.nbytes)),
    ("pyarrow", "RecordBatch", lambda batch: int(batch.nbytes)),
)


def _size_functions() -> dict[type, Callable[[Any], int]]:
    """How to measure each type that may stay out of a blob, among the libraries imported."""
    sizes: dict[type, Callable[[Any], int]] = {str: len, bytes: len, bytearray: len}
    for module_name, name, size_of in _SIZES:
        kind = getattr(sys.modules.get(module_name), name, None)
        if kind is not None:
            sizes[kind] = size_of
    return sizes


def _content_hash(value: Any) -> bytes:
    """A hash of type and content; about 0.7 s a GiB. Equal values may differ in it."""
    digest = hashlib.sha256(type(value).__qualname__.encode())  # faster than blake2b in hardware
    if isinstance(value, str):
        digest.update(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes | bytearray):
        digest.update(value)
    else:
        buffers: list[pickle.PickleBuffer] = []
        digest.update(pickle.dumps(value, 5, buffer_callback=buffers.append))
        for buffer in buffers:
            digest.update(buffer.raw())
    return digest.digest()[:KEY_BYTES]


def _captured_names(pickler: _CodePickler) -> list[str]:
    names: dict[int, str] = {}
    for function in pickler.functions:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        for name, cell in cells:
            try:
                names[id(cell.cell_contents)] = name
            except ValueError:  # empty: its variable is not bound yet
                continue
        for name in function.__code__.co_names:
            if name in function.__globals__:
                names[id(function.__globals__[name])] = name
    return [names.get(id(value), f"a {type(value).__name__}") for value in pickler.captured]


def _parts_of(function: Any) -> list[Any]:
    """What a callable that is no plain function holds."""
    if isinstance(function, functools.partial):
        return [*function.args, *function.keywords.values()]
    if isinstance(function, MethodType):
        return [function.__self__]
    return [] if isinstance(function, FunctionType | type) else [function]


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]
