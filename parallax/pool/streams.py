"""What this process knows of the streaming tasks that it reads."""

from __future__ import annotations

from collections.abc import Callable

from parallax.pool.waiter import Waiter


class StreamState:
    """Item ids in order, and where the stream ended."""

    __slots__ = ("ended", "ids", "taken", "waiting")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.taken = 0
        self.ended = False
        self.waiting: list[tuple[int, Waiter | Callable[[int], None]]] = []

    def item(self, index: int) -> int | None:
        """The id of an item, 0 past the end, None when it is not known yet."""
        if index < len(self.ids):
            return self.ids[index]
        return 0 if self.ended else None

    def advance(self, index: int, object_id: int) -> list[Callable[[int], None]]:
        """Record news; returns what to call with the item's id, outside locks."""
        if object_id == 0:
            self.ended = True
        elif index == len(self.ids):
            self.ids.append(object_id)
        still: list[tuple[int, Waiter | Callable[[int], None]]] = []
        calls: list[Callable[[int], None]] = []
        for wanted, target in self.waiting:
            if self.item(wanted) is None:
                still.append((wanted, target))
            elif isinstance(target, Waiter):
                target.count()
            else:
                calls.append(target)
        self.waiting = still
        return calls
