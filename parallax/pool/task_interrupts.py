"""Interrupts that reach the user code of the task that is meant, and nothing else.

An interrupt names its task. The control thread notes why the running task is to stop and signals
the main thread; the signal handler raises only while that very task runs user code. So one that
comes late hits neither the next task nor the engine's own loop.

A signal may come between Python's last look for one and a system call that waits: 1. `time.sleep`
finds none. 2. It comes, and Python notes it for its next look. 3. `time.sleep` begins, and nothing
wakes it. So the control thread strikes again while the interrupt has had no effect.
"""

from __future__ import annotations

import signal
import threading
from _signal import getsignal  # type: ignore[import-not-found]
from types import FrameType

from parallax.ids import hex_id
from parallax.pool.context import engine as context
from parallax.pool.status import StatusPage


class TaskInterrupts:
    """Of one engine; made in its main thread, which runs the tasks.

    `ask`, `ask_item` and `forget` are called under the client's lock.
    """

    def __init__(self, status: StatusPage) -> None:
        self._status = status
        self._main = threading.get_ident()
        self._handler = self._on_signal
        """One object, to be known again: a task may have installed a handler of its own."""
        self._current = 0
        """The object that user code computes now; 0 outside of user code."""
        self.why = ""
        """Why the running task was interrupted; empty when it was not."""
        self._items: set[int] = set()
        """Of a running chunk: items that were cancelled one by one."""

    def install(self) -> None:
        """Handle SIGINT from now on, whatever a task has done with it."""
        if getsignal(signal.SIGINT) is not self._handler:
            signal.signal(signal.SIGINT, self._handler)

    def uninstall(self) -> None:
        """In the child of a fork: it is an ordinary process."""
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def ask(self, why: str) -> None:
        """The running task is to stop."""
        self.why = why
        context.interrupted = True

    def ask_item(self, object_id: int) -> None:
        """One item of the running chunk is not wanted any more."""
        self._items.add(object_id)

    def strike(self) -> None:
        """What was asked takes effect now, if user code of that task runs."""
        signal.pthread_kill(self._main, signal.SIGINT)

    def is_missed(self) -> bool:
        """Whether what was asked has had no effect yet: the user code that it is for still runs.

        Not if a task, or the connection to the hub for a moment, handles the signal in its own way.
        To be asked in any thread.
        """
        object_id = self._current
        return (
            object_id != 0
            and self.reason(object_id) != ""
            and getsignal(signal.SIGINT) is self._handler
        )

    def forget(self) -> None:
        """The task is over."""
        if self.why or self._items:
            self.why = ""
            self._items.clear()
            context.interrupted = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """In the main thread: raise only into the user code of the task that is meant."""
        object_id = self._current
        if object_id and self.reason(object_id):
            self._current = 0
            raise KeyboardInterrupt(f"task {hex_id(object_id)} was interrupted")

    def begin(self, object_id: int) -> None:
        """See `parallax.pool.executor.Interrupts`."""
        self._status.set(object_id)
        self._current = object_id
        # One that came before this line found no user code to stop.
        self._on_signal(signal.SIGINT, None)

    def end(self) -> None:
        """See `parallax.pool.executor.Interrupts`."""
        self._current = 0

    def reason(self, object_id: int) -> str:
        """See `parallax.pool.executor.Interrupts`."""
        if self.why:
            return self.why
        return "cancelled" if object_id in self._items else ""
