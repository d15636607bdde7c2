"""Values to bytes and back: pickle protocol 5, with large memory out of band.

The hot path is the tiny value: the arguments and the result of a small task. Values that surely
hold no function and no class go straight to the C pickler; whatever may hold one goes through
cloudpickle, because plain pickle sends a function of `__main__` as a name that means nothing,
or something else, on an engine. What cloudpickle refuses is tried with dill.

Arrays come back read-only, whatever their size and whichever way they travelled.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Sequence
from typing import Any

import msgspec

from parallax.errors import ParallaxError, SerializationError
from parallax.messages import INLINE_LIMIT_BYTES
from parallax.serial.arrays import (
    ArrayPickler,
    DillValuePickler,
    NotPlainError,
    ValuePickler,
    numpy_types,
)
from parallax.serial.envelope import is_sealed, open_sealed, seal
from parallax.serial.refs import collecting

_PROTOCOL = 5

# Exact types that pickle without looking anything up by name.
_ATOMS = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, type(Ellipsis)))
_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))
# Beyond these the check costs more than cloudpickle does.
_PLAIN_MAX_ITEMS = 32
_PLAIN_MAX_DEPTH = 3

_NONE = pickle.dumps(None, _PROTOCOL)


class Packed(msgspec.Struct):
    """A value as bytes.

    Attributes:
        data: the pickle stream; the whole value when `buffers` is empty.
        buffers: the out-of-band memory, flat, contiguous and in order. They are views of the
            value's own memory: do not change the value before they are written.
        refs: the ids of the object refs inside the value.
    """

    data: bytes
    buffers: list[memoryview] = []
    refs: list[int] = []

    @property
    def size_bytes(self) -> int:
        """The stream and all buffers together."""
        return len(self.data) + sum(buffer.nbytes for buffer in self.buffers)

    def __repr__(self) -> str:
        return f"Packed({self.size_bytes:,} bytes, {len(self.buffers)} buffers, refs={self.refs})"


def pack(value: Any, *, inline_limit: int = INLINE_LIMIT_BYTES, name: str = "value") -> Packed:
    """Pickle `value`; memory of arrays, tables and frames stays out of band, uncopied.

    A value of at most `inline_limit` bytes is all in `Packed.data`. Costs about 0.5 µs for a
    small tuple of plain items, 4 µs for a small array. Thread-safe.

    Raises:
        SerializationError: neither cloudpickle nor dill can pickle it; names the culprit.
    """
    kind = type(value)
    if kind in _ATOMS:
        if value is None:
            return Packed(_NONE)
        if kind in _BUFFER_STREAMS and len(value) > inline_limit:
            return Packed(_BUFFER_STREAMS[kind], [memoryview(value)])
        return Packed(pickle.dumps(value, _PROTOCOL))
    if _is_plain(value, kind, _ATOMS, _PLAIN_MAX_DEPTH):
        return Packed(pickle.dumps(value, _PROTOCOL))
    if _holds_numpy(value, kind):
        try:
            return _pack_with(ArrayPickler, value, inline_limit)
        except NotPlainError:
            pass  # an array of objects: anything may be in it
    return _pack_any(value, inline_limit, name)


def unpack(data: bytes | memoryview, buffers: Sequence[memoryview] = ()) -> Any:
    """Rebuild a packed value. Arrays are read-only views of `data` or `buffers`.

    Raises:
        SerializationError: a class of the value is not to be found in this process.
        Exception: whatever the value's own classes raise while they are rebuilt.
    """
    try:
        if is_sealed(data):
            stream, inner = open_sealed(data)
            return pickle.loads(stream, buffers=inner)
        if not buffers:
            return pickle.loads(data)
        return pickle.loads(data, buffers=[buffer.toreadonly() for buffer in buffers])
    except (ImportError, AttributeError) as error:
        raise SerializationError(
            f"a value cannot be rebuilt in this process: {type(error).__name__}: "
            f"{str(error).rstrip('.')}. The modules of its classes must be importable here too, in "
            "the same version: install them, put their folder on sys.path, or pass plain data."
        ) from error


def dumps(value: Any) -> bytes:
    """`value` as one byte string, whatever its size. Raises what `pack` raises."""
    packed = pack(value)
    return seal(packed.data, packed.buffers) if packed.buffers else packed.data


def loads(data: bytes | memoryview) -> Any:
    """The value that `dumps` packed. Raises what `unpack` raises."""
    return unpack(data)


def _is_plain(value: Any, kind: type, plain: frozenset[type], depth: int) -> bool:
    """Whether `value` is a small container, a few levels deep, of nothing but `plain` types."""
    if kind not in _CONTAINERS or len(value) > _PLAIN_MAX_ITEMS:
        return False
    if kind is dict:
        for key in value:
            if type(key) not in plain:
                return False
        value = value.values()
    for item in value:
        inner = type(item)
        if inner not in plain and not (depth and _is_plain(item, inner, plain, depth - 1)):
            return False
    return True


def _holds_numpy(value: Any, kind: type) -> bool:
    """Whether `value` is of NumPy, or a small container of atoms and of what is NumPy's."""
    of_numpy = numpy_types()
    if not of_numpy:
        return False
    return kind in of_numpy or _is_plain(value, kind, _with_atoms(of_numpy), _PLAIN_MAX_DEPTH)


@functools.cache
def _with_atoms(types: frozenset[type]) -> frozenset[type]:
    return _ATOMS | types


def _pack_any(value: Any, inline_limit: int, name: str) -> Packed:
    with collecting() as refs:
        try:
            packed = _pack_with(ValuePickler, value, inline_limit)
        except ParallaxError:
            raise
        except Exception as error:  # noqa: BLE001 - the value's own code may raise anything
            refs.clear()
            packed = _pack_with_dill(value, inline_limit, name, error)
    packed.refs = refs
    return packed


def _pack_with_dill(value: Any, inline_limit: int, name: str, refusal: Exception) -> Packed:
    """Ask dill for what cloudpickle refused; when it refuses too, say where the culprit hangs."""
    try:
        return _pack_with(DillValuePickler, value, inline_limit)
    except ParallaxError:
        raise
    except Exception:  # noqa: BLE001 - the first refusal says more than this one
        from parallax.serial.culprit import explain

        raise explain(value, refusal, name=name) from refusal


def _pack_with(pickler: type[ArrayPickler | ValuePickler], value: Any, inline_limit: int) -> Packed:
    stream = io.BytesIO()
    out_of_band: list[pickle.PickleBuffer] = []
    pickler(stream, _PROTOCOL, buffer_callback=out_of_band.append).dump(value)
    data = stream.getvalue()
    if not out_of_band:
        return Packed(data)
    buffers = [buffer.raw() for buffer in out_of_band]
    if len(data) + sum(buffer.nbytes for buffer in buffers) <= inline_limit:
        return Packed(seal(data, buffers))
    return Packed(data, buffers)


class _Reduced:
    """Pickles as the call ``function(*args)``."""

    def __init__(self, function: Any, args: tuple[Any, ...]) -> None:
        self._call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


def _buffer_stream(kind: type) -> bytes:
    call = _Reduced(kind, (pickle.PickleBuffer(b""),))
    return pickle.dumps(call, _PROTOCOL, buffer_callback=lambda _: None)


# Streams that mean ``bytes(next buffer)``: pickle itself keeps these types in band, copying
# them into the stream and out of it.
_BUFFER_STREAMS = {kind: _buffer_stream(kind) for kind in (bytes, bytearray)}
