"""The zygote: a warm, single-threaded process that forks engines and reaps them.

It has imported all that an engine needs and has no thread and no socket of ZeroMQ, so a fork of
it is safe and takes a few milliseconds. Its parent, the node agent, talks to it in lines:

    F 7          start engine 7            →  S 7 4242        it is process 4242
                                           →  X 7 4242 -9     it has ended, killed by signal 9

When the parent's end of the socket closes it kills its engines and ends. When it dies itself,
the kernel kills them.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable

from parallax.pool.process import die_with_parent, name_process, reset_signals


def start_zygote(
    run_engine: Callable[[int], None], on_end: Callable[[], None]
) -> tuple[int, socket.socket]:
    """Fork the zygote. To be called before this process has threads.

    Args:
        run_engine: the whole life of one engine; called in a new process.
        on_end: called in the zygote once all its engines are gone.

    Returns:
        Its pid and the socket to talk to it.
    """
    parent = os.getpid()
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    ours.close()
    die_with_parent(parent)
    name_process("parallax-zygote")
    try:
        _Zygote(theirs, run_engine).run()
        on_end()
    finally:
        os._exit(0)


class _Zygote:
    def __init__(self, parent: socket.socket, run_engine: Callable[[int], None]) -> None:
        self._parent = parent
        self._run_engine = run_engine
        self._engines: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._parent, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        pending = b""
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                    self._reap()
                    continue
                data = self._parent.recv(4096)
                if not data:
                    self._end_all()
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._fork(int(line.split()[1]))

    def _fork(self, number: int) -> None:
        zygote = os.getpid()
        pid = os.fork()
        if pid:
            self._engines[pid] = number
            self._tell(f"S {number} {pid}\n")
            return
        # In the engine. Nothing may leave this block but through os._exit.
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._parent.close()
            os.setsid()
            reset_signals()
            die_with_parent(zygote)
            self._run_engine(number)
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while self._engines:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._engines.pop(pid, 0)
            self._tell(f"X {number} {pid} {os.waitstatus_to_exitcode(status)}\n")

    def _tell(self, line: str) -> None:
        try:
            self._parent.sendall(line.encode())
        except OSError:
            return  # the parent is gone; the next read says so

    def _end_all(self) -> None:
        for pid in self._engines:
            kill_group(pid)
        while self._engines:
            pid, _ = os.waitpid(-1, 0)
            self._engines.pop(pid, None)


def kill_group(pid: int) -> None:
    """Kill a process that leads a group, and all that it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # The engine may not have made its group yet.
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
