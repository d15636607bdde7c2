"""The types that `get` raises: a `TaskError` that is the user's own type as well."""

from __future__ import annotations

import reprlib
import types
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from parallax.errors import TaskError
from parallax.serial.remote_traceback import MAX_HEADLINE_CHARS, is_short

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, not compiled in
_MAX_NAMED_TYPES = 256
_ARGS = vars(BaseException)["args"]
# `obj` of AttributeError and NameError is the object that lacked the name: it may be anything,
# and pickle leaves it out as well.
_NOT_FIELDS = frozenset(("obj", "exceptions", "__dict__", "__weakref__"))
# Raised out of `get`, these would silently end the caller's own loop or generator.
_LOOP_ENDERS = (StopIteration, StopAsyncIteration)


class ArrivedTaskError(TaskError):
    """What all errors that come back from tasks have in common. Its methods are final.

    It stands before the user's type in the order of methods, so that an unusual ``__str__``,
    ``__reduce__`` or ``__init_subclass__`` of that type is never run.
    """

    # Under this name, since the user's own attributes lie in the same dict.
    _parallax_data: bytes
    _parallax_text: str

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Do not tell the user's type, which may refuse subclasses or keep a register of them."""

    def __str__(self) -> str:
        return str(attributes_of(self).get("_parallax_text", ""))

    def __repr__(self) -> str:
        return f"{type(self).__name__}{_arguments(args_of(self))}"

    def __bool__(self) -> bool:
        return True

    # What Python itself does with an error that passes must not depend on the user's type.
    __getattribute__ = object.__getattribute__
    __setattr__ = object.__setattr__

    def __copy__(self) -> BaseException:
        load, arguments, state = self.__reduce_ex__(5)
        made: BaseException = load(*arguments)
        attributes_of(made).update(state)
        return made

    def __deepcopy__(self, memo: object) -> BaseException:
        return self.__copy__()

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        from parallax.serial.failures import load_error

        own = attributes_of(self)
        return load_error, (own["_parallax_data"],), {"__notes__": own["__notes__"]}

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        attributes_of(self).update(state or {})


def make_task_error(
    cause: BaseException | None,
    *,
    type_name: str,
    message: str,
    remote_traceback: str,
    task_name: str,
    data: bytes,
) -> ArrivedTaskError:
    """Build what `get` raises.

    Args:
        cause: the original; None when it could not travel.
        type_name: the name of its type.
        message: its message.
        remote_traceback: the text that follows the message.
        task_name: the task that raised it.
        data: what `load_error` makes this error of, for pickling it again.
    """
    error = None
    if isinstance(cause, Exception) and not isinstance(cause, _LOOP_ENDERS):
        error = _make_dual(cause)
    if error is None:
        error = _named_type(type_name)()
        set_args(error, (message,) if cause is None else args_of(cause))
        if cause is not None:
            attributes_of(error).update(attributes_of(cause))
    attributes_of(error).setdefault("__notes__", [])
    attributes_of(error).update(
        cause=cause,
        remote_traceback=remote_traceback,
        task_name=task_name,
        _parallax_data=data,
        _parallax_text=f"{_headline(message)}\n\n{remote_traceback}".strip(),
    )
    return error


def name_of(kind: type) -> str:
    """The type's name, without the function that it was defined in."""
    return kind.__qualname__.rpartition("<locals>.")[2]


def args_of(error: BaseException) -> tuple[Any, ...]:
    """The arguments, also where the type has another `args` of its own."""
    args: tuple[Any, ...] = _ARGS.__get__(error)
    return args


def set_args(error: BaseException, args: tuple[Any, ...]) -> None:
    """Set what `args_of` gives."""
    _ARGS.__set__(error, args)


def attributes_of(error: BaseException) -> dict[str, Any]:
    """The instance's dict, around whatever attribute access its type defines."""
    found: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return found


def fields_of(error: BaseException) -> dict[str, Any]:
    """What lies outside of args and dict: `errno`, `lineno`, slots, … as far as it is set."""
    fields: dict[str, Any] = {}
    for base in type(error).__mro__:
        if base is BaseException or base is object:
            continue  # args, traceback and chain go their own way
        for name, descriptor in vars(base).items():
            if name in _NOT_FIELDS or name in fields:
                continue
            if isinstance(descriptor, MemberDescriptorType | GetSetDescriptorType):
                try:
                    value = descriptor.__get__(error, type(error))
                except Exception:  # noqa: BLE001 - not set, or computed by foreign C code
                    continue
                if value is not None:
                    fields[name] = value
    return fields


def set_fields(error: BaseException, fields: dict[str, Any]) -> None:
    """Set what `fields_of` found, as far as it can be set."""
    for name, value in fields.items():
        try:
            object.__setattr__(error, name, value)
        except (AttributeError, TypeError, ValueError):
            continue  # computed, or read-only


def make_bare(kind: type[BaseException], *args: Any) -> BaseException:
    """An instance made without running the type's own ``__new__`` or ``__init__``.

    Raises:
        TypeError: the type's layout forbids it.
    """
    base: type = kind
    while base.__flags__ & _HEAP_TYPE and base.__base__ is not None:
        base = base.__base__
    made: BaseException = base.__new__(kind, *args)
    return made


_duals: WeakKeyDictionary[type, ReferenceType[type]] = WeakKeyDictionary()
_named: dict[str, type[ArrivedTaskError]] = {}


def _make_dual(cause: Exception) -> ArrivedTaskError | None:
    """The arriving error with the cause's type and content; None for types that refuse it."""
    try:
        kind = _dual_type(type(cause))
        if isinstance(cause, BaseExceptionGroup):
            error = make_bare(kind, cause.message, cause.exceptions)
        else:
            error = make_bare(kind)
        set_args(error, args_of(cause))
        set_fields(error, fields_of(cause))
        attributes_of(error).update(attributes_of(cause))
    except Exception:  # noqa: BLE001 - metaclasses and foreign layouts raise anything
        return None
    return error if isinstance(error, ArrivedTaskError) else None


def _dual_type(kind: type[BaseException]) -> type[ArrivedTaskError]:
    # Held weakly: the dual refers to the user's type, which must be free to go.
    known = _duals.get(kind)
    dual = known() if known is not None else None
    if dual is None:
        dual = _new_type(f"TaskError({name_of(kind)})", (ArrivedTaskError, kind))
        _duals[kind] = ref(dual)
    return dual


def _named_type(type_name: str) -> type[ArrivedTaskError]:
    """A type that shows the name of a type that is not here."""
    if type_name not in _named:
        if len(_named) >= _MAX_NAMED_TYPES:
            _named.clear()
        _named[type_name] = _new_type(f"TaskError({type_name})", (ArrivedTaskError,))
    return _named[type_name]


def _new_type(name: str, bases: tuple[type, ...]) -> type[ArrivedTaskError]:
    def fill(namespace: dict[str, Any]) -> None:
        namespace.update(__module__=TaskError.__module__, __qualname__=name, __doc__=None)

    made: type[ArrivedTaskError] = types.new_class(name, bases, exec_body=fill)
    return made


def _headline(message: str) -> str:
    """The message where it is short: in full it stands at the end of the traceback below."""
    if is_short(message):
        return message
    return f"{message.partition(chr(10))[0][:MAX_HEADLINE_CHARS]} …"


def _arguments(args: tuple[Any, ...]) -> str:
    try:
        return f"({', '.join(map(reprlib.repr, args))})"
    except Exception:  # noqa: BLE001 - user types may raise anything
        return "(…)"
