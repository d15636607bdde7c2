"""The engine process: user code in the main thread, everything else around it.

The main thread takes tasks from the run-queue and executes them. While it does, the channel's
background thread is the control thread: it accepts more tasks, gives queued ones back, and
interrupts the running one (`parallax.pool.task_interrupts`).
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from parallax.messages import (
    CALL,
    CONSTRUCTOR,
    ActorStopped,
    Assignment,
    BlobDefined,
    Chunk,
    Done,
    FromHub,
    ItemsConsumed,
    ItemsReturned,
    Printed,
    Refused,
    Stopped,
    TaskBlocked,
    TaskInterrupted,
    TasksAssigned,
    TasksFinished,
    TasksRecalled,
    TasksReturned,
    TaskUnblocked,
    TemplateDefined,
    TemplatesForgotten,
)
from parallax.net.channel import EASY_STEP_S
from parallax.net.connection import Connection
from parallax.net.shield import is_main_thread
from parallax.pool.actor_home import ActorHome
from parallax.pool.client import Client
from parallax.pool.config import PoolConfig
from parallax.pool.context import ActorExit, TaskContext, current_call
from parallax.pool.context import engine as context
from parallax.pool.engine_logs import log_path
from parallax.pool.executor import Executor
from parallax.pool.forks import connected
from parallax.pool.item_writer import ItemWriter
from parallax.pool.library import Library
from parallax.pool.process import name_process, offer_to_oom_killer, redirect_output
from parallax.pool.recent import RecentSegments
from parallax.pool.status import StatusPage, status_path
from parallax.pool.task_interrupts import TaskInterrupts
from parallax.pool.task_output import TaskOutput
from parallax.pool.waiter import FOREVER

IDLE_NAP_S = 60.0
"""An engine without a task is not interrupted, so it may sleep for long."""
STRIKE_AGAIN_S = 0.05
"""Between strikes of an interrupt that has had no effect."""


def run_engine(config: PoolConfig, number: int) -> None:
    """The whole life of one engine. Returns when the hub says so, or is gone."""
    name_process(f"parallax-{number}")
    redirect_output(log_path(Path(config.folder), number))
    offer_to_oom_killer()  # rather an engine, whose task is retried, than the notebook
    faulthandler.enable()
    _forget_logging()
    sys.argv = [sys.argv[0]]
    for entry in reversed(config.path):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    connection = Connection(
        cluster=config.cluster,
        endpoint=config.endpoint,
        token=config.token,
        pid=0,
        host="",
        version="",
    )
    engine = Engine(Client(connection, "engine", number=number), config, number)
    engine.run()


def _forget_logging() -> None:
    """Leave `logging` as a fresh interpreter has it: what tasks log is not the pool's own log."""
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.WARNING)


class _Work:
    """The condition that the main thread waits for: something to do."""

    def __init__(self) -> None:
        self.done = False
        self._event: threading.Event | None = None

    def event(self) -> threading.Event:
        """Slept on only while a thread of user code, left over from a task, reads the channel."""
        self._event = threading.Event()
        return self._event

    def came(self) -> None:
        """There is something to do."""
        self.done = True
        if self._event is not None:
            self._event.set()

    def ran_out(self) -> None:
        """There is nothing to do."""
        self.done = False


class Engine:
    """Run-queue and output of one engine."""

    def __init__(self, client: Client, config: PoolConfig, number: int) -> None:
        self._client = client
        self._number = number
        self._queue: dict[int, Assignment] = {}
        self._work = _Work()
        self._stopping = False
        self._running: Assignment | None = None
        self._waits: dict[int, int] = {}
        """Waits for other tasks that a running one is in: several, if it has threads."""
        self._forked = False
        self._items = ItemWriter(client, self._block)
        self._home: ActorHome | None = None
        """Of the actor that lives here, if one does."""
        self._status = StatusPage(status_path(Path(config.folder), number))
        self._interrupts = TaskInterrupts(self._status)
        self._library = Library(lambda ids: self._fetch(ids))
        self._recent = RecentSegments(lambda name: client.store.read_parts(name))
        self._executor = Executor(
            self._library,
            self._interrupts,
            send_value=client.send_value,
            read=self._recent.read,
            on_item=self._items.write,
            await_reader=self._items.await_reader,
            has_gpus="GPU" in config.resources,
            marks=config.folder,
        )
        self._streams = [
            TaskOutput(
                lambda task, text, name=name: self._print(task, name, text),  # type: ignore[misc]
                lambda: context.task,
                stream,
            )
            for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr))
        ]
        client.on_message = self._obey
        client.blocking.on_blocked = self._block
        client.on_tick = self._watch
        self._idle_step_of_client = client.channel.idle_step_s
        client.channel.idle_step_s = self._idle_step_s
        # Of a cancelled task, whether the tasks that it waits for go too is for the one who
        # cancelled it to say.
        client.cancels_what_it_waits_for = lambda: self._interrupts.why != "cancelled"

    def run(self) -> None:
        """Take tasks and run them until told to stop."""
        self._interrupts.install()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        context.client = self._client
        context.number = self._number
        connected(self)
        self._client.connect()
        sys.stdout, sys.stderr = self._streams
        channel = self._client.channel
        queue = self._queue
        work = self._work
        while True:
            if not queue:
                if self._stopping or self._client.lost:
                    break
                self._recent.forget()
                channel.wait(work, work.event, FOREVER, IDLE_NAP_S)
            with self._client.lock:
                assignment = queue.pop(next(iter(queue))) if queue else None
                self._running = assignment
                if not queue:
                    work.ran_out()
                if self._library.needless:
                    used = {task.template for task in queue.values()}
                    if assignment is not None:
                        used.add(assignment.template)
                    self._library.forget(used)
            if assignment is None:  # it was told to stop, or its tasks were taken back
                continue
            self._execute(assignment)
            spec = self._library.specs[assignment.template]
            if spec.role == CONSTRUCTOR and self._executor.actor is not None:
                self._house(assignment.id, spec)
            # A task that must not run twice has its end told at once: a crash of the next task
            # would otherwise take the news with it.
            if spec.max_retries == 0 and spec.role != CALL:
                channel.flush()
            else:
                channel.posted(EASY_STEP_S)
        self._executor.actor = None  # the actor's own clean-up, if it has one
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        with contextlib.suppress(Exception):
            self._client.close()

    def _execute(self, assignment: Assignment) -> None:
        self._status.set(assignment.id)
        try:
            outcome = self._executor.run(assignment)
        except ActorExit:
            assert self._home is not None
            self._home.leave()
            with self._client.lock:
                self._queue.clear()
            self._stop()
            return
        if self._forked:
            # The task has forked, and this is the child: the parent goes on with the queue.
            os._exit(0)
        # The status page keeps naming this task until the next one begins: if the engine dies
        # before the hub has the news of its end, it counts as begun, and not as never run.
        self._interrupts.install()
        for stream in self._streams:
            stream.flush()
        client = self._client
        with client.lock:
            self._running = None
            self._waits.pop(assignment.id, None)
            self._items.forget(assignment.id)
            self._interrupts.forget()
            if context.cancelled_calls:
                context.cancelled_calls.discard(assignment.id)
            outbox = client.channel.outbox
            if isinstance(outcome, Done):
                if outbox and type(last := outbox[-1]) is TasksFinished:
                    last.done.append(outcome)
                else:
                    outbox.append(TasksFinished([outcome]))
            else:
                outbox.append(outcome)
            client.channel.rows += 1

    def after_fork(self) -> None:
        """See `parallax.pool.forks`. A child that uses Parallax starts a pool of its own."""
        self._forked = True
        self._running = None
        context.client = context.task = None
        self._interrupts.uninstall()

    # ---- what the hub says, in whichever thread reads the channel ---------------------------

    def _obey(self, message: FromHub) -> None:
        kind = type(message)
        if kind is TasksAssigned:
            self._accept(message.tasks)  # type: ignore[union-attr]
        elif isinstance(message, BlobDefined):
            with self._client.lock:
                self._library.define_blob(message.key, message.data)
        elif isinstance(message, TemplateDefined):
            with self._client.lock:
                self._library.define(message)
        elif isinstance(message, TemplatesForgotten):
            with self._client.lock:
                self._library.needless.update(dict.fromkeys([*message.templates, *message.blobs]))
        elif isinstance(message, TasksRecalled):
            self._give_back(message.ids, recalled=True)
        elif isinstance(message, TaskInterrupted):
            self._interrupt(message)
        elif isinstance(message, ItemsConsumed):
            self._items.consumed(message.task, message.count)
            if self._home is not None:
                self._home.consumed(message.task)
        elif isinstance(message, ActorStopped | Stopped | Refused):
            self._stop()
            # User code may never return; the node kills what does not go by itself.

    def _stop(self) -> None:
        self._stopping = True
        self._work.came()
        if self._home is not None:
            self._home.stop()

    def _house(self, actor: int, spec: TemplateDefined) -> None:
        """An actor was made here, and the engine is its own from now on. Returns when calls are to
        be taken from the queue, or there will be none any more."""
        runner = self._executor.actor
        assert runner is not None
        home = ActorHome(actor, self._client, self._status, self._streams, self._items, self._waits)
        host = home.host_of(runner, spec, self._library)
        if host is not None:
            self._recent.keep_none()
        with self._client.lock:
            self._home = home
            if host is not None and self._queue:  # calls that came before it was here
                host.accept(list(self._queue.values()))
                self._queue.clear()
        if self._stopping or self._client.lost:
            self._stop()
        self._client.channel.flush()
        if host is not None:
            host.serve()
            self._stopping = True

    def _accept(self, tasks: list[Assignment]) -> None:
        with self._client.lock:
            home = self._home
            if home is None or not home.hosts:
                self._take(tasks)
                return
        home.accept(tasks)

    def _take(self, tasks: list[Assignment]) -> None:
        """Queue tasks up, under the client's lock."""
        if self._waits and self._home is None:
            ids = [task.id for task in tasks]
            self._client.channel.outbox.append(TasksReturned(ids))
            return
        for task in tasks:
            self._queue[task.id] = task
        self._work.came()

    def _watch(self) -> None:
        """An item that runs for long must not keep the items behind it from other engines, and an
        interrupt that the main thread slept through is repeated."""
        if self._home is not None:
            self._home.watch()
            return
        if self._interrupts.is_missed():
            self._interrupts.strike()
        chunk = self._executor.chunk
        if chunk is not None and chunk.slow():
            with self._client.lock:
                self._cut_chunk()

    def _idle_step_s(self) -> float:
        """How often `_watch` has to be called."""
        if self._interrupts.is_missed():
            return STRIKE_AGAIN_S
        with self._client.lock:
            running = self._running
            if running is not None and type(running.args) is Chunk:
                return EASY_STEP_S
            if any(type(task.args) is Chunk for task in self._queue.values()):
                return EASY_STEP_S
        return self._idle_step_of_client()

    def _cut_chunk(self) -> None:
        chunk = self._executor.chunk
        if chunk is not None and (kept := chunk.cut()):
            self._client.channel.outbox.append(ItemsReturned(chunk.task, chunk.attempt, kept))
            self._client.channel.rows += 1

    def _give_back(self, ids: list[int], *, recalled: bool) -> None:
        with self._client.lock:
            returned = [task_id for task_id in ids if self._queue.pop(task_id, None) is not None]
            self._client.channel.outbox.append(TasksReturned(returned, recalled))

    # ---- interrupts -------------------------------------------------------------------------

    def _interrupt(self, message: TaskInterrupted) -> None:
        if self._home is not None and self._home.interrupt(message):
            return
        with self._client.lock:
            waiting = self._queue.get(message.task)
            if waiting is not None and waiting.attempt == message.attempt:
                if message.object_id:
                    waiting.skipped.append(message.object_id)
                else:
                    del self._queue[message.task]
                    self._client.channel.outbox.append(TasksReturned([message.task]))
                return
            running = self._running
            if running is None or running.id != message.task or running.attempt != message.attempt:
                return
            if message.object_id:
                self._interrupts.ask_item(message.object_id)
            else:
                if self._home is not None:
                    context.cancelled_calls.add(message.task)
                    self._items.wake(message.task)
                    return
                self._interrupts.ask(message.reason)
        self._interrupts.strike()

    # ---- nested work ------------------------------------------------------------------------

    def _block(self, needed: Sequence[int]) -> Callable[[], None] | None:
        """User code is about to wait: give the queue back and the CPU up meanwhile.

        A thread of the task that waits counts as much as the task itself: whatever else it does,
        it may need the CPU for what it waits for.
        """
        running = context.task
        if running is None:
            return None
        with self._client.lock:
            outbox = self._client.channel.outbox
            if self._queue and self._home is None:
                ids = list(self._queue)
                self._queue.clear()
                outbox.append(TasksReturned(ids))
            self._cut_chunk()
            waits = self._waits[running.task] = self._waits.get(running.task, 0) + 1
            if waits == 1:
                # What a thread of its own waits for, the call itself need not.
                own = current_call.get() is running or is_main_thread()
                outbox.append(TaskBlocked(running.task, list(needed) if own else []))
        return lambda: self._unblock(running)

    def _unblock(self, waited: TaskContext) -> None:
        with self._client.lock:
            waits = self._waits.get(waited.task, 0)
            if not waits:
                return  # a thread that outlived its task
            self._waits[waited.task] = waits - 1
            if waits == 1:
                del self._waits[waited.task]
                self._client.channel.outbox.append(TaskUnblocked(waited.task))
        self._client.channel.posted()

    def _fetch(self, ids: list[int]) -> list[object]:
        """The values of captured objects."""
        for object_id in ids:
            self._client.adopt(object_id)
        try:
            return self._client.get(ids, None)
        finally:
            self._client.dropped.extend(ids)

    def _print(self, task: TaskContext, stream: str, text: str) -> None:
        self._client.channel.post(Printed(task.task, task.job, stream, text))
