"""What a session can do: all that the public API needs, whoever does the work."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from parallax.actor_options import ActorOptions
from parallax.options import TaskOptions
from parallax.refs import ObjectRef, ObjectRefGenerator, RefOwner

Submitted = ObjectRef[Any] | list[ObjectRef[Any]] | ObjectRefGenerator[Any] | None
"""What `remote()` returns: by num_returns a ref, a list of them, a generator, or nothing."""


class Call(Protocol):
    """A remote function with its options, as the API hands it to a session."""

    function: Any
    task_options: TaskOptions
    name: str
    streaming: bool
    num_returns: int
    shared: MutableMapping[Any, Any]
    """The same for what all calls of one function share, whatever their options."""
    session_data: Any
    """Where a session keeps what it made of the function; its own business."""


class Method(Protocol):
    """A method of actors with its options, as the API hands it to a session."""

    name: str
    """Of the method."""
    title: str
    """With its class: for views and messages."""
    num_returns: int
    streaming: bool
    backpressure: int
    concurrency_group: str
    max_task_retries: int
    retry_exceptions: bool | tuple[type[BaseException], ...]
    session_data: Any
    """As in `Call`."""


class ActorPlan(Protocol):
    """An actor to be made, as the API hands it to a session."""

    constructor: Call
    """The class, as a function that returns one instance."""
    actor_options: ActorOptions
    concurrency: int
    """Calls that run at once."""
    is_async: bool
    """It has coroutine methods, which run on one event loop."""
    info: bytes
    """What handles know of the class."""


class Actors(Protocol):
    """The actors of a session. Thread-safe."""

    def create(
        self, plan: ActorPlan, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[int, bytes]:
        """Have an actor made, or find the one of its name. Waits only if it has a name.

        Returns:
            Its id, of which the caller holds one reference, and what handles know of its class.

        Raises:
            UsageError: the name is taken.
        """

    def call(
        self,
        actor: int,
        method: Method,
        limit: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Submitted:
        """Call a method. Does not wait.

        Args:
            limit: how many calls of this process may be pending, -1 for any number.

        Raises:
            PendingCallsLimitExceeded: so many are.
        """

    def apply(
        self, actor: int, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Submitted:
        """Call a function with the instance as its first argument. Does not wait."""

    def find(self, name: str, namespace: str) -> tuple[int, bytes]:
        """As `create`, of an actor that there is.

        Raises:
            LookupError: there is none of this name.
        """

    def named(self, *, everywhere: bool) -> list[Any]:
        """Names in this namespace, or pairs of namespaces and names."""

    def kill(self, actor: int, *, restart: bool) -> None:
        """End an actor's process now. Does not wait."""


class Keeper(Protocol):
    """The results that a session keeps by name. Thread-safe."""

    def keep(self, object_id: int, name: str) -> None:
        """Keep the value, now or when there is one. Waits until that is safe.

        Raises:
            UsageError: the value contains refs.
            ObjectLostError: there will be no value.
            JournalError: it could not be written.
        """

    def forget(self, name: str) -> None:
        """Keep it no more. Waits until that is safe.

        Raises:
            UsageError: there is no such name.
        """

    def recall(self, name: str, timeout_s: float | None) -> Any:
        """The value, or the error of the task that was to make it. Waits for the task.

        Raises:
            UsageError: there is no such name.
            ObjectLostError: it was promised, and the pool ended; or its file is damaged.
            GetTimeoutError: the task has not ended in time.
        """

    def names(self) -> list[dict[str, Any]]:
        """What is known of each name, the oldest first."""


class Session(Protocol):
    """A connection to something that runs tasks. Thread-safe."""

    name: str
    cluster: str

    @property
    def namespace(self) -> str:
        """Where names of actors live, for the code that asks."""

    @property
    def actors(self) -> Actors:
        """Its actors."""

    @property
    def keeper(self) -> Keeper:
        """What it keeps."""

    @property
    def owner(self) -> RefOwner:
        """What its refs belong to."""

    @property
    def closed(self) -> bool:
        """Whether it was shut down, or lost."""

    def submit(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Submitted:
        """Start one task. Does not wait."""

    def submit_map(
        self, call: Call, items: Sequence[tuple[Any, ...]], chunk: int | None
    ) -> list[ObjectRef[Any]]:
        """Start one task an item; `chunk` items travel together, None lets the session choose."""

    def create_group(
        self, bundles: Sequence[Mapping[str, float]], strategy: str, *, name: str, detached: bool
    ) -> ObjectRef[Any]:
        """Have a placement group made. Does not wait.

        Returns:
            A ref whose id is the group's, ready when all of its bundles are reserved.
        """

    def remove_group(self, group: int) -> None:
        """End a placement group and what runs in it. Does not wait."""

    def forget_cached(self) -> None:
        """What is kept on disk was cleared: later calls of cached functions run anew."""

    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a value."""

    def get(self, refs: Sequence[ObjectRef[Any]], timeout_s: float | None) -> list[Any]:
        """The values, in order; the first error raises."""

    def wait(
        self, refs: Sequence[ObjectRef[Any]], count: int, timeout_s: float | None, *, fetch: bool
    ) -> set[int]:
        """Wait until `count` of these distinct refs are ready; the ids of all that are."""

    def cancel(self, ids: Sequence[int], *, force: bool, recursive: bool) -> None:
        """Cancel these tasks, and those that make these objects. Returns at once."""

    def ask(self, what: str, argument: Any = None) -> Any:
        """Ask the cluster: nodes, resources, groups, jobs, job and what is in it, task, timeline.

        Raises:
            LookupError: it does not know what it was asked about.
        """

    def ref(self, object_id: int) -> ObjectRef[Any]:
        """A ref to an object that the cluster knows by this id."""

    def open_job(self, name: str, cell: str = "", source: str = "") -> int:
        """Make a job; returns its id."""

    def wait_job(self, job: int, timeout_s: float | None) -> bool:
        """Wait until no task of the job is pending; False when time ran out first."""

    def results_of(self, job: int) -> list[int]:
        """The objects that tasks of the job return, as far as this process has submitted them."""

    def retry_failed(self, job: int) -> list[ObjectRef[Any]]:
        """Submit the failed tasks of the job again, with the arguments that they had."""

    def context(self) -> dict[str, Any]:
        """Where the calling code runs: task, node and engine ids, and so on."""

    def close(self) -> None:
        """Leave; a cluster that this session started ends."""
