"""An exception and those that it refers to, as plain data and back.

Exceptions form a graph: causes, contexts, members of groups, and whatever hangs in arguments and
attributes. Each becomes one node, and each part of a node is pickled by itself, so that a lock in
one attribute costs that attribute and nothing else. An exception is rebuilt without its
``__init__``, which would often not take the arguments that it left in `args`.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import reprlib
from collections.abc import Callable
from typing import IO, Any, NamedTuple

from parallax.serial.code_pickler import Pickler
from parallax.serial.remote_traceback import describe, shorten
from parallax.serial.task_errors import (
    ArrivedTaskError,
    args_of,
    attributes_of,
    fields_of,
    make_bare,
    name_of,
    set_args,
    set_fields,
)

MAX_NODES = 1000
MAX_DEPTH = 16
MAX_PART_BYTES = 1 << 20
MAX_TOTAL_BYTES = 8 << 20
MAX_MESSAGE_CHARS = 4_000

_HEAP_TYPE = 1 << 9
_PLAIN = frozenset((type(None), bool, int, float, str, bytes))


class Part(NamedTuple):
    """One value: plain, or pickled, or, where neither works, a text that stands for it."""

    plain: Any = None
    pickled: bytes | None = None
    text: str = ""


class Node(NamedTuple):
    """One exception."""

    type_name: str
    message: str
    kind: bytes | None = None  # the pickled type
    whole: bytes | None = None  # pickled by the type's own reducer
    travelled: bytes | None = None  # it has travelled before: its bytes
    args: tuple[tuple[Any, ...], ...] = ()
    attributes: dict[str, tuple[Any, ...]] = {}  # noqa: RUF012 - never changed
    fields: dict[str, tuple[Any, ...]] = {}  # noqa: RUF012
    members: tuple[int, ...] | None = None  # of a group
    cause: int | None = None
    context: int | None = None
    suppress_context: bool = False


def pack_graph(root: BaseException) -> list[tuple[Any, ...]]:
    """The nodes, the root first, of nothing but built-in types."""
    return _Packer().pack(root)


def unpack_graph(
    nodes: list[tuple[Any, ...]],
    *,
    load_error: Callable[[bytes], BaseException],
    stand_in: Callable[[str, str], BaseException],
) -> BaseException | None:
    """Rebuild the root, and with it what it refers to; None when its type is not here or refuses.

    Args:
        nodes: what `pack_graph` gave.
        load_error: rebuilds errors that had travelled before.
        stand_in: makes an error of a type name and a message, for others that cannot be rebuilt.
    """
    return _Unpacker([Node(*node) for node in nodes], load_error, stand_in).rebuild(0)


class _Packer:
    def __init__(self) -> None:
        self._found: list[tuple[BaseException, int]] = []
        self._numbers: dict[int, int] = {}
        self._left_bytes = MAX_TOTAL_BYTES

    def pack(self, root: BaseException) -> list[tuple[Any, ...]]:
        self._number(root, 0)
        nodes = []
        # Packing a node finds more of them: the list grows while it is walked.
        for error, depth in self._found:
            nodes.append(tuple(self._pack_node(error, depth)))
        return nodes

    def _number(self, error: BaseException, depth: int) -> int | None:
        """The node of an exception; None beyond the limits."""
        number = self._numbers.get(id(error))
        if number is None and len(self._found) < MAX_NODES and depth <= MAX_DEPTH:
            number = self._numbers[id(error)] = len(self._found)
            self._found.append((error, depth))
        return number

    def _pack_node(self, error: BaseException, depth: int) -> Node:
        kind = type(error)
        message = describe(error)
        node = Node(name_of(kind), shorten(message, MAX_MESSAGE_CHARS) if depth else message)
        if isinstance(error, ArrivedTaskError):
            travelled = attributes_of(error)["_parallax_data"]
            if len(travelled) > self._left_bytes:
                return node
            self._left_bytes -= len(travelled)
            return node._replace(travelled=travelled)
        down = depth + 1
        if error.__cause__ is not None:
            node = node._replace(cause=self._number(error.__cause__, down))
        if error.__context__ is not None:
            node = node._replace(context=self._number(error.__context__, down))
        if isinstance(error, BaseExceptionGroup):
            numbers = [self._number(member, down) for member in error.exceptions]
            node = node._replace(members=tuple(n for n in numbers if n is not None))
        whole = self._try_pickle(error, down, itself=error) if _has_own_reducer(kind) else None
        return node._replace(
            kind=self._try_pickle(kind, down),
            whole=whole,
            args=tuple(self._pack_part(value, down) for value in args_of(error)),
            attributes={
                str(name): self._pack_part(value, down)
                for name, value in attributes_of(error).items()
            },
            fields={name: self._pack_part(value, down) for name, value in fields_of(error).items()},
            suppress_context=error.__suppress_context__,
        )

    def _pack_part(self, value: Any, depth: int) -> tuple[Any, ...]:
        if type(value) in _PLAIN:
            if not isinstance(value, str | bytes):
                return tuple(Part(value))
            if len(value) <= min(MAX_PART_BYTES, self._left_bytes):
                self._left_bytes -= len(value)
                return tuple(Part(value))
            return tuple(Part(shorten(value) if isinstance(value, str) else _stand_in(value)))
        pickled = self._try_pickle(value, depth)
        return tuple(Part(None, pickled, _stand_in(value)))

    def _try_pickle(
        self, value: Any, depth: int, itself: BaseException | None = None
    ) -> bytes | None:
        file = _BoundedFile(min(MAX_PART_BYTES, self._left_bytes))
        try:
            _PartPickler(file, itself, lambda error: self._number(error, depth)).dump(value)
        except Exception:  # noqa: BLE001 - user types raise anything while they are pickled
            return None
        data = file.getvalue()
        self._left_bytes -= len(data)
        return data


class _PartPickler(Pickler):
    """Refers to exceptions by the number of their node, but for the one that it is to pickle."""

    def __init__(
        self,
        file: IO[bytes],
        itself: BaseException | None,
        number: Callable[[BaseException], int | None],
    ) -> None:
        super().__init__(file)
        self._itself = itself
        self._number = number

    def persistent_id(self, obj: Any) -> int | None:
        if isinstance(obj, BaseException) and obj is not self._itself:
            return self._number(obj)
        return None


class _BoundedFile(io.BytesIO):
    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._limit_bytes:
            raise OverflowError(f"more than {self._limit_bytes:,} bytes")
        return super().write(data)


class _Unpacker:
    """Rebuilds each node once; nodes may refer to each other in circles."""

    def __init__(
        self,
        nodes: list[Node],
        load_error: Callable[[bytes], BaseException],
        stand_in: Callable[[str, str], BaseException],
    ) -> None:
        self._nodes = nodes
        self._load_error = load_error
        self._stand_in = stand_in
        self._made: dict[int, BaseException] = {}
        self._under_way: set[int] = set()

    def rebuild(self, number: int) -> BaseException | None:
        """The exception; None when it cannot be rebuilt, or is being rebuilt right now."""
        if number in self._made or number in self._under_way:
            return self._made.get(number)
        node = self._nodes[number]
        self._under_way.add(number)
        try:
            return self._rebuild(number, node)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - unpickling runs user code; SystemExit must not pass
            return self._made.get(number)
        finally:
            self._under_way.discard(number)

    def get(self, number: int) -> BaseException:
        """The exception, or an error that tells what is known of it."""
        node = self._nodes[number]
        return self.rebuild(number) or self._stand_in(node.type_name, node.message)

    def _rebuild(self, number: int, node: Node) -> BaseException | None:
        if node.travelled is not None:
            self._made[number] = self._load_error(node.travelled)
            return self._made[number]
        made = self._rebuild_whole(node)
        if made is None:
            made = self._rebuild_parts(number, node)
            if made is None:
                return None
        self._made[number] = made
        # Around whatever attribute access the type defines.
        if node.cause is not None:
            object.__setattr__(made, "__cause__", self.get(node.cause))
        if node.context is not None:
            object.__setattr__(made, "__context__", self.get(node.context))
        object.__setattr__(made, "__suppress_context__", node.suppress_context)
        return made

    def _rebuild_whole(self, node: Node) -> BaseException | None:
        if node.whole is None:
            return None
        try:
            made = self._unpickle(node.whole)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - the type's own reducer may raise anything
            return None
        return made if isinstance(made, BaseException) else None

    def _rebuild_parts(self, number: int, node: Node) -> BaseException | None:
        if node.kind is None:
            return None
        kind = self._unpickle(node.kind)
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            return None
        if node.members is not None and issubclass(kind, BaseExceptionGroup):
            members = [self.get(member) for member in node.members]
            message = self._part(node.args[0]) if node.args else ""
            made = make_bare(kind, str(message), members)
        else:
            made = make_bare(kind)
        # Known before its parts are rebuilt, for they may refer to it.
        self._made[number] = made
        if node.members is None:
            set_args(made, tuple(self._part(part) for part in node.args))
        set_fields(made, {name: self._part(part) for name, part in node.fields.items()})
        attributes = {name: self._part(part) for name, part in node.attributes.items()}
        attributes_of(made).update(attributes)
        return made

    def _part(self, packed: tuple[Any, ...]) -> Any:
        part = Part(*packed)
        if part.pickled is None:
            return part.text or part.plain
        try:
            return self._unpickle(part.pickled)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - unpickling runs user code
            return part.text

    def _unpickle(self, data: bytes) -> Any:
        return _PartUnpickler(io.BytesIO(data), self.get).load()


class _PartUnpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], get: Callable[[int], BaseException]) -> None:
        super().__init__(file)
        self._get = get

    def persistent_load(self, pid: int) -> BaseException:
        return self._get(pid)


def _has_own_reducer(kind: type) -> bool:
    if kind in copyreg.dispatch_table:
        return True
    for name in ("__reduce_ex__", "__reduce__", "__setstate__"):
        owner = next(base for base in kind.__mro__ if name in vars(base) or base is object)
        if owner.__flags__ & _HEAP_TYPE:
            return True
    return False


def _stand_in(value: Any) -> str:
    try:
        return f"<{type(value).__name__} left behind: {reprlib.repr(value)}>"
    except Exception:  # noqa: BLE001 - user types may raise anything
        return f"<{type(value).__name__} left behind>"
