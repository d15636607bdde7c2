"""What `RemoteFunction` says of results that are kept on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallax.errors import UsageError
from parallax.refs import ObjectRef
from parallax.sessions.current import current_of, existing

if TYPE_CHECKING:
    from parallax.sessions.protocol import Call


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What is kept of one function in one version.

    Attributes:
        hits: calls that found a result, of all processes, since it was first called or cleared.
        misses: calls that found none.
        entries: the number of results that are there.
        bytes: what they take on disk.
        limit: bytes that the results of all functions may take; the least recently used go.
        path: the folder.
    """

    hits: int
    misses: int
    entries: int
    bytes: int
    limit: int
    path: str


def check_cacheable(name: str, num_returns: int, *, streaming: bool) -> None:
    """Check that a function with ``cache=True`` returns something to keep.

    Raises:
        UsageError: it does not.
    """
    if streaming:
        raise UsageError(
            f"{name} streams its results, which cache=True cannot keep: return a list instead of "
            "yielding, or leave cache=True out."
        )
    if num_returns == 0:
        raise UsageError(
            f"{name} has num_returns=0, so there is nothing for cache=True to keep: return a "
            "value, or leave cache=True out."
        )


class CachedResultsOf:
    """The results that are kept of one function, in the version that it has now.

    Raises:
        UsageError: it was made without ``cache=True``.
    """

    def __init__(self, function: Call) -> None:
        if not function.task_options.cache:
            raise UsageError(
                f"{function.name} is not cached: make it with @remote(cache=True), or take "
                f"{function.name}.options(cache=True)."
            )
        from parallax.sessions.cached import CachedFunction  # late: most processes keep nothing

        self._function = function
        cached = CachedFunction(function)
        self._digest = cached.digest
        self._results = cached.results

    def info(self) -> CacheInfo:
        """See `RemoteFunction`."""
        hits, misses = self._results.lookups(self._digest)
        entries, size = self._results.usage(self._digest)
        path = str(self._results.folder)
        return CacheInfo(hits, misses, entries, size, self._results.limit_bytes, path)

    def clear(self) -> None:
        """See `RemoteFunction`."""
        self._results.clear(self._digest)
        session = existing()
        if session is not None:
            session.forget_cached()

    def has(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """See `RemoteFunction`."""
        from parallax.serial.call_key import complete, parts_of, recipe_of
        from parallax.sessions.cached import is_ref

        function = self._function
        parts = parts_of(function.function, args, kwargs, is_ref)
        refs: list[ObjectRef[Any]] = [arg for arg in (*args, *kwargs.values()) if is_ref(arg)]
        if refs:
            found = iter(current_of(refs).get(refs, None))
            args = tuple(next(found) if is_ref(arg) else arg for arg in args)
            kwargs = {name: next(found) if is_ref(arg) else arg for name, arg in kwargs.items()}
        key = complete(recipe_of(self._digest, parts), args, kwargs, function.name)
        return self._results.has(*key)
