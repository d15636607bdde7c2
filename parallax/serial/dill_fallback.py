"""dill, for objects that cloudpickle refuses.

Only where a copy is as good as the original: a copied lock excludes nobody, a copied file writes
over the other's lines, and a weak reference dies on arrival. These are better refused by name.
"""

from __future__ import annotations

import io
import pickle
import weakref
from _thread import LockType, RLock
from typing import Any

_REFUSED = (
    io.IOBase,
    LockType,
    RLock,
    weakref.ReferenceType,
    weakref.ProxyType,
    weakref.CallableProxyType,
)


def reduce_with_dill(obj: Any) -> Any:
    """A reduction of `obj` by dill; NotImplemented where pickle copes, or a copy would not do."""
    if isinstance(obj, type) or issubclass(type(obj), _REFUSED):
        return NotImplemented
    import dill  # type: ignore[import-untyped]  # slow to import, and rarely needed

    kind = type(obj)
    if kind not in dill.Pickler.dispatch or kind in pickle._Pickler.dispatch:
        return NotImplemented
    try:
        obj.__reduce_ex__(5)
    except TypeError:
        return _load_with_dill, (dill.dumps(obj, recurse=True),)
    return NotImplemented


def _load_with_dill(data: bytes) -> Any:
    import dill

    return dill.loads(data)
