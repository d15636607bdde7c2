"""References to values that exist, or will: what tasks return and `put` gives back."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from parallax.errors import ClusterLostError, UsageError
from parallax.ids import hex_id
from parallax.options import check_timeout
from parallax.reprs import HtmlRepr
from parallax.serial.refs import note

if TYPE_CHECKING:
    import concurrent.futures  # late: what starts a pool has no need of it

T = TypeVar("T")


class RefOwner(Protocol):
    """The session side of a ref: it counts references and fetches values."""

    cluster: str
    lost: str
    """Why its values are out of reach; empty while they are not."""
    dropped: deque[int]
    """Ids of refs that were garbage collected; of streams, with a minus sign. A finalizer may only
    append here."""

    def adopt(self, object_id: int) -> None:
        """A ref to this object came to be in this process."""

    def adopt_actor(self, actor: int) -> None:
        """A handle of this actor came to be in this process."""

    def future(self, object_id: int) -> concurrent.futures.Future[Any]:
        """A future of the object's value."""

    def describe(self, object_id: int) -> str:
        """The state of the object in a word, without asking anybody."""

    def next_item(self, task_id: int, index: int, timeout_s: float | None) -> int:
        """The id of item `index` of a stream; 0 at its end. Blocks.

        An error in the task is its last item, under the task's own id.
        """

    def when_item(self, task_id: int, index: int) -> concurrent.futures.Future[int]:
        """The same as a future."""

    def consumed(self, task_id: int, count: int) -> None:
        """The reader has taken `count` items."""


AnyRef: TypeAlias = "ObjectRef[Any] | ObjectRefGenerator[Any]"
_owners: dict[str, RefOwner] = {}


def register_owner(owner: RefOwner) -> None:
    """Refs of the owner's cluster that arrive in this process belong to it from now on."""
    _owners[owner.cluster] = owner


def owner_of(cluster: str) -> RefOwner | None:
    """This process's session of the cluster, if it has one."""
    return _owners.get(cluster)


def forget_owner(owner: RefOwner) -> None:
    """The session is over."""
    if _owners.get(owner.cluster) is owner:
        del _owners[owner.cluster]


class ObjectRef(HtmlRepr, Generic[T]):
    """A reference to one immutable value, which may not exist yet.

    Pass it to tasks, put it into containers, `parallax.get` it, or ``await`` it. The value is
    freed when the last reference anywhere is gone. Thread-safe, hashable, and picklable within
    its cluster; `id` is its number there.

        >>> import parallax as px
        >>> ref = px.remote(len).remote("four")
        >>> px.get(ref)
        4
        >>> ref
        ObjectRef(..., ready)
    """

    __slots__ = ("__weakref__", "_owner", "id")

    def __init__(self, object_id: int, owner: RefOwner) -> None:
        self.id = object_id
        self._owner: RefOwner | None = owner

    def hex(self) -> str:
        """The id as 16 hexadecimal digits."""
        return hex_id(self.id)

    @property
    def owner(self) -> RefOwner:
        """The session that this ref belongs to.

        Raises:
            UsageError: this process has no session of the ref's cluster.
        """
        if self._owner is None:
            raise UsageError(
                f"ObjectRef({self.hex()}) belongs to a cluster that this process is not connected "
                "to. Refs are only good in the cluster that made them."
            )
        return self._owner

    def future(self) -> concurrent.futures.Future[T]:
        """A `concurrent.futures.Future` of the value. Does not block; thread-safe.

        It keeps the value alive until it is done. Cancelling it does not cancel the task.

            >>> import parallax as px
            >>> px.put(7).future().result()
            7

        Raises:
            UsageError: the ref belongs to another cluster.
            ClusterLostError: its session is over.
        """
        owner = self.owner
        if owner.lost:
            raise ClusterLostError(_out_of_reach(self, owner.lost))
        return owner.future(self.id)

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # late: a third of the time that importing all this takes

        return asyncio.wrap_future(self.future()).__await__()

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and other.id == self.id and other._owner is self._owner

    def __reduce__(self) -> tuple[Any, ...]:
        if self.owner.lost:
            raise stale(self)
        note(self.id)
        return _rebuild, (self.owner.cluster, self.id)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"an ObjectRef is not iterable; get its value first: parallax.get({self!r})"
        )

    if not TYPE_CHECKING:  # type checkers shall still know what is there

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"an ObjectRef has no attribute {name!r}; it stands for a value: "
                "parallax.get(ref) waits for it and returns it.",
                name=name,
                obj=self,
            )

    def __repr__(self) -> str:
        state = self._owner.describe(self.id) if self._owner is not None else "foreign"
        return f"ObjectRef({self.hex()}, {state})"

    def __del__(self) -> None:
        # May run inside the garbage collector, in any thread: append and nothing else.
        owner = self._owner
        if owner is not None:
            owner.dropped.append(self.id)


def stale(ref: AnyRef) -> UsageError:
    """The error for a ref whose session is over, or is not the one that it was given to."""
    lost = ref._owner.lost if ref._owner is not None else ""
    return UsageError(_out_of_reach(ref, lost or "it belongs to another session"))


def _out_of_reach(ref: AnyRef, why: str) -> str:
    reason = why.partition("\n")[0].rstrip(".")
    return f"{ref!r} is out of reach: {reason}. Refs end with their session; make its value anew."


def check_owner(owner: RefOwner, refs: Iterable[AnyRef]) -> None:
    """Check that all refs are of this session.

    Raises:
        UsageError: one is not.
    """
    for ref in refs:
        if ref._owner is not owner:
            raise stale(ref)


def _rebuild(cluster: str, object_id: int) -> ObjectRef[Any]:
    owner = _owners.get(cluster)
    if owner is None:
        ref: ObjectRef[Any] = ObjectRef.__new__(ObjectRef)
        ref.id = object_id
        ref._owner = None
        return ref
    owner.adopt(object_id)
    return ObjectRef(object_id, owner)


class ObjectRefGenerator(HtmlRepr, Generic[T]):
    """The results of a generator task, each a ref as soon as it was yielded.

    Iterate over it with ``for`` or ``async for``; each step blocks, or awaits, until the next
    value was yielded. An exception in the task comes as the last ref, whose `get` raises. A task
    whose generator is gone is cancelled. To be read in one thread at a time, in the process that
    made it.

        >>> import parallax as px
        >>> @px.remote
        ... def count(n):
        ...     for i in range(n):
        ...         yield i
        >>> [px.get(ref) for ref in count.remote(3)]
        [0, 1, 2]
    """

    def __init__(self, task_id: int, owner: RefOwner) -> None:
        self.task_id = task_id
        self._owner = owner
        self._index = 0

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        return self.next(None)

    def next(self, timeout: float | None = None) -> ObjectRef[T]:
        """The next ref. Blocks until it was yielded.

        Args:
            timeout: seconds to wait at most; 0 only looks; None waits for ever.

        Raises:
            StopIteration: the task has ended.
            GetTimeoutError: nothing was yielded in time; call again.
            UsageError: the timeout is negative or no number.
        """
        timeout_s = check_timeout(timeout)
        ref = self._take(self._owner.next_item(self.task_id, self._index, timeout_s))
        if ref is None:
            raise StopIteration
        return ref

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        import asyncio

        item = await asyncio.wrap_future(self._owner.when_item(self.task_id, self._index))
        ref = self._take(item)
        if ref is None:
            raise StopAsyncIteration
        return ref

    def hex(self) -> str:
        """The task's id as 16 hexadecimal digits."""
        return hex_id(self.task_id)

    @property
    def owner(self) -> RefOwner:
        """The session that it belongs to."""
        return self._owner

    def _take(self, item: int) -> ObjectRef[T] | None:
        if item == 0:
            return None
        self._index += 1
        self._owner.consumed(self.task_id, self._index)
        return ObjectRef(item, self._owner)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "cannot pickle an ObjectRefGenerator: it is read where it was made. Pass its refs on, "
            "one by one."
        )

    def __del__(self) -> None:
        owner = getattr(self, "_owner", None)
        if owner is not None:
            owner.dropped.append(-self.task_id)

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self.hex()}, {self._index} taken)"
