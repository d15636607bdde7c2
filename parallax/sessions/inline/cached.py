"""Calls of an inline session whose results are kept on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from parallax.pool.cached_call import keep, note_once
from parallax.refs import ObjectRef, check_owner
from parallax.serial.call_key import Key, complete, parts_of, recipe_of
from parallax.serial.functions import ShippedFunction
from parallax.serial.values import Packed, unpack
from parallax.sessions.cached import CachedFunction, is_ref
from parallax.sessions.inline.book import InlineBook
from parallax.sessions.protocol import Call, Submitted

if TYPE_CHECKING:
    from parallax.sessions.inline.session import InlineSession


class InlineCached:
    """Looks for a result before it runs a task, and keeps what tasks return. Thread-safe."""

    def __init__(self, session: InlineSession, book: InlineBook) -> None:
        self._session = session
        self._book = book

    def submit(
        self, shipped: ShippedFunction, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Submitted:
        """See `Session`."""
        session = self._session
        function = self._function(shipped, call)
        key = None if function is None else self._key(function, call, args, kwargs)
        if function is None or key is None:
            return session.run_now(call, args, kwargs)[1]
        values = function.results.read(*key)
        function.results.count(key.function, found=values is not None)
        if values is not None:
            session.take_seed()  # seeds do not depend on what is kept
            refs = [ObjectRef[Any](self._book.new_object(value), session) for value in values]
            return refs[0] if len(refs) == 1 else refs
        task, made = session.run_now(call, args, kwargs)
        results = self._results_of(task.ids)
        if results is not None:
            why = keep(function.results, key, results)
            if why:
                note_once(call.name, why)
        return made

    def _function(self, shipped: ShippedFunction, call: Call) -> CachedFunction | None:
        """The function in the version that runs here; None when nobody can tell which one that
        is."""
        # The key has the modules' sources on disk. What is loaded may be older, if they were edited
        # since this process began.
        sources = shipped.modules.sources.values() if shipped.modules is not None else ()
        if any(_edited_since_start(source.origin) for source in sources):
            note_once(
                call.name,
                "a local module that it uses was edited since this process began, so an inline "
                "session cannot tell which version of it runs. Restart the kernel, or use a pool, "
                "which runs the edited one",
            )
            return None
        # Anew for each call: it runs with what its globals hold now, down to the last item.
        return CachedFunction(call)

    def _key(
        self, function: CachedFunction, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Key | None:
        """None where an argument's own task has failed."""
        recipe = recipe_of(function.digest, parts_of(call.function, args, kwargs, is_ref))
        refs = [arg for arg in (*args, *kwargs.values()) if is_ref(arg)]
        check_owner(self._session, refs)
        values: dict[int, Any] = {}
        for ref in refs:
            self._session.settle(ref.id)
            row = self._book.objects.rows.get(ref.id)
            if row is None or not isinstance(row.value, bytes):
                return None
            values[ref.id] = unpack(row.value)
        args = tuple(values[arg.id] if is_ref(arg) else arg for arg in args)
        kwargs = {name: values[arg.id] if is_ref(arg) else arg for name, arg in kwargs.items()}
        return complete(recipe, args, kwargs, call.name)

    def _results_of(self, ids: range) -> list[Packed] | None:
        """What a task has returned; None where it has failed."""
        results = []
        for object_id in ids:
            row = self._book.objects.rows.get(object_id)
            if row is None or not isinstance(row.value, bytes):
                return None
            results.append(Packed(row.value, refs=row.contained))
        return results


def _edited_since_start(origin: str) -> bool:
    import psutil

    try:
        return bool(origin) and os.stat(origin).st_mtime > psutil.Process().create_time()
    except FileNotFoundError:
        return True
