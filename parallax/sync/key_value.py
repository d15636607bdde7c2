"""A cache that tasks, actors and drivers share."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from parallax.errors import UsageError
from parallax.sync.checks import check_timeout
from parallax.sync.entries import decode, encode
from parallax.sync.key_value_desk import Key, KeyValueDesk, Row
from parallax.sync.shared import Shared, ask
from parallax.sync.subscription import Subscription


class _Absent(enum.Enum):
    ABSENT = "ABSENT"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Literal[_Absent.ABSENT] = _Absent.ABSENT
"""Stands for the value of a key that there is not."""
Absent: TypeAlias = Literal[_Absent.ABSENT]


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of a key.

    Attributes:
        value: its new value, or `ABSENT` when it was deleted or has expired.
    """

    key: Key
    value: Any


class KeyValue(Shared):
    """A dictionary between processes, whose entries may expire. Thread-safe.

    Each call is atomic and takes a round trip. Large values go through shared memory, and what was
    got stays as it was.

        >>> import parallax as px
        >>> cache = px.sync.KeyValue()
        >>> cache["model"] = [1, 2]
        >>> cache["model"], cache.get("other"), "other" in cache
        ([1, 2], None, False)
        >>> cache.compare_and_set("leader", px.sync.ABSENT, "me")
        True

    Args:
        name: to be found by anybody who makes one of the same name.
        lifetime: ``"detached"`` to outlive its creator; see `parallax.remote`.
    """

    def __init__(self, *, name: str | None = None, lifetime: str | None = None) -> None:
        super().__init__(KeyValueDesk, name=name, lifetime=lifetime)

    # ---- one key ----------------------------------------------------------------------------

    def get(self, key: Key, default: Any = None) -> Any:
        """The value of a key, or `default` when there is none.

        Args:
            key: a string, an int, bytes, or a tuple.

        Raises:
            ObjectLostError: the value was lost.
        """
        found = self._look_up(key)[0]
        return default if found is ABSENT else found

    def set(self, key: Key, value: Any, ttl_s: float | None = None) -> None:
        """Set a key.

        Args:
            value: anything that can be pickled.
            ttl_s: seconds until it expires; None for never.

        Raises:
            SerializationError: the value cannot be pickled.
        """
        self.set_many({_checked(key): value}, ttl_s)

    def pop(self, key: Key, default: Any = None) -> Any:
        """Take a key out; its value, or `default` when there was none."""
        (row,) = ask(self._desk.remove.remote([_checked(key)]))
        return default if row is None else decode([row[0]])[0]

    def compare_and_set(
        self, key: Key, expected: Any, value: Any, ttl_s: float | None = None
    ) -> bool:
        """Set a key if its value equals `expected`; whether it did.

        Takes two round trips, and is atomic: of several that expect the same, one succeeds.

        Args:
            expected: a value, or `ABSENT` if there should be none.
            ttl_s: seconds until the new value expires; None for never.
        """
        new = encode(value)
        ttl_s = _checked_ttl(ttl_s)
        while True:
            found, version = self._look_up(key)
            if found is not expected and found != expected:
                return False
            if ask(self._desk.swap.remote(key, version, new, ttl_s)):
                return True

    def _look_up(self, key: Key) -> tuple[Any, int]:
        row: Row | None
        (row,) = ask(self._desk.get.remote([_checked(key)]))
        return (ABSENT, 0) if row is None else (decode([row[0]])[0], row[1])

    # ---- many keys --------------------------------------------------------------------------

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Any]:
        """The values of those of these keys that there are, in one call."""
        wanted = [_checked(key) for key in keys]
        rows: list[Row | None] = ask(self._desk.get.remote(wanted))
        found = [(key, row[0]) for key, row in zip(wanted, rows, strict=True) if row is not None]
        return dict(zip([key for key, _ in found], decode([e for _, e in found]), strict=True))

    def set_many(self, items: Mapping[Key, Any], ttl_s: float | None = None) -> None:
        """Set several keys in one call, all at once."""
        entries = {_checked(key): encode(value) for key, value in items.items()}
        ask(self._desk.put.remote(entries, _checked_ttl(ttl_s)))

    def keys(self) -> list[Key]:
        """All keys, those that were set first before the others."""
        return list(ask(self._desk.keys.remote()))

    def clear(self) -> None:
        """Take all keys out."""
        ask(self._desk.remove.remote(None))

    def watch(self, key: Key | None = None) -> Subscription[Change]:
        """Read the changes of a key, or of all, from now on. Blocks for a round trip.

        Of a key that changes faster than it is read, only the latest change is seen.
        """
        if key is not None:
            _checked(key)
        return Subscription(self._desk.watch, key, _changes, f"the watch of {self!r}")

    # ---- as a dictionary --------------------------------------------------------------------

    def __getitem__(self, key: Key) -> Any:
        found = self._look_up(key)[0]
        if found is ABSENT:
            raise KeyError(key)
        return found

    def __setitem__(self, key: Key, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: Key) -> None:
        (row,) = ask(self._desk.remove.remote([_checked(key)]))
        if row is None:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        (row,) = ask(self._desk.get.remote([_checked(key)]))
        return row is not None

    def __len__(self) -> int:
        return len(self.keys())

    def __bool__(self) -> bool:
        return True  # and not whether there are keys

    def __repr__(self) -> str:
        return f"<KeyValue at {self._desk!r}>"


def _changes(messages: list[tuple[Any, ...]]) -> list[Change]:
    values = iter(decode([entry for _, *entries in messages for entry in entries]))
    return [Change(key, next(values) if entries else ABSENT) for key, *entries in messages]


def _checked(key: Any) -> Key:
    if not isinstance(key, str | int | bytes | tuple):
        raise UsageError(f"a key is a string, an int, bytes or a tuple, not {key!r}.")
    return key


def _checked_ttl(ttl_s: float | None) -> float | None:
    try:
        return check_timeout(ttl_s)
    except UsageError:
        raise UsageError(f"ttl_s={ttl_s!r} must be seconds of at least 0, or None.") from None
