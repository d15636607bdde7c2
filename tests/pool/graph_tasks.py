"""The tasks of random graphs. It imports next to nothing, so that new engines can begin at once.

Each run of a task is noted before it does anything, in a file of its engine's: sixteen bytes and
one system call, which no end of the engine takes back.
"""

from __future__ import annotations

import os
import struct
import time
from typing import Any

MODULUS = (1 << 61) - 1
LARGE_BYTES = 200_000
"""Beyond what travels inside of messages."""
NOTE = struct.Struct("<qd")
"""The number of a task, and when it began on the clock that all processes share."""

_diaries: dict[str, int] = {}


def combine(number: int, values: tuple[Any, ...]) -> int:
    """What task `number` makes of the values of its arguments."""
    total = (number + 1) * 0x9E3779B97F4A7C15
    for value in values:
        total = total * 31 + (value if isinstance(value, int) else value[0])
    return total % MODULUS


def note(folder: str, number: int) -> None:
    """Task `number` begins here and now."""
    began = time.monotonic()
    if folder not in _diaries:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        _diaries[folder] = os.open(f"{folder}/{os.getpid()}", flags, 0o600)
    os.write(_diaries[folder], NOTE.pack(number, began))


def mix(folder: str, number: int, pause_s: float, *values: Any) -> int:
    note(folder, number)
    if pause_s:
        time.sleep(pause_s)
    return combine(number, values)


def mix_large(folder: str, number: int, pause_s: float, *values: Any) -> tuple[int, bytearray]:
    return mix(folder, number, pause_s, *values), bytearray(LARGE_BYTES)


def item(folder: str, number: int) -> int:
    note(folder, number)
    return combine(number, ())


def twins(folder: str, number: int, *values: Any) -> tuple[int, int]:
    note(folder, number)
    note(folder, number + 1)
    return combine(number, values), combine(number + 1, values)


def nest(folder: str, number: int, *values: Any) -> int:
    import parallax as px  # late: only those that need it

    note(folder, number)
    child = px.remote(max_retries=-1)(combine)
    result: int = px.get(child.remote(number, values))
    return result
