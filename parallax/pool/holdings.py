"""The objects that this process holds refs of: their values, and who waits for them.

The hub counts an object once for each process that holds refs of it. How many refs there are here
is counted here. The value of an object that this process made comes by itself; that of an adopted
one is asked for when somebody wants it.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from parallax.errors import GetTimeoutError, UsageError
from parallax.ids import hex_id
from parallax.messages import Failure, ObjectMissing, ObjectsWanted, RefsChanged, Stored, Value
from parallax.pool.failures import outcome_of, to_error
from parallax.pool.membership import Membership
from parallax.pool.waiter import FOREVER, Waiter
from parallax.refs import ObjectRef
from parallax.serial.values import unpack

NEEDED = 64
"""Of the objects that a `get` waits for so many are told to the hub, which looks for circles."""
INTERRUPT_GRACE_S = 1.0
"""A task that an interrupted `get` waited for may ignore its own interrupt for so long."""


class Holdings:
    """One client's refs and values. All methods may be called from any thread."""

    def __init__(self, client: Membership) -> None:
        self.dropped: deque[int] = deque()
        """Refs that were collected: ids of objects, and of streams with a minus sign."""
        self.local: dict[int, int] = {}
        """How many refs to each object this process holds."""
        self.values: dict[int, Value] = {}
        self.latest_task = 0
        """The last object that a task of this process makes; what it made later are calls."""
        self._client = client
        self._channel = client.channel
        self._foreign: set[int] = set()
        """Adopted refs whose values nobody will send unless asked."""
        self._waiters: dict[int, list[Waiter]] = {}
        self._callbacks: dict[int, list[Callable[[], None]]] = {}

    # ---- what comes -------------------------------------------------------------------------

    def objects_ready(self, items: list[tuple[int, Value]]) -> None:
        """The hub sends values."""
        local = self.local
        values = self.values
        waiters = self._waiters
        callbacks = self._callbacks
        with self._channel.lock:
            for object_id, value in items:
                if object_id not in local:
                    continue
                values[object_id] = value
                if object_id in waiters:
                    failed = type(value) is Failure
                    for waiter in waiters.pop(object_id):
                        waiter.count(failed=failed)
                if object_id in callbacks:
                    for call in callbacks.pop(object_id):
                        self._channel.later(call)

    def lose(self) -> None:
        """Nothing will come any more: nobody waits any longer. Under the channel's lock."""
        for group in self._waiters.values():
            for waiter in group:
                waiter.finish()
        for calls in self._callbacks.values():
            for call in calls:
                self._channel.later(call)
        self._callbacks.clear()

    # ---- counting refs ----------------------------------------------------------------------

    def adopt(self, object_id: int) -> None:
        """A ref was unpickled here: hold the object, once however many refs there are."""
        with self._channel.lock:
            count = self.local.get(object_id, 0)
            self.local[object_id] = count + 1
            if count == 0:
                self._foreign.add(object_id)
                self._channel.outbox.append(RefsChanged([object_id], []))
                self._channel.rows += 1
        self._channel.posted()

    def adopt_actor(self, actor: int) -> None:
        """A handle came to be in this process."""
        self.adopt(actor)
        with self._channel.lock:
            if actor in self.local:
                self.values.setdefault(actor, b"")  # nobody waits for it

    def reap(self, drop_stream: Callable[[int, list[int]], None]) -> None:
        """Tell the hub of refs that were collected.

        Args:
            drop_stream: called under the channel's lock for each stream whose reader was
                collected; adds the objects that are held no more to the list.
        """
        dropped = self.dropped
        objects: list[int] = []
        gone: list[int] = []
        with self._channel.lock:
            while dropped:
                if (number := dropped.popleft()) > 0:
                    objects.append(number)
                else:
                    drop_stream(-number, gone)
            self.release(objects, gone)
            if gone:
                self._channel.outbox.append(RefsChanged([], gone))
                self._channel.rows += 1

    def release(self, object_ids: Iterable[int], gone: list[int]) -> None:
        """Hold each of these once less; those that are held no more are added to `gone`. Under
        the channel's lock."""
        local, values, foreign = self.local, self.values, self._foreign
        for object_id in object_ids:
            count = local.get(object_id, 0)
            if count > 1:
                local[object_id] = count - 1
            elif count == 1:
                del local[object_id]
                values.pop(object_id, None)
                foreign.discard(object_id)
                gone.append(object_id)

    def share(self, ids: Sequence[int]) -> list[ObjectRef[Any]] | None:
        """More refs to these objects, if they are held here and none of them has failed. Under the
        channel's lock."""
        local, values = self.local, self.values
        if not all(i in local and type(values.get(i)) is not Failure for i in ids):
            return None
        for object_id in ids:
            local[object_id] += 1
        return [ObjectRef(object_id, self._client) for object_id in ids]

    # ---- values -----------------------------------------------------------------------------

    def get(self, ids: Sequence[int], timeout_s: float | None) -> list[Any]:
        """The values of these objects, in order.

        Raises:
            GetTimeoutError: not all are there in time.
            ClusterLostError: the cluster is gone.
            Exception: the error of the first of them that failed.
        """
        deadline = FOREVER if timeout_s is None else time.monotonic() + timeout_s
        values = self.values
        while True:
            missing = [i for i in ids if i not in values]
            if missing:
                try:
                    self._await(missing, len(missing), deadline, fail_fast=True)
                except KeyboardInterrupt:
                    client = self._client
                    rest = [i for i in dict.fromkeys(ids) if i not in values]
                    if rest and not client.lost and client.cancels_what_it_waits_for():
                        client.cancel(rest, grace_s=INTERRUPT_GRACE_S)
                    raise
                for object_id in ids:
                    value = values.get(object_id)
                    if type(value) is Failure:
                        raise to_error(value)
                rest = [i for i in ids if i not in values]
                if rest:
                    self._client.check()
                    if timeout_s is None:
                        continue  # another thread has found one of them lost
                    raise GetTimeoutError(
                        f"{len(set(rest))} of {len(ids)} objects were not ready after "
                        f"{timeout_s:g} s, first {hex_id(rest[0])}. The tasks go on; call get "
                        "again, or cancel them."
                    )
            lost: list[int] = []
            results = [self._load(object_id, lost) for object_id in ids]
            if not lost:
                return results

    def _load(self, object_id: int, lost: list[int]) -> Any:
        value = self.values.get(object_id)
        if type(value) is bytes:
            return unpack(value)
        if type(value) is Failure:
            raise to_error(value)
        if value is None:  # another thread has just found it lost
            lost.append(object_id)
            return None
        assert isinstance(value, Stored)
        try:
            parts = self._client.store.read_parts(value.name)
        except (KeyError, FileNotFoundError):
            # Its segment is gone: the hub rebuilds it and tells us when it is there again. Or the
            # whole store is, and with it the cluster.
            with self._channel.lock:
                if self.values.get(object_id) is value:
                    del self.values[object_id]
            self._channel.post(ObjectMissing(object_id, value.name))
            lost.append(object_id)
            return None
        return unpack(*parts)  # outside: a value's own code may raise a KeyError too

    def describe(self, object_id: int) -> str:
        """``ready``, ``failed``, ``cancelled``, ``pending`` or ``stale``, as far as this process
        knows."""
        value = self.values.get(object_id)
        if value is not None:
            return outcome_of(value)
        return "stale" if self._client.lost else "pending"

    # ---- waiting ----------------------------------------------------------------------------

    def wait(self, ids: Sequence[int], count: int, timeout_s: float | None) -> set[int]:
        """Wait until `count` of these distinct objects are ready; returns all that are."""
        deadline = FOREVER if timeout_s is None else time.monotonic() + timeout_s
        missing = [i for i in ids if i not in self.values]
        needed = count - (len(ids) - len(missing))
        if needed > 0:
            self._await(missing, needed, deadline)
            self._client.check()
        return {i for i in ids if i in self.values}

    def _await(
        self, missing: Iterable[int], count: int, deadline: float, *, fail_fast: bool = False
    ) -> None:
        client = self._client
        if client.lost:
            raise client.gone()
        waiter = Waiter(count, fail_fast=fail_fast)
        foreign: list[int] = []
        long = False
        distinct = set(missing)
        # Without a deadline, and with all of them needed, it matters what each of them waits for.
        all_needed = count >= len(distinct) and deadline == FOREVER
        needed = list(distinct)[:NEEDED] if all_needed else ()
        try:
            with self._channel.lock:
                for object_id in distinct:
                    if object_id in self.values:
                        waiter.count(failed=type(self.values[object_id]) is Failure)
                        continue
                    if object_id not in self.local:
                        raise UsageError(f"object {hex_id(object_id)} is not held by this process")
                    if object_id in self._foreign:
                        foreign.append(object_id)
                    elif object_id <= self.latest_task:
                        long = True
                    self._waiters.setdefault(object_id, []).append(waiter)
                if client.lost:
                    waiter.finish()
                duplicates = count - len(distinct)
                if fail_fast and duplicates > 0:
                    waiter.remaining -= duplicates
                    waiter.done = waiter.done or waiter.remaining <= 0
                if foreign:
                    # Asked first and noted after: an interrupt in between asks twice, never not
                    # at all.
                    self._channel.outbox.append(ObjectsWanted(foreign))
                    self._foreign.difference_update(foreign)
            client.block(waiter, deadline, long=long, needed=needed)
        finally:
            if waiter.remaining > 0 or count < len(distinct):
                self._withdraw(distinct, waiter)

    def _withdraw(self, ids: Iterable[int], waiter: Waiter) -> None:
        with self._channel.lock:
            for object_id in ids:
                group = self._waiters.get(object_id)
                if group is not None and waiter in group:
                    group.remove(waiter)
                    if not group:
                        del self._waiters[object_id]

    # ---- being called -----------------------------------------------------------------------

    def future(self, object_id: int) -> concurrent.futures.Future[Any]:
        """A future of the value. It holds a ref until it is done."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._channel.lock:
            self.local[object_id] = self.local.get(object_id, 0) + 1
        ref = ObjectRef[Any](object_id, self._client)

        def settle() -> None:
            lost: list[int] = []
            try:
                if ref.id not in self.values:
                    raise self._client.gone()
                result = self._load(ref.id, lost)
            except BaseException as error:  # noqa: BLE001 - whatever the task raised is the result
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
                return
            if lost:  # its value was lost meanwhile, and is being rebuilt
                self._when_ready(ref.id, settle)
            elif future.set_running_or_notify_cancel():
                future.set_result(result)

        self._when_ready(object_id, settle)
        return future

    def _when_ready(self, object_id: int, call: Callable[[], None]) -> None:
        """Call `call` in the callbacks' thread once the object is ready or the cluster is lost."""
        if object_id not in self.values:
            call = self._client.until(call)
        with self._channel.lock:
            ready = object_id in self.values or bool(self._client.lost)
            if not ready:
                self._callbacks.setdefault(object_id, []).append(call)
                if object_id in self._foreign:
                    self._foreign.discard(object_id)
                    self._channel.outbox.append(ObjectsWanted([object_id]))
        if not ready:
            self._channel.flush()
        elif not self._channel.later(call):
            call()  # the session has just ended, and nobody else would
