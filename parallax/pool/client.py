"""A process's membership in a cluster: ids, references, values, and the calls to the hub.

Drivers and engines use the same client: a task can do whatever a notebook can. It knows nothing
of functions and options; `parallax.sessions.pool` turns those into templates and specs.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from parallax.errors import (
    AuthenticationError,
    ClusterLostError,
    GetTimeoutError,
    ProtocolError,
    UsageError,
)
from parallax.ids import counter, hex_id
from parallax.messages import (
    PROTOCOL,
    Answered,
    Asked,
    CancelRequested,
    Failure,
    FromHub,
    Hello,
    ItemReady,
    ItemsConsumed,
    Left,
    Noted,
    ObjectMissing,
    ObjectPut,
    ObjectsReady,
    ObjectsWanted,
    Ping,
    RefsChanged,
    Refused,
    Said,
    SegmentsFreed,
    Stopped,
    Stored,
    TaskSpec,
    TasksSubmitted,
    ToHub,
    Value,
    Welcome,
)
from parallax.net.channel import IDLE_TICK_S, LINGER_S, Channel
from parallax.net.connection import Connection
from parallax.pool.failures import to_error
from parallax.pool.forks import connected
from parallax.pool.streams import StreamState
from parallax.pool.waiter import Waiter
from parallax.refs import ObjectRef, ObjectRefGenerator, forget_owner, register_owner
from parallax.serial.values import INLINE_LIMIT_BYTES, Packed, pack, unpack
from parallax.store.shared import SharedStore
from parallax.version import VERSION

CONNECT_TIMEOUT_S = 30.0
FOREVER = float("inf")
INTERRUPT_GRACE_S = 1.0
"""A task that an interrupted `get` waited for may ignore its own interrupt for so long."""
IDLE_SLEEP_S = 60.0
TRIM_AFTER_S = 10.0
"""Warm segments that were not reused for so long are given back."""


class Client:
    """One connection to a hub. All methods may be called from any thread."""

    def __init__(self, connection: Connection, role: str, *, number: int = 0, owner: bool = False):
        self.connection = connection
        self.cluster = connection.cluster
        self.role = role
        self.number = 0
        self.node = 0
        self.dropped: deque[int] = deque()
        self.values: dict[int, Value] = {}
        self.local: dict[int, int] = {}
        """How many refs to each object this process holds."""
        self.lost = ""
        """Why there is no cluster any more; empty while there is one."""
        self.on_said: Callable[[Said], None] | None = None
        self.on_noted: Callable[[str], None] | None = None
        self.on_message: Callable[[FromHub], None] | None = None
        """Gets what only engines are told, under the channel's lock."""
        self.cancels_what_it_waits_for: Callable[[], bool] = lambda: True
        """Asked when a `get` was interrupted."""
        self.on_tick: Callable[[], None] | None = None
        """Called now and then in any thread, while there is work at the latest every 0.2 s."""
        self.on_blocked: Callable[[], Callable[[], None] | None] | None = None
        """Called before a wait that may be long; returns what to call after it."""
        self._hello = Hello(
            PROTOCOL,
            VERSION,
            platform.python_version(),
            role,
            connection.token,
            os.getpid(),
            platform.node(),
            number=number,
            owner=owner,
        )
        self._store: SharedStore | None = None
        self._welcome: Welcome | None = None
        self._refused: Refused | None = None
        self._foreign: set[int] = set()
        """Adopted refs whose values nobody will send unless asked."""
        self._waiters: dict[int, list[Waiter]] = {}
        self._callbacks: dict[int, list[Callable[[], None]]] = {}
        self._streams: dict[int, StreamState] = {}
        self._answers: dict[int, tuple[Waiter, list[Answered]]] = {}
        self._requests = itertools.count(1)
        self._segments = itertools.count(1)
        self._ready_to_work = Waiter(1)
        self._leaving = False
        self._trim_due = 0.0
        try:
            self.channel = Channel(connection.endpoint, self._dispatch, self._reap, self._end)
        except OSError as error:
            raise ClusterLostError(
                f"nobody answers for the cluster {self.cluster} at {connection.endpoint} "
                f"({error.strerror}): it has ended."
            ) from error
        self.channel.idle_tick_s = self._idle_tick_s
        self.lock = self.channel.lock

    # ---- joining and leaving ----------------------------------------------------------------

    def connect(self, alive: Callable[[], bool] = lambda: True) -> None:
        """Say hello and wait for the welcome.

        Args:
            alive: asked now and then; False ends the wait.

        Raises:
            AuthenticationError, ProtocolError: the hub does not let us in.
            ClusterLostError: no answer.
        """
        try:
            self._join(self._enter(alive))
        except BaseException:
            self._end("it was never joined")
            self.channel.close(linger_s=0.0)
            raise

    def _enter(self, alive: Callable[[], bool]) -> Welcome:
        self.channel.post(self._hello)
        self.channel.start()
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        waiter = self._ready_to_work
        while not waiter.done:
            step = min(deadline, time.monotonic() + 0.25)
            self.channel.wait(waiter, waiter.event, step)
            if not waiter.done and (not alive() or time.monotonic() >= deadline):
                raise ClusterLostError(
                    f"the hub of cluster {self.cluster} does not answer at "
                    f"{self.connection.endpoint}."
                )
        if self._welcome is not None:
            return self._welcome
        if self._refused is None:
            raise ClusterLostError(f"the cluster {self.cluster} is gone: {self.lost}.")
        kind = AuthenticationError if self._refused.kind == "authentication" else ProtocolError
        raise kind(f"the cluster refused this client: {self.lost}")

    def _join(self, welcome: Welcome) -> None:
        self.node = welcome.node
        self._store = SharedStore(
            Path(welcome.store),
            limit_bytes=welcome.store_limit_bytes,
            spill_dir=Path(welcome.spill),
        )
        register_owner(self)
        connected(self)

    def close(self, goodbye: ToHub | None = None) -> None:
        """Leave the cluster. Refs of it are stale from now on."""
        lost = bool(self.lost)
        if not lost:
            self.channel.post(goodbye or Left())
        self._end("this session was shut down")
        self.channel.close(linger_s=0.0 if lost else LINGER_S)
        forget_owner(self)
        if self._store is not None:
            self._store.close()

    def take_leave(self, goodbye: ToHub) -> None:
        """The interpreter ends: say so and show the last output, but wake nobody."""
        self._leaving = True
        self.channel.post(goodbye)
        self.channel.flush()
        self.channel.drain()

    def after_fork(self) -> None:
        """See `parallax.pool.forks`."""
        self.channel.forget()
        self.lock = self.channel.lock
        self.lost = "it belongs to the process that this one was forked from"
        forget_owner(self)

    def _end(self, reason: str) -> None:
        """Wake everybody who waits: nothing will come any more."""
        with self.lock:
            if self.lost or self._leaving:
                return
            self.lost = reason
            waiters = [w for group in self._waiters.values() for w in group]
            waiters += [waiter for waiter, _ in self._answers.values()]
            waiters.append(self._ready_to_work)
            for waiter in waiters:
                waiter.finish()
            for calls in self._callbacks.values():
                for call in calls:
                    self.channel.later(call)
            self._callbacks.clear()
            for stream in self._streams.values():
                for call in stream.lose():
                    self.channel.later(call)
        self.channel.wake()

    def check(self) -> None:
        """Raise `ClusterLostError` when there is no cluster any more."""
        if self.lost:
            raise self._gone()

    def _gone(self) -> ClusterLostError:
        reason, _, trail = self.lost.partition("\n")
        return ClusterLostError(
            f"the cluster {self.cluster} is gone: {reason.rstrip('.')}. Its refs and values went "
            f"with it; call parallax.init() for a new one.\n{trail}".strip()
        )

    @property
    def store(self) -> SharedStore:
        """The store of this host."""
        assert self._store is not None
        return self._store

    # ---- what comes -------------------------------------------------------------------------

    def _dispatch(self, messages: list[FromHub]) -> None:
        for message in messages:
            kind = type(message)
            if kind is ObjectsReady:
                self._objects_ready(message.items)  # type: ignore[union-attr]
            elif kind is SegmentsFreed:
                for name in message.names:  # type: ignore[union-attr]
                    self.store.free(name)
                self._trim_due = time.monotonic() + TRIM_AFTER_S
            elif isinstance(message, ItemReady):
                self._item_ready(message)
            elif isinstance(message, Answered):
                waiter, answers = self._answers.pop(message.request, (None, []))
                answers.append(message)
                if waiter is not None:
                    waiter.count()
            elif isinstance(message, Said):
                if self.on_said is not None:
                    self.on_said(message)
            elif isinstance(message, Noted):
                if self.on_noted is not None:
                    text, on_noted = message.text, self.on_noted
                    self.channel.later(lambda text=text, on_noted=on_noted: on_noted(text))  # type: ignore[misc]
            elif isinstance(message, Welcome):
                self._welcome = message
                self.number = message.number
                self._ids = counter(message.number)
                self._ready_to_work.count()
            elif isinstance(message, Refused | Stopped):
                if self.on_message is not None:
                    self.on_message(message)
                if isinstance(message, Refused):
                    self._refused = message
                    self._end(message.message)
                else:
                    self._end(message.reason)
            elif isinstance(message, Ping):
                continue
            elif self.on_message is not None:
                self.on_message(message)

    def _objects_ready(self, items: list[tuple[int, Value]]) -> None:
        local = self.local
        values = self.values
        waiters = self._waiters
        callbacks = self._callbacks
        with self.lock:
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
                        self.channel.later(call)

    def _item_ready(self, message: ItemReady) -> None:
        with self.lock:
            stream = self._streams.get(message.task)
            if stream is None:
                # Its reader is gone, and this was under way: what came with it is ours to drop.
                if message.id:
                    self.channel.outbox.append(RefsChanged([], [message.id]))
                    self.channel.rows += 1
                return
            if message.id:
                self.local[message.id] = self.local.get(message.id, 0) + 1
            calls = stream.advance(message.index, message.id)
            for call in calls:
                self.channel.later(call)

    # ---- references -------------------------------------------------------------------------

    def new_ids(self, count: int = 1) -> int:
        """The first of `count` consecutive new ids. Under `lock`."""
        first = next(self._ids)
        for _ in range(count - 1):
            next(self._ids)
        return first

    def adopt(self, object_id: int) -> None:
        """A ref was unpickled here: hold the object, once however many refs there are."""
        with self.lock:
            count = self.local.get(object_id, 0)
            self.local[object_id] = count + 1
            if count == 0:
                self._foreign.add(object_id)
                self.channel.outbox.append(RefsChanged([object_id], []))
                self.channel.rows += 1
        self.channel.posted()

    def _reap(self) -> None:
        """Tell the hub of refs that were collected. Called before each send, in any thread."""
        if self.on_tick is not None:
            self.on_tick()
        if self._trim_due and time.monotonic() > self._trim_due:
            self._trim_due = 0.0
            if self._store is not None:
                self._store.trim(TRIM_AFTER_S)
        dropped = self.dropped
        if not dropped:
            return
        gone: list[int] = []
        local = self.local
        with self.lock:
            while dropped:
                object_id = dropped.popleft()
                if object_id < 0:
                    self._drop_stream(-object_id, gone)
                    continue
                count = local.get(object_id, 0)
                if count > 1:
                    local[object_id] = count - 1
                elif count == 1:
                    del local[object_id]
                    self.values.pop(object_id, None)
                    self._foreign.discard(object_id)
                    gone.append(object_id)
            if gone:
                self.channel.outbox.append(RefsChanged([], gone))
                self.channel.rows += 1

    def _idle_tick_s(self) -> float:
        # Without refs there are none to be collected.
        return IDLE_TICK_S if self.local or self._trim_due else IDLE_SLEEP_S

    def _drop_stream(self, task_id: int, gone: list[int]) -> None:
        """Nobody reads this stream any more: drop what was not taken, stop its task."""
        stream = self._streams.pop(task_id, None)
        if stream is None:
            return
        for object_id in stream.ids[stream.taken :]:
            count = self.local.get(object_id, 0)
            if count == 1:
                del self.local[object_id]
                self.values.pop(object_id, None)
                gone.append(object_id)
            elif count:
                self.local[object_id] = count - 1
        if not stream.ended:
            self.channel.outbox.append(CancelRequested([task_id]))

    # ---- submitting -------------------------------------------------------------------------

    def submit(
        self,
        job: int,
        parent: int,
        template: int,
        args: Any,
        deps: list[int],
        refs: list[int],
        returns: int,
        seed: int,
        *,
        stream: bool = False,
    ) -> tuple[int, list[ObjectRef[Any]] | ObjectRefGenerator[Any]]:
        """Submit one task; returns its id, which is that of its first return, and what it makes."""
        channel = self.channel
        made: list[ObjectRef[Any]] | ObjectRefGenerator[Any]
        with self.lock:
            # Nothing is awaited: somebody waits for one small task after the other, or this is the
            # first of many. Either way an engine can begin with it.
            is_first = len(self.values) == len(self.local)
            task_id = next(self._ids)
            for _ in range(1, returns):
                next(self._ids)
            # The refs before what they stand for: whenever an interrupt comes, they are dropped.
            if stream:
                made = ObjectRefGenerator(task_id, self)
                self._streams[task_id] = StreamState()
            else:
                made = [ObjectRef(task_id + i, self) for i in range(returns)]
                for ref in made:
                    self.local[ref.id] = 1
            spec = TaskSpec(task_id, template, args, deps, refs, seed)
            outbox = channel.outbox
            if (
                outbox
                and type(last := outbox[-1]) is TasksSubmitted
                and last.job == job
                and last.parent == parent
            ):
                last.tasks.append(spec)
            else:
                outbox.append(TasksSubmitted(job, parent, [spec]))
            channel.rows += 1
        if is_first:
            channel.flush()
        else:
            channel.posted()
        return task_id, made

    def send_value(self, packed: Packed) -> Value:
        """A packed value as it travels: inline, or written to the store.

        Raises:
            ObjectStoreFullError: there is no room.
            ClusterLostError: there is no store any more.
        """
        if not packed.buffers and len(packed.data) <= INLINE_LIMIT_BYTES:
            return packed.data
        name = f"{self.number:x}-{next(self._segments):x}"
        try:
            size = self.store.write(name, packed)
        except FileNotFoundError as error:
            self._end(f"its store was removed ({error.filename})")
            raise self._gone() from error
        return Stored(name, size, self.number, self.node)

    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a value."""
        return self.put_packed(pack(value))[0]

    def put_packed(self, packed: Packed) -> tuple[ObjectRef[Any], Value]:
        """Store a packed value; returns its ref and how it travels."""
        self.check()
        sent = self.send_value(packed)
        with self.lock:
            ref = ObjectRef[Any](next(self._ids), self)
            self.local[ref.id] = 1
            self.values[ref.id] = sent
            self.channel.outbox.append(ObjectPut(ref.id, sent, packed.refs))
            self.channel.rows += 1
        self.channel.posted()
        return ref, sent

    def cancel(
        self, ids: list[int], *, force: bool = False, recursive: bool = True, grace_s: float = -1.0
    ) -> None:
        """Ask the hub to cancel the tasks that make these objects. Does not wait."""
        self.channel.post(CancelRequested(ids, force, recursive, grace_s))
        self.channel.flush()

    # ---- waiting ----------------------------------------------------------------------------

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
                    rest = [i for i in dict.fromkeys(ids) if i not in values]
                    if rest and not self.lost and self.cancels_what_it_waits_for():
                        self.cancel(rest, grace_s=INTERRUPT_GRACE_S)
                    raise
                for object_id in ids:
                    value = values.get(object_id)
                    if type(value) is Failure:
                        raise to_error(value)
                rest = [i for i in ids if i not in values]
                if rest:
                    self.check()
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
            parts = self.store.read_parts(value.name)
        except (KeyError, FileNotFoundError):
            # Its segment is gone: the hub rebuilds it and tells us when it is there again. Or the
            # whole store is, and with it the cluster.
            with self.lock:
                if self.values.get(object_id) is value:
                    del self.values[object_id]
            self.channel.post(ObjectMissing(object_id, value.name))
            lost.append(object_id)
            return None
        return unpack(*parts)  # outside: a value's own code may raise a KeyError too

    def wait(self, ids: Sequence[int], count: int, timeout_s: float | None) -> set[int]:
        """Wait until `count` of these distinct objects are ready; returns all that are."""
        deadline = FOREVER if timeout_s is None else time.monotonic() + timeout_s
        missing = [i for i in ids if i not in self.values]
        needed = count - (len(ids) - len(missing))
        if needed > 0:
            self._await(missing, needed, deadline)
            self.check()
        return {i for i in ids if i in self.values}

    def _await(
        self, missing: Iterable[int], count: int, deadline: float, *, fail_fast: bool = False
    ) -> None:
        self.check()
        waiter = Waiter(count, fail_fast=fail_fast)
        foreign: list[int] = []
        mine = False
        distinct = set(missing)
        with self.lock:
            for object_id in distinct:
                if object_id in self.values:
                    waiter.count(failed=type(self.values[object_id]) is Failure)
                    continue
                if object_id not in self.local:
                    raise UsageError(f"object {hex_id(object_id)} is not held by this process")
                if object_id in self._foreign:
                    foreign.append(object_id)
                else:
                    mine = True
                self._waiters.setdefault(object_id, []).append(waiter)
            if self.lost:
                waiter.finish()
            duplicates = count - len(distinct)
            if fail_fast and duplicates > 0:
                waiter.remaining -= duplicates
                waiter.done = waiter.done or waiter.remaining <= 0
            if foreign:
                # Asked first and noted after: an interrupt in between asks twice, never not at all.
                self.channel.outbox.append(ObjectsWanted(foreign))
                self._foreign.difference_update(foreign)
        try:
            self._block(waiter, deadline, mine=mine)
        finally:
            if waiter.remaining > 0 or count < len(distinct):
                self._withdraw(distinct, waiter)

    def _block(self, waiter: Waiter, deadline: float, *, mine: bool) -> None:
        if self.on_blocked is None:
            self.channel.wait(waiter, waiter.event, deadline)
            return
        # In a task. A value that exists already arrives in a moment; giving up the CPU for so
        # short a wait would start engines for nothing.
        if not mine:
            soon = min(deadline, time.monotonic() + 0.002)
            if self.channel.wait(waiter, waiter.event, soon):
                return
        unblock = self.on_blocked()
        try:
            self.channel.wait(waiter, waiter.event, deadline)
        finally:
            if unblock is not None:
                unblock()

    def _withdraw(self, ids: Iterable[int], waiter: Waiter) -> None:
        with self.lock:
            for object_id in ids:
                group = self._waiters.get(object_id)
                if group is not None and waiter in group:
                    group.remove(waiter)
                    if not group:
                        del self._waiters[object_id]

    def when_ready(self, object_id: int, call: Callable[[], None]) -> None:
        """Call `call` in the background thread once the object is ready or the cluster is lost."""
        wanted = False
        with self.lock:
            ready = object_id in self.values or bool(self.lost)
            if not ready:
                self._callbacks.setdefault(object_id, []).append(call)
                if object_id in self._foreign:
                    self._foreign.discard(object_id)
                    self.channel.outbox.append(ObjectsWanted([object_id]))
                wanted = True
        if ready:
            self.channel.later(call)
        elif wanted:
            self.channel.flush()

    def future(self, object_id: int) -> concurrent.futures.Future[Any]:
        """A future of the value. It holds a ref until it is done."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self.lock:
            self.local[object_id] = self.local.get(object_id, 0) + 1
        ref = ObjectRef[Any](object_id, self)

        def settle() -> None:
            lost: list[int] = []
            try:
                if ref.id not in self.values:
                    raise self._gone()
                result = self._load(ref.id, lost)
            except BaseException as error:  # noqa: BLE001 - whatever the task raised is the result
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
                return
            if lost:  # its value was lost meanwhile, and is being rebuilt
                self.when_ready(ref.id, settle)
            elif future.set_running_or_notify_cancel():
                future.set_result(result)

        self.when_ready(object_id, settle)
        return future

    def describe(self, object_id: int) -> str:
        """``ready``, ``failed``, ``pending`` or ``stale``, as far as this process knows."""
        value = self.values.get(object_id)
        if value is not None:
            return "failed" if type(value) is Failure else "ready"
        return "stale" if self.lost else "pending"

    # ---- streams ----------------------------------------------------------------------------

    def next_item(self, task_id: int, index: int, timeout_s: float | None) -> int:
        """The id of item `index` of a stream, 0 at its end."""
        self.check()
        deadline = FOREVER if timeout_s is None else time.monotonic() + timeout_s
        waiter = Waiter(1)
        with self.lock:
            stream = self._stream(task_id)
            item = stream.item(index)
            if item is not None:
                return item
            if self.lost:
                raise self._gone()
            stream.waiting.append((index, waiter))
        try:
            self._block(waiter, deadline, mine=True)
        finally:
            with self.lock:
                stream.waiting = [entry for entry in stream.waiting if entry[1] is not waiter]
        item = stream.item(index)
        if item is None:
            self.check()
            raise GetTimeoutError(f"nothing was yielded within {timeout_s:g} s; ask again.")
        return item

    def when_item(self, task_id: int, index: int) -> concurrent.futures.Future[int]:
        """A future of the id of item `index`."""
        future: concurrent.futures.Future[int] = concurrent.futures.Future()
        with self.lock:
            stream = self._stream(task_id)

        def settle() -> None:
            if not future.set_running_or_notify_cancel():
                return
            item = stream.item(index)
            if item is None:
                future.set_exception(self._gone())
            else:
                future.set_result(item)

        with self.lock:
            there = stream.item(index) is not None or bool(self.lost)
            if not there:
                stream.waiting.append((index, settle))
        if there:
            settle()
        else:
            self.channel.flush()
        return future

    def _stream(self, task_id: int) -> StreamState:
        stream = self._streams.get(task_id)
        if stream is None:
            raise UsageError("this generator is read in another process; pass its refs instead")
        return stream

    def consumed(self, task_id: int, count: int) -> None:
        """The reader has taken `count` items of a stream."""
        stream = self._streams.get(task_id)
        if stream is None:
            return
        stream.taken = count
        if not stream.ended:
            self.channel.post(ItemsConsumed(task_id, count))

    def close_stream(self, task_id: int) -> None:
        """The reader is gone."""
        self.dropped.append(-task_id)

    # ---- questions --------------------------------------------------------------------------

    def ask(self, what: str, argument: Any = None, timeout_s: float = 10.0) -> Any:
        """Ask the hub and wait for the answer.

        Raises:
            LookupError: the hub does not know what it was asked about.
            ClusterLostError: no answer.
        """
        self.check()
        waiter = Waiter(1)
        answers: list[Answered] = []
        request = next(self._requests)
        with self.lock:
            if self.lost:
                raise self._gone()
            self._answers[request] = (waiter, answers)
        try:
            self.channel.post(Asked(request, what, argument))
            self.channel.wait(waiter, waiter.event, time.monotonic() + timeout_s)
        finally:
            self._answers.pop(request, None)
        if not answers:
            self.check()
            raise ClusterLostError(f"the hub did not answer within {timeout_s:g} s")
        if answers[0].error:
            raise LookupError(answers[0].error)
        return answers[0].answer
