"""Kept results on the side of the caller: where they are, and under which key."""

from __future__ import annotations

import functools
import os
from typing import Any

from parallax.refs import ObjectRef
from parallax.serial.call_key import code_digest, function_digest
from parallax.sessions.protocol import Call
from parallax.store.cache_place import LIMIT_VARIABLE, cache_folder, cache_limit
from parallax.store.result_cache import ResultCache


class CachedFunction:
    """A function, in one version, and where its results are kept.

    Args:
        code: the digest of the version; empty for the one that it has now.

    Raises:
        UsageError: it captures something without content, or the cache is another user's.
    """

    def __init__(self, call: Call, code: bytes = b"") -> None:
        self.results = result_cache()
        code = code or code_digest(call.function, call.name)
        self.digest = function_digest(code, call.num_returns)


def result_cache() -> ResultCache:
    """The results that this user keeps, where the environment says now.

    Raises:
        UsageError: the folder is another user's, or the limit no number.
    """
    return _results(str(cache_folder()), os.environ.get(LIMIT_VARIABLE, ""))


@functools.lru_cache(maxsize=8)
def _results(folder: str, limit: str) -> ResultCache:
    path = cache_folder()
    return ResultCache(path, cache_limit(path))


def is_ref(value: Any) -> bool:
    """Whether an argument stands for a value."""
    return type(value) is ObjectRef
