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
        self.waiting: list[tuple[int, Waiter | Callable[[], None]]] = []

    def item(self, index: int) -> int | None:
        """The id of an item, 0 past the end, None when it is not known yet."""
        if index < len(self.ids):
            return self.ids[index]
        return 0 if self.ended else None

    def advance(self, index: int, object_id: int) -> list[Callable[[], None]]:
        """Record news; returns what to call, outside locks, for those who asked for them."""
        if object_id == 0:
            self.ended = True
        elif index == len(self.ids):
            self.ids.append(object_id)
        told = [entry for entry in self.waiting if self.item(entry[0]) is not None]
        self.waiting = [entry for entry in self.waiting if self.item(entry[0]) is None]
        return _tell(told)

    def lose(self) -> list[Callable[[], None]]:
        """Nothing will come any more: nobody waits any longer."""
        told, self.waiting = self.waiting, []
        return _tell(told)


def _tell(entries: list[tuple[int, Waiter | Callable[[], None]]]) -> list[Callable[[], None]]:
    calls = []
    for _, target in entries:
        if isinstance(target, Waiter):
            target.finish()
        else:
            calls.append(target)
    return calls
