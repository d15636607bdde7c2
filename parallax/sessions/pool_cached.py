"""Calls of a pool's functions whose results are kept on disk."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from parallax.refs import ObjectRef, check_owner
from parallax.serial.call_key import Key, known_key, parts_of, recipe_of
from parallax.sessions.bindings import Binding
from parallax.sessions.cached import CachedFunction, is_ref
from parallax.sessions.durable import check_arguments
from parallax.sessions.pool_actors import made_of
from parallax.sessions.protocol import Call, Submitted

if TYPE_CHECKING:
    from parallax.sessions.pool import PoolSession

_MAX_FLIGHTS = 4096


class PoolCached:
    """Looks for a result before it submits a task. Thread-safe.

    It looks, in this order, among the calls of this session, whose objects it may simply share; on
    disk, if the key is known here; and leaves it to the engine to look where the values of
    references count.
    """

    def __init__(self, session: PoolSession) -> None:
        self._session = session
        self._flights: dict[Hashable, list[int]] = {}
        """By call: the objects that it returns, whether they are there yet or not."""
        self._cancels = 0

    def submit(
        self, binding: Binding, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Submitted:
        """See `Session`."""
        session = self._session
        cached = binding.cached
        assert cached is not None
        parts = parts_of(call.function, args, kwargs, is_ref)
        recipe = recipe_of(cached.digest, parts)
        key = known_key(recipe)
        # In the order of the recipe, which does not depend on how the call was written.
        refs = [
            args[place] if isinstance(place, int) else kwargs[place]
            for _, place, known in parts
            if not known
        ]
        check_owner(session.client, refs)
        # Hit or miss, it counts as a submission: seeds do not depend on what is kept.
        where = session.place()
        flight = (recipe, *[ref.id for ref in refs])
        made = self._share(flight)
        if made is not None:
            cached.results.count(cached.digest, found=True)
            return made_of(made)
        if key is not None:
            made = self._read(cached, key)
        if made is None:
            made = self._start(binding, call, (recipe, *args), kwargs, where)
        self._remember(flight, made)
        return made_of(made)

    def forget(self) -> None:
        """What was kept was cleared: no call shares the result of an earlier one."""
        with self._session.client.lock:
            self._flights.clear()

    def _start(
        self,
        binding: Binding,
        call: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        where: tuple[int, int, int],
    ) -> list[ObjectRef[Any]]:
        session = self._session
        job, parent, seed = where
        data, deps, refs, large = session.pack(call.function, args, kwargs)
        if call.task_options.durable:
            check_arguments(call.name, len(refs) - (large is not None))
        count = binding.num_returns
        task_id, made = session.client.submit(
            job, parent, binding.template, data, deps, refs, count, seed
        )
        if not parent:
            session.submissions.add(job, task_id, count)
        assert isinstance(made, list)
        return made

    def _read(self, cached: CachedFunction, key: Key) -> list[ObjectRef[Any]] | None:
        values = cached.results.read(*key)
        cached.results.count(cached.digest, found=values is not None)
        if values is None:
            return None
        return [self._session.client.put_packed(value)[0] for value in values]

    def _share(self, flight: Hashable) -> list[ObjectRef[Any]] | None:
        client = self._session.client
        with client.lock:
            if client.cancels != self._cancels:
                # What was cancelled may take a moment to end.
                self._cancels = client.cancels
                self._flights.clear()
            ids = self._flights.get(flight)
            return None if ids is None else client.holdings.share(ids)

    def _remember(self, flight: Hashable, made: list[ObjectRef[Any]]) -> None:
        with self._session.client.lock:
            flights = self._flights
            flights.pop(flight, None)
            flights[flight] = [ref.id for ref in made]
            if len(flights) > _MAX_FLIGHTS:
                del flights[next(iter(flights))]
