"""Random numbers of an item: they depend on the loop's seed and the item's place alone."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable
from typing import Any


def seeded(function: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """A function that takes the item's index first, and seeds `random` and NumPy by it."""

    def call(index: int, *item: Any) -> Any:
        digest = hashlib.blake2b(f"{seed} {index}".encode(), digest_size=4).digest()
        number = int.from_bytes(digest, "big")
        random.seed(number)
        with contextlib.suppress(ImportError):
            import numpy  # now, so that a later import finds it seeded

            numpy.random.seed(number)
        return function(*item)

    return call
