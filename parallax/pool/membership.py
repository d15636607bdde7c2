"""What the parts of a client know of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from parallax.errors import ClusterLostError
from parallax.net.channel import Channel
from parallax.pool.waiter import Waiter
from parallax.refs import RefOwner
from parallax.store.shared import SharedStore


class Membership(RefOwner, Protocol):
    """A connection to a cluster, as long as there is one."""

    channel: Channel
    """Its `lock` guards the books of all parts. A fork replaces it, so nobody keeps a copy."""
    cancels_what_it_waits_for: Callable[[], bool]
    """Asked when a `get` was interrupted."""

    @property
    def store(self) -> SharedStore:
        """The store of this host."""

    def check(self) -> None:
        """Raise `ClusterLostError` when there is no cluster any more."""

    def gone(self) -> ClusterLostError:
        """The error that says why there is no cluster any more."""

    def block(
        self, waiter: Waiter, deadline: float, *, long: bool, needed: Sequence[int] = ()
    ) -> None:
        """Wait as user code does: a task gives its CPU up meanwhile.

        Args:
            deadline: on `time.monotonic`'s clock; infinity waits for ever.
            long: whether a task is waited for, which may want this one's CPU.
            needed: objects without any of which the wait never ends.
        """

    def cancel(
        self, ids: list[int], *, force: bool = False, recursive: bool = True, grace_s: float = -1.0
    ) -> None:
        """Ask the hub to cancel the tasks that make these objects. Does not wait."""

    def until(self, call: Callable[[], None]) -> Callable[[], None]:
        """What to call in place of `call`: from now until then the running task, if this is an
        engine, counts as one that waits. Not under the channel's lock."""
