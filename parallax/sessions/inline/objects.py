"""The objects of an inline session: values as bytes, counted like those of a pool."""

from __future__ import annotations

from types import TracebackType

from parallax.messages import Failure
from parallax.pool.failures import to_error
from parallax.serial.envelope import seal
from parallax.serial.values import Packed


class InlineObject:
    """One object; it has no value while its task runs."""

    __slots__ = ("contained", "holders", "job", "traceback", "value")

    def __init__(self, job: int) -> None:
        self.value: bytes | Failure | None = None
        self.contained: list[int] = []
        """Objects to which the value has references."""
        self.holders = 1
        """Refs in this process, and values that contain one."""
        self.job = job
        self.traceback: TracebackType | None = None
        """Of a failure: the frames in which it happened, for debuggers."""

    def error(self) -> BaseException:
        """The failure, with the frames in which the task raised it behind those of the caller."""
        assert isinstance(self.value, Failure)
        return to_error(self.value).with_traceback(self.traceback)


class InlineObjects:
    """All objects by id. Not thread-safe: the session's lock guards it."""

    def __init__(self) -> None:
        self.rows: dict[int, InlineObject] = {}

    def expect(self, object_id: int, job: int = 0) -> InlineObject:
        """A new object with one holder and no value yet."""
        row = self.rows[object_id] = InlineObject(job)
        return row

    def complete(self, object_id: int, packed: Packed) -> None:
        """Give an object its value. The value's memory is copied: it may change afterwards."""
        row = self.rows.get(object_id)
        if row is None:  # nobody holds it any more
            return
        row.value = seal(packed.data, packed.buffers) if packed.buffers else packed.data
        row.contained = packed.refs
        for held in row.contained:
            self.hold(held)

    def fail(self, object_id: int, failure: Failure, traceback: TracebackType | None) -> None:
        """Say why an object has no value."""
        row = self.rows.get(object_id)
        if row is not None:
            row.value = failure
            row.traceback = traceback

    def hold(self, object_id: int) -> None:
        """One more holder. What was freed stays so."""
        row = self.rows.get(object_id)
        if row is not None:
            row.holders += 1

    def drop(self, object_id: int) -> None:
        """One holder less; without any the object is freed, and in turn what it contained."""
        dropped = [object_id]
        while dropped:
            object_id = dropped.pop()
            row = self.rows.get(object_id)
            if row is None:
                continue
            row.holders -= 1
            if not row.holders:
                del self.rows[object_id]
                dropped += row.contained
