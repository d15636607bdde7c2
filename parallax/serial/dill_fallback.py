"""dill, for objects that cloudpickle refuses.

Only where a copy is as good as the original: a copied lock excludes nobody, a copied file writes
over the other's lines, and a weak reference dies on arrival. These are better refused by name.
"""

from __future__ import annotations

import io
import weakref
from _thread import LockType, RLock
from types import FunctionType
from typing import Any

from parallax.serial.code_pickler import LruCache, Pickler

_NEVER = (
    type,
    FunctionType,
    LruCache,
    io.IOBase,
    LockType,
    RLock,
    weakref.ReferenceType,
    weakref.ProxyType,
    weakref.CallableProxyType,
)


def reduce_with_dill(obj: Any) -> Any:
    """A reduction of `obj` by dill; NotImplemented where pickle copes, or a copy would not do."""
    kind = type(obj)
    if issubclass(kind, _NEVER):
        return NotImplemented
    import dill  # type: ignore[import-untyped]  # slow to import, and rarely needed

    if kind not in dill.Pickler.dispatch or kind in Pickler.dispatch_table:
        return NotImplemented
    return _load_with_dill, (dill.dumps(obj, recurse=True),)


def _load_with_dill(data: bytes) -> Any:
    import dill

    return dill.loads(data)
