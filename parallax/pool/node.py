"""The node agent: one process a host that starts engines, reaps them and watches the memory."""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import time
from pathlib import Path

import zmq

from parallax.messages import (
    PROTOCOL,
    EngineExited,
    EnginesWanted,
    EngineUnwanted,
    FromHub,
    Hello,
    MemoryPressed,
    Refused,
    SegmentsFreed,
    Stopped,
    ToHub,
)
from parallax.net import codec
from parallax.pool.config import PoolConfig
from parallax.pool.status import last_object, status_path
from parallax.version import VERSION

log = logging.getLogger("parallax.node")

MEMORY_CHECK_S = 0.25
LOG_TAIL_BYTES = 2000


class NodeAgent:
    """Obeys the hub; tells it how engines end.

    Args:
        hub_lifeline: a descriptor whose other end the hub holds: readable when the hub is gone.
        zygote: the socket to the zygote.
    """

    def __init__(self, config: PoolConfig, hub_lifeline: int, zygote: socket.socket) -> None:
        self._config = config
        self._folder = Path(config.folder)
        self._lifeline = hub_lifeline
        self._zygote = zygote
        self._zygote_text = b""
        self._pids: dict[int, int] = {}
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.identity = b"n" + os.urandom(8)
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.linger = 200
        self._socket.reconnect_ivl = 3
        self._socket.connect(config.endpoint)
        self._memory_due = 0.0

    def run(self) -> None:
        """Serve until the hub says stop, or is gone."""
        self._send(
            Hello(
                PROTOCOL,
                VERSION,
                platform.python_version(),
                "node",
                self._config.token,
                os.getpid(),
                platform.node(),
                resources=self._config.resources,
            )
        )
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._lifeline, zmq.POLLIN)
        poller.register(self._zygote.fileno(), zmq.POLLIN)
        while True:
            ready = dict(poller.poll(int(MEMORY_CHECK_S * 1000) if self._pids else None))
            if self._lifeline in ready:
                log.warning("the hub is gone")
                return
            if self._zygote.fileno() in ready and not self._read_zygote():
                log.error("the zygote is gone")
                return
            if self._socket in ready:
                for message in codec.decode_from_hub(self._socket.recv()):
                    if isinstance(message, Stopped | Refused):
                        log.info("the node stops: %s", message)
                        return
                    self._obey(message)
            self._check_memory()

    def close(self) -> None:
        """Close. As its socket closes the zygote kills all engines and ends."""
        self._zygote.close()
        self._socket.close()
        self._context.term()

    # ---- the hub ----------------------------------------------------------------------------

    def _send(self, message: ToHub) -> None:
        self._socket.send(codec.encode([message]))

    def _obey(self, message: FromHub) -> None:
        if type(message) is EnginesWanted:
            for number in message.numbers:
                self._zygote.sendall(f"F {number}\n".encode())
        elif type(message) is EngineUnwanted:
            self._zygote.sendall(f"K {message.number}\n".encode())
        elif type(message) is SegmentsFreed:
            for name in message.names:
                self._remove_segment(name)

    def _remove_segment(self, name: str) -> None:
        """A segment whose creator is gone: nobody will reuse it."""
        for folder in (self._config.store, self._config.spill):
            try:
                os.unlink(os.path.join(folder, name))
            except FileNotFoundError:
                continue

    # ---- the zygote -------------------------------------------------------------------------

    def _read_zygote(self) -> bool:
        data = self._zygote.recv(65536)
        if not data:
            return False
        *lines, self._zygote_text = (self._zygote_text + data).split(b"\n")
        for line in lines:
            word, *numbers = line.split()
            number, pid = int(numbers[0]), int(numbers[1])
            if word == b"S":
                self._pids[number] = pid
            else:
                self._ended(number, pid, int(numbers[2]))
        return True

    def _ended(self, number: int, pid: int, status: int) -> None:
        self._pids.pop(number, None)
        running = last_object(status_path(self._folder, number))
        detail = "" if status in (0, -signal.SIGKILL) else self._log_tail(number)
        log.info("engine %d (pid %d) ended with status %d", number, pid, status)
        self._send(EngineExited(number, status, running, detail))

    def _log_tail(self, number: int) -> str:
        """The last words of an engine: where it crashed, if it could say."""
        path = self._folder / f"engine-{number}.log"
        try:
            data = path.read_bytes()[-LOG_TAIL_BYTES:]
        except FileNotFoundError:
            return ""
        text = data.decode(errors="replace")
        start = text.rfind("Fatal Python error")
        return text[start:].strip() if start >= 0 else ""

    # ---- memory -----------------------------------------------------------------------------

    def _check_memory(self) -> None:
        """Tell the hub when the host runs short, before the kernel's killer picks a victim."""
        now = time.monotonic()
        if now < self._memory_due or not self._pids:
            return
        self._memory_due = now + MEMORY_CHECK_S
        import psutil  # late: engines are forked from what was imported before

        memory = psutil.virtual_memory()
        if memory.available < self._config.memory_floor_bytes:
            self._send(MemoryPressed(memory.available, memory.total))
