"""Arrays, frames and tables by content, for `digest`: their memory is hashed where it lies.

What is laid out differently and equal has the same digest: an array in columns or rows or with
strides, a frame however its columns are stored, a table in however many chunks. Only what does not
lie in order is copied, a mebibyte at a time; of Arrow, a column with nulls or texts at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from parallax.serial.digest import Digester, reduce

Add: TypeAlias = Callable[[Digester, Any], None]

_BLOCK_BYTES = 1 << 20
# Kinds of dtype whose memory is the value; others hold pointers.
_VOLATILE = frozenset(("_cache", "_readonly"))
_PLAIN_KINDS = frozenset("biufcSUMmV")


def types() -> dict[type, Add]:
    """How to add what belongs to the libraries that are imported by now."""
    return _found(_TYPES)


def bases() -> dict[type, Add]:
    """The same for classes with many subclasses."""
    return _found(_BASES)


def _found(places: dict[str, dict[str, Add]]) -> dict[type, Add]:
    found: dict[type, Add] = {}
    for module, names in places.items():
        library = sys.modules.get(module)
        for name, add in names.items():
            kind = getattr(library, name, None)
            if kind is not None:
                found[kind] = add
    return found


def _add_array(d: Digester, array: Any) -> None:
    dtype = array.dtype
    d.tag(b"a", array.ndim)
    d.add(array.shape)
    if dtype.hasobject or dtype.kind not in _PLAIN_KINDS:
        d.text(repr(dtype))
        d.add(array.tolist())
        return
    d.text(dtype.str if dtype.names is None else repr(dtype))
    _add_memory(d, array)


def _add_memory(d: Digester, array: Any) -> None:
    """The elements in the order of rows, however they lie."""
    if not array.nbytes:
        return
    if array.flags.c_contiguous:
        d.out.update(array.reshape(-1).view("u1"))
        return
    row_bytes = array.nbytes // len(array)
    if row_bytes > _BLOCK_BYTES:
        for row in array:
            _add_memory(d, row)
        return
    rows = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, len(array), rows):
        d.out.update(array[start : start + rows].copy(order="C").reshape(-1).view("u1"))


def _add_frame(d: Digester, frame: Any) -> None:
    d.tag(b"t", frame.shape[1])
    d.add(frame.index)
    d.add(frame.columns)
    d.add(frame.attrs)
    for position in range(frame.shape[1]):
        _add_column(d, frame.iloc[:, position])


def _add_series(d: Digester, series: Any) -> None:
    d.tag(b"c")
    d.add(series.index)
    d.add(series.name)
    d.add(series.attrs)
    _add_column(d, series)


def _add_column(d: Digester, series: Any) -> None:
    of_numpy = isinstance(series.dtype, sys.modules["numpy"].dtype)
    d.add(series.to_numpy(copy=False) if of_numpy else series.array)


def _add_extension(d: Digester, array: Any) -> None:
    """An array of pandas' own."""
    pandas = sys.modules["pandas"].arrays
    if isinstance(array, pandas.IntegerArray | pandas.FloatingArray | pandas.BooleanArray):
        # What lies where a value is missing means nothing.
        d.add(array.dtype)
        d.add(array.isna())
        d.add(array.to_numpy(dtype=array.dtype.numpy_dtype, na_value=0))
        return
    _add_steady(d, array)


def _add_steady(d: Digester, value: Any) -> None:
    reduced = reduce(value)
    if isinstance(reduced, tuple):
        make, args, state = (*reduced, None)[:3]
        reduced = make, args, _steady(state)
    d.reduced(value, reduced)


def _steady(state: Any) -> Any:
    """A state without what asking an array for something changes."""
    if isinstance(state, dict):
        # An object that was never asked has no state at all.
        return {name: value for name, value in state.items() if name not in _VOLATILE} or None
    return tuple(map(_steady, state)) if isinstance(state, tuple) else state


def _add_table(d: Digester, table: Any) -> None:
    d.tag(b"t", table.num_rows)
    d.add(table.schema.serialize().to_pybytes())
    for column in table.columns:
        _add_arrow(d, column)


def _add_arrow(d: Digester, column: Any) -> None:

    pa = sys.modules["pyarrow"]
    d.tag(b"w", len(column))
    d.text(str(column.type))
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        if column.null_count:
            # What lies where a value is missing means nothing.
            d.tag(b"v")
            _add_arrow(d, column.is_valid().cast("uint8"))
            column = column.fill_null(0)
        for chunk in _chunks(column):
            _add_memory(d, chunk.to_numpy(zero_copy_only=True))
        return
    # Taken out, it is in one piece, and has nothing before, behind and between its values.
    for chunk in _chunks(pa.chunked_array(_chunks(column), column.type).combine_chunks()):
        batch = pa.record_batch(
            [chunk.take(pa.array(sys.modules["numpy"].arange(len(chunk))))], names=["column"]
        )
        sink = pa.PythonFile(_Sink(d), mode="w")
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)


def _chunks(column: Any) -> list[Any]:
    chunked = isinstance(column, sys.modules["pyarrow"].ChunkedArray)
    return list(column.chunks) if chunked else [column]


class _Sink:
    """A file that goes into the digest."""

    closed = False

    def __init__(self, d: Digester) -> None:
        self._out = d.out

    def write(self, data: Any) -> int:
        """Take bytes."""
        self._out.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Nothing is open."""


_TYPES: dict[str, dict[str, Add]] = {
    "numpy": {"ndarray": _add_array},
    "pandas": {"DataFrame": _add_frame, "Series": _add_series},
    "pyarrow": {
        "Table": _add_table,
        "RecordBatch": _add_table,
        "ChunkedArray": _add_arrow,
    },
}
_BASES: dict[str, dict[str, Add]] = {
    "pandas.api.extensions": {
        "ExtensionArray": _add_extension,
        "ExtensionDtype": _add_steady,
    },
    "pyarrow": {"Array": _add_arrow},
}
