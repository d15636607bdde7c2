"""What travels in messages stays in the hub's memory, and in its owner's: how much may."""

from __future__ import annotations

from collections.abc import Iterable

from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.records import PeerRecord
from parallax.messages import INLINE_LIMIT_BYTES, InlineLimited

BUDGET_BYTES = 64 << 20
"""Of inline values and arguments together. Beyond it, what is not small goes to the store."""
FRUGAL_LIMIT_BYTES = 4 << 10
"""Then what is larger than this is not small: a segment takes a page at least."""


class Frugality:
    """Tells those who make values what is too large to travel in messages.

    What was sent before they hear of it still counts: the budget is exceeded by as much as is
    under way.
    """

    def __init__(self, objects: ObjectTable, outbox: Outbox) -> None:
        self.is_frugal = False
        self._objects = objects
        self._outbox = outbox

    def is_due(self) -> bool:
        """Whether the budget is exceeded now, or is not any more."""
        used = self._objects.inline_bytes
        return used > BUDGET_BYTES if not self.is_frugal else used < BUDGET_BYTES // 2

    def change(self, peers: Iterable[PeerRecord]) -> None:
        """Tell everybody."""
        self.is_frugal = not self.is_frugal
        for peer in peers:
            self._tell(peer)

    def joined(self, peer: PeerRecord) -> None:
        """One that came later has not heard of it."""
        if self.is_frugal:
            self._tell(peer)

    def _tell(self, peer: PeerRecord) -> None:
        if peer.node is None:
            limit = FRUGAL_LIMIT_BYTES if self.is_frugal else INLINE_LIMIT_BYTES
            self._outbox.send(peer.number, InlineLimited(limit))
