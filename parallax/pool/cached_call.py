"""One call whose result is kept on disk, as the process that runs it sees it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parallax.errors import UsageError
from parallax.messages import TemplateDefined
from parallax.serial.call_key import Key, Recipe, complete, known_key
from parallax.serial.values import Packed
from parallax.store.result_cache import ResultCache, TooLargeError

_MARK = "cache-noted"
_noted: set[str] = set()


class CachedCall:
    """A call on an engine.

    The caller has looked for a result that it could name, and found none. Where the values of
    references count, this is the first who can look.

    Args:
        recipe: of the call's key, as the caller sent it.
        marks: a folder of the pool, in which is written down what was said to the user already.

    Raises:
        UsageError: the value of a reference has no content that could be told.
    """

    def __init__(
        self,
        spec: TemplateDefined,
        recipe: Recipe,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        marks: str,
    ) -> None:
        self._name = spec.name
        self._marks = marks
        self._results = _results(spec.cache, spec.cache_limit)
        self._key = complete(recipe, args, kwargs, spec.name)
        self.values: list[Packed] | None = None
        """The result that was kept, if there was one."""
        if known_key(recipe) is None:
            self.values = self._results.read(*self._key)
            self._results.count(self._key.function, found=self.values is not None)

    def keep(self, values: list[Packed]) -> None:
        """Keep the result."""
        why = keep(self._results, self._key, values)
        if why:
            note_once(self._name, why, self._marks)


def keep(results: ResultCache, key: Key, values: list[Packed]) -> str:
    """Keep a result.

    Returns:
        Why it could not be kept; empty when it was.
    """
    if any(value.refs for value in values):
        return "it holds references, which mean nothing in another session"
    try:
        results.keep(*key, values)
    except (TooLargeError, UsageError) as error:
        return str(error)
    except OSError as error:
        return f"{results.folder}: {error.strerror}"
    return ""


def note_once(name: str, why: str, marks: str = "") -> None:
    """Tell the user that a result could not be kept: once, and not for each task.

    Args:
        name: of the function.
        marks: a folder; all processes that share it note once. Without one, this process does.
    """
    if marks in _noted:
        return
    _noted.add(marks)
    if marks:
        try:
            os.close(os.open(os.path.join(marks, _MARK), os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        except OSError:
            pass  # the disk is full there, too: rather twice than never
    print(
        f"parallax: results of {name} are not kept in the cache: {why.rstrip('.')}. You get them "
        "all the same. This is said once.",
        file=sys.stderr,
    )


@functools.lru_cache(maxsize=8)
def _results(folder: str, limit_bytes: int) -> ResultCache:
    return ResultCache(Path(folder), limit_bytes)
