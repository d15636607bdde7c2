"""A process's membership in a cluster: joining and leaving, submitting, and what the hub says.

Drivers and engines use the same client: a task can do whatever a notebook can. It knows nothing
of functions and options; `parallax.sessions.pool` turns those into templates and specs.

Its parts keep books of their own under one lock, the channel's: `holdings`, `streams`, `questions`.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from parallax.errors import ClusterLostError
from parallax.ids import counter
from parallax.messages import (
    INLINE_LIMIT_BYTES,
    Answered,
    CancelRequested,
    FromHub,
    InlineLimited,
    ItemReady,
    Left,
    Noted,
    ObjectPut,
    ObjectsReady,
    Ping,
    Refused,
    Said,
    SegmentsFreed,
    Stopped,
    Stored,
    TaskSpec,
    TasksSubmitted,
    TemplatesDropped,
    ToHub,
    Value,
    Welcome,
)
from parallax.net.channel import IDLE_STEP_S, LINGER_S, Channel
from parallax.net.connection import Connection
from parallax.pool.blocking import Blocking
from parallax.pool.entry import Entry
from parallax.pool.forks import connected
from parallax.pool.holdings import Holdings
from parallax.pool.questions import Questions
from parallax.pool.streams import Streams
from parallax.refs import ObjectRef, ObjectRefGenerator, forget_owner, register_owner
from parallax.serial.values import Packed, pack
from parallax.store.shared import SharedStore

IDLE_SLEEP_S = 60.0
TRIM_AFTER_S = 10.0
"""Warm segments that were not reused for so long are given back."""


class Client:
    """One connection to a hub. All methods may be called from any thread.

    Raises:
        ClusterLostError: nobody answers at the endpoint.
    """

    def __init__(self, connection: Connection, role: str, *, number: int = 0, owner: bool = False):
        self.connection = connection
        self.cluster = connection.cluster
        self.number = self.node = 0
        self.lost = ""
        """Why there is no cluster any more; empty while there is one."""
        self.inline_limit_bytes = INLINE_LIMIT_BYTES
        """What is larger goes to the store. The hub lowers it when it holds much."""
        self.on_said: Callable[[Said], None] | None = None
        self.on_noted: Callable[[str], None] | None = None
        self.on_message: Callable[[FromHub], None] | None = None
        """Gets what only engines are told, under the channel's lock."""
        self.cancels_what_it_waits_for: Callable[[], bool] = lambda: True
        """Asked when a `get` was interrupted."""
        self.on_tick: Callable[[], None] | None = None
        """Called now and then in any thread, while there is work at the latest every 0.2 s."""
        self._store: SharedStore | None = None
        self._segments = itertools.count(1)
        self.cancels = 0
        """How often this process has cancelled something."""
        self._leaving = False
        self._trim_due = 0.0
        self.needless: deque[int | bytes] = deque()
        """Templates, by number, and code, by key, that the hub may forget. Appended to by
        `__del__`."""
        self._entry = Entry(connection, role, number, owner)
        try:
            self.channel = Channel(connection.endpoint, self._dispatch, self._reap, self._end)
        except OSError as error:
            raise ClusterLostError(
                f"nobody answers for the cluster {self.cluster} at {connection.endpoint} "
                f"({error.strerror}): it has ended."
            ) from error
        self.channel.idle_step_s = self._idle_step_s
        self.lock = self.channel.lock
        # The parts' methods become this object's: a round trip passes no call for nothing.
        blocking = self.blocking = Blocking(self.channel)
        self.block, self.until = blocking.block, blocking.until
        holdings = self.holdings = Holdings(self)
        self.dropped, self.local, self.values = holdings.dropped, holdings.local, holdings.values
        self.adopt, self.future, self.describe = holdings.adopt, holdings.future, holdings.describe
        self.adopt_actor = holdings.adopt_actor
        self.get, self.wait = holdings.get, holdings.wait
        self._objects_ready = holdings.objects_ready
        streams = self.streams = Streams(self, holdings)
        self.next_item, self.when_item = streams.next_item, streams.when_item
        self.consumed = streams.consumed
        self._questions = Questions(self)
        self.ask, self.request = self._questions.ask, self._questions.request

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
            welcome = self._entry.wait(self.channel, alive, lambda: self.lost)
            self.node = welcome.node
            self._store = SharedStore(
                Path(welcome.store),
                limit_bytes=welcome.store_limit_bytes,
                spill_dir=Path(welcome.spill),
            )
            register_owner(self)
            connected(self)
        except BaseException:
            self._end("it was never joined")
            self.channel.close(linger_s=0.0)
            raise

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
        self.channel.linger()
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
            self.holdings.lose()
            self.streams.lose()
            self._questions.lose()
            self._entry.lose()
        self.channel.wake()

    def check(self) -> None:
        """See `Membership`."""
        if self.lost:
            raise self.gone()

    def gone(self) -> ClusterLostError:
        """See `Membership`."""
        reason, _, trail = self.lost.partition("\n")
        return ClusterLostError(
            f"the cluster {self.cluster} is gone: {reason.rstrip('.')}. Its refs and values went "
            f"with it; call parallax.init() for a new one.\n{trail}".strip()
        )

    @property
    def store(self) -> SharedStore:
        """See `Membership`."""
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
                self.streams.item_ready(message)
            elif isinstance(message, Answered):
                self._questions.answered(message)
            elif isinstance(message, InlineLimited):
                self.inline_limit_bytes = message.limit_bytes
            elif isinstance(message, Said):
                if self.on_said is not None:
                    self.on_said(message)
            elif isinstance(message, Noted):
                if self.on_noted is not None:
                    self.channel.later(partial(self.on_noted, message.text))
            elif isinstance(message, Welcome):
                self.number = message.number
                self._ids = counter(message.number)
                self._entry.answered(message)
            elif isinstance(message, Refused | Stopped):
                if self.on_message is not None:
                    self.on_message(message)
                if isinstance(message, Refused):
                    self._entry.answered(message)
                    self._end(message.message)
                else:
                    self._end(message.reason)
            elif self.on_message is not None and not isinstance(message, Ping):
                self.on_message(message)

    def _reap(self) -> None:
        """What is to be done now and then. Called before each send, in any thread."""
        if self.on_tick is not None:
            self.on_tick()
        if self._trim_due and time.monotonic() > self._trim_due:
            self._trim_due = 0.0
            if self._store is not None:
                self._store.trim(TRIM_AFTER_S)
        if self.dropped:
            self.holdings.reap(self.streams.drop)
        if self.needless:
            self._drop_code()

    def _drop_code(self) -> None:
        names = [self.needless.popleft() for _ in range(len(self.needless))]
        templates = [name for name in names if isinstance(name, int)]
        blobs = [name for name in names if isinstance(name, bytes)]
        with self.lock:
            self.channel.outbox.append(TemplatesDropped(templates, blobs))
            self.channel.rows += 1

    def _idle_step_s(self) -> float:
        # Without refs there are none to be collected.
        return IDLE_STEP_S if self.local or self._trim_due else IDLE_SLEEP_S

    # ---- submitting -------------------------------------------------------------------------

    def new_id(self) -> int:
        """Of an object or a job. Under `lock`."""
        return next(self._ids)

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
        with self.lock:
            is_first = self.awaits_nothing()
            task_id, made = self.expect(returns, stream=stream)
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

    def awaits_nothing(self) -> bool:
        """Somebody waits for one small task after the other, or submits the first of many. Either
        way an engine can begin with it: it should be sent at once. Under `lock`."""
        return len(self.values) == len(self.local)

    def expect(
        self, returns: int, *, stream: bool = False, is_call: bool = False
    ) -> tuple[int, list[ObjectRef[Any]] | ObjectRefGenerator[Any]]:
        """The id of a task that is about to be submitted, and what it makes. Under `lock`."""
        task_id = next(self._ids)
        for _ in range(1, returns):
            next(self._ids)
        if not is_call:
            self.holdings.latest_task = task_id + max(returns, 1) - 1
        # The refs before what they stand for: whenever an interrupt comes, they are dropped.
        if stream:
            generator: ObjectRefGenerator[Any] = ObjectRefGenerator(task_id, self)
            self.streams.open(task_id)
            return task_id, generator
        made: list[ObjectRef[Any]] = [ObjectRef(task_id + i, self) for i in range(returns)]
        for ref in made:
            self.local[ref.id] = 1
        return task_id, made

    def send_value(self, packed: Packed) -> Value:
        """A packed value as it travels: inline, or written to the store.

        Raises:
            ObjectStoreFullError: there is no room.
            ClusterLostError: there is no store any more.
        """
        if not packed.buffers and len(packed.data) <= self.inline_limit_bytes:
            return packed.data
        name = f"{self.number:x}-{next(self._segments):x}"
        try:
            size = self.store.write(name, packed)
        except FileNotFoundError as error:
            self._end(f"its store was removed ({error.filename})")
            raise self.gone() from error
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
        """See `Membership`."""
        self.cancels += 1
        self.channel.post(CancelRequested(ids, force, recursive, grace_s))
        self.channel.flush()
