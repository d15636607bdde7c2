"""The zygote: a warm, single-threaded process that forks engines, kills and reaps them.

It has imported all that an engine needs and has no thread and no connection to the hub, so a fork
of it is safe and takes a few milliseconds. Its parent, the node agent, talks to it in lines:

    F 7          start engine 7            →  S 7 4242        it is process 4242
    K 7          kill engine 7             →  X 7 4242 -9     it has ended, killed by signal 9

Only the zygote kills engines: it reaps them, so it alone knows that a pid still means one. When
the parent's end of the socket closes, because the node agent ends or was killed, it kills its
engines and ends. When it dies itself, the kernel kills them.

What an engine starts dies with it. Processes of its group are killed with it; those that left
the group become the zygote's children as the engine dies (it is their *subreaper*), and bear
their engine's number in their environment.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from parallax.pool.process import (
    become_subreaper,
    child_pids,
    die_with_parent,
    name_process,
    reset_signals,
)

log = logging.getLogger("parallax.zygote")

LULL_MS = 200
"""The first engines are busy with their own start for so long; they need the cores."""
ENGINE_VARIABLE = "PARALLAX_ENGINE"
"""In the environment of an engine and of all that it starts: the engine's number."""


def start_zygote(
    warm_up: Callable[[], Callable[[int], None]],
    warm_up_further: Callable[[], object],
    on_end: Callable[[], object],
) -> tuple[int, socket.socket]:
    """Fork the zygote. To be called before this process has threads.

    Args:
        warm_up: called in the zygote first. Returns what to call in the process of a new engine,
            with its number: the engine's whole life.
        warm_up_further: called when the first engines were forked and nothing else is to be done,
            so that it delays none of them.
        on_end: called in the zygote once all its engines are gone.

    Returns:
        Its pid and the socket to talk to it.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    ours.close()
    try:
        name_process("parallax-zygote")
        become_subreaper()
        _Zygote(theirs, warm_up(), warm_up_further).run()
        on_end()
    except BaseException:
        log.exception("the zygote failed")
    finally:
        os._exit(0)


class _Zygote:
    def __init__(
        self,
        parent: socket.socket,
        run_engine: Callable[[int], None],
        warm_up_further: Callable[[], object],
    ) -> None:
        self._parent = parent
        self._run_engine = run_engine
        self._warm_up_further: Callable[[], object] | None = warm_up_further
        self._engines: dict[int, int] = {}
        """Numbers by pid."""
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
            ready = poll.poll(LULL_MS if self._engines and self._warm_up_further else None)
            if not ready and self._warm_up_further:
                self._warm_up_further()
                self._warm_up_further = None
            for fd, _ in ready:
                if fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                    self._reap()
                    continue
                data = self._listen()
                if not data:
                    self._end_all()
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._obey(line)

    def _listen(self) -> bytes:
        try:
            return self._parent.recv(4096)
        except ConnectionError:  # the parent was killed with something unread
            return b""

    def _obey(self, line: bytes) -> None:
        word, text = line.split()
        number = int(text)
        if word == b"F":
            self._fork(number)
        else:
            for pid, engine in self._engines.items():
                if engine == number:
                    kill_group(pid)

    def _fork(self, number: int) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no more processes, or no memory
            log.error("engine %d cannot be started: %s", number, error)
            self._tell(f"X {number} 0 1\n")
            return
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
            os.environ[ENGINE_VARIABLE] = str(number)
            self._run_engine(number)
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            log.exception("engine %d failed", number)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Bury the dead, and what dead engines have started."""
        while (pid := _ended_child()) > 0:
            if pid in self._engines:
                # Before it is reaped: until then nobody else can have its number.
                kill_group(pid)
            _, status = os.waitpid(pid, 0)
            number = self._engines.pop(pid, 0)
            if number:
                self._tell(f"X {number} {pid} {os.waitstatus_to_exitcode(status)}\n")
            self._kill_orphans()

    def _kill_orphans(self) -> None:
        living = {str(number) for number in self._engines.values()}
        for pid in child_pids():
            if pid not in self._engines:
                engine = _engine_of(pid)
                if engine and engine not in living:
                    os.kill(pid, signal.SIGKILL)  # its own children come here in turn

    def _tell(self, line: str) -> None:
        try:
            self._parent.sendall(line.encode())
        except OSError:
            return  # the parent is gone; the next read says so

    def _end_all(self) -> None:
        for pid in self._engines:
            kill_group(pid)
        while True:
            for pid in child_pids():
                os.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def _ended_child() -> int:
    """A child that has ended and was not reaped yet, 0 for none."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return ended.si_pid if ended is not None else 0


def _engine_of(pid: int) -> str:
    """The number of the engine that started this process, as it stands in its environment."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has just ended, or there is no /proc
        return ""
    prefix = f"{ENGINE_VARIABLE}=".encode()
    return next((v[len(prefix) :].decode() for v in variables if v.startswith(prefix)), "")


def kill_group(pid: int) -> None:
    """Kill a child that leads a group, and all that it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)  # it has not made its group yet
