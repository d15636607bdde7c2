"""The picklers for values: array memory goes out of band, whatever the array's layout."""

from __future__ import annotations

import copyreg
import pickle
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, cast

from parallax.serial.code_pickler import Pickler
from parallax.serial.dill_fallback import reduce_with_dill

if TYPE_CHECKING:
    import numpy as np

_Reducer = Callable[[Any], Any]

# Kinds of dtype that `dtype.str` names completely; others go the way NumPy chose for them.
_PLAIN_KINDS = frozenset("biufcSUMm")


class _ReducerTable(dict[type, _Reducer]):
    """Reducers by exact type: ours, else `copyreg`'s.

    cloudpickle asks a ChainMap; a dict that falls through costs half as much for each object
    that has no reducer, and those are most.
    """

    def __missing__(self, kind: type) -> _Reducer:
        return copyreg.dispatch_table[kind]


_reducers = _ReducerTable(Pickler._dispatch_table)
_array_reducers: dict[type, _Reducer] = {}
_numpy_types: frozenset[type] = frozenset()


class ValuePickler(Pickler):
    """Pickles functions and classes of `__main__` by value, and arrays' memory out of band."""

    dispatch_table = _reducers

    def __init__(
        self,
        file: IO[bytes],
        protocol: int,
        *,
        buffer_callback: Callable[[pickle.PickleBuffer], object],
    ) -> None:
        super().__init__(file, protocol, buffer_callback)
        numpy_types()  # registers the reducer for arrays


class DillValuePickler(ValuePickler):
    """Asks dill for objects that cloudpickle refuses."""

    def reducer_override(self, obj: Any) -> Any:
        """How to pickle `obj`; NotImplemented leaves it to its own class."""
        reduced = super().reducer_override(obj)
        return reduce_with_dill(obj) if reduced is NotImplemented else reduced


class ArrayPickler(pickle.Pickler):
    """For arrays, NumPy scalars and plain containers of them: twice as fast as cloudpickle's.

    Raises:
        NotPlainError: an array that only cloudpickle is sure to get right.
    """

    dispatch_table = _array_reducers


class NotPlainError(Exception):
    """An array holds objects, or has a dtype that its name does not tell."""


def numpy_types() -> frozenset[type]:
    """NumPy's array class and scalar classes, which hold no code; none before NumPy is imported.

    Never imports it.
    """
    return _numpy_types or _register_numpy()


def _register_numpy() -> frozenset[type]:
    global _numpy_types
    numpy = sys.modules.get("numpy")
    # The scalar types come late in NumPy's import: another thread may be in the middle of it.
    if numpy is None or not hasattr(numpy, "sctypeDict"):
        return _numpy_types
    array: type = numpy.ndarray
    _reducers[array] = _reduce_array
    _array_reducers[array] = _reduce_plain_array
    scalars = {kind for kind in numpy.sctypeDict.values() if numpy.dtype(kind).kind in _PLAIN_KINDS}
    _numpy_types = frozenset({array, *scalars})
    return _numpy_types


def _reduce_plain_array(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind not in _PLAIN_KINDS:
        raise NotPlainError
    return _reduce_array(array)


def _reduce_array(array: np.ndarray[Any, Any]) -> Any:
    """Reduce an array to one flat buffer.

    NumPy itself keeps strided and datetime arrays in band: a copy into the stream and another
    out of it. Its reducer also takes twice as long.
    """
    dtype = array.dtype
    if dtype.kind not in _PLAIN_KINDS:
        return array.__reduce_ex__(5)
    flags = array.flags
    order = "C"
    if not flags.c_contiguous:
        if flags.f_contiguous:
            order = "F"
        else:
            array = array.copy(order="C")
    if dtype.kind in "Mm":
        array = array.view("i8")  # the buffer protocol has no format for datetimes
    return _rebuild_array, (pickle.PickleBuffer(cast(Any, array)), dtype.str, array.shape, order)


def _rebuild_array(
    buffer: Any, dtype: str, shape: tuple[int, ...], order: Any
) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.ndarray(shape, dtype, buffer, order=order)
