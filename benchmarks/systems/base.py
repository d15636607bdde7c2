"""What a workload may ask of a system."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol


class Unsupported(Exception):
    """The system has no way to express this. The message is the reason that the report shows."""


class System(Protocol):
    """One way to run Python functions in other processes.

    Adapters inherit from this class. They import their library in `start`, never at the top, so
    that an import is paid (and counted) by the process that measures the system. A handle stands
    for a value to come, whatever the system calls it.
    """

    distribution: ClassVar[str | None] = None
    """Its name on PyPI, or None when it comes with Python."""

    title: ClassVar[str]
    """What the report calls it."""

    settings: ClassVar[str]
    """How it is set up here, in one line."""

    def start(self, engines: int) -> None:
        """Import the library and start a pool of `engines` processes on this machine."""
        ...

    def stop(self) -> None:
        """Stop everything that `start` started."""
        ...

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Submit one task and return its handle. Arguments may be handles when the system can."""
        ...

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """Wait for all the handles and return their values, in order."""
        ...

    def submit_many(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        """Submit one task an item, in the quickest way that the system offers."""
        return [self.submit(function, item) for item in items]

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        """Return the values for many small items, batched in the way natural to the system."""
        ...

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run one task and return its value: one round trip."""
        return self.gather([self.submit(function, *args)])[0]

    def submit_after(self, function: Callable[..., Any], *handles: Any) -> Any:
        """Submit a task whose arguments are the values of other tasks, without waiting for them.

        Raises:
            Unsupported: The system takes no handles as arguments.
        """
        raise Unsupported("takes no futures as arguments")

    def actor(self, kind: type[Any]) -> Callable[..., Any]:
        """Make an object of this class in a process of its own, without waiting for it.

        Returns:
            What calls its method `hit` there and returns a handle.

        Raises:
            Unsupported: The system keeps no state between tasks.
        """
        raise Unsupported("has no actors")

    def put(self, value: Any) -> Any:
        """Store a value once for every engine and return its handle.

        Raises:
            Unsupported: The system has no shared objects.
        """
        raise Unsupported("has no shared objects: each task is sent its own copy")

    def get(self, handle: Any) -> Any:
        """Return a stored or computed value to the caller."""
        return self.gather([handle])[0]
