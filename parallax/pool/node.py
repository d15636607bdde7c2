"""The node agent: one process a host that starts engines, reaps them and watches the memory."""

from __future__ import annotations

import logging
import os
import platform
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from parallax.messages import (
    PROTOCOL,
    Answered,
    Asked,
    EngineExited,
    EnginesWanted,
    EngineUnwanted,
    FromHub,
    Hello,
    ItemUnwanted,
    MemoryPressed,
    Refused,
    SegmentsFreed,
    Stopped,
    ToHub,
)
from parallax.net import codec
from parallax.net.link import Link
from parallax.pool.config import PoolConfig
from parallax.pool.engine_logs import EngineLogs
from parallax.pool.memory import Memory
from parallax.pool.status import current_object, last_words, status_path
from parallax.pool.store_keeper import StoreKeeper
from parallax.version import VERSION

log = logging.getLogger("parallax.node")

MEMORY_CHECK_S = 0.25
RELAXED_CHECK_S = 1.0
"""While more than half of the memory is left."""
BOUND_LOGS_S = 10.0
LINGER_S = 0.2


class NodeAgent:
    """Obeys the hub; tells it how engines end.

    Args:
        hub_lifeline: a descriptor whose other end the hub holds: readable when the hub is gone.
        zygote: the socket to the zygote.
        read_memory: what is left of this host's memory.
    """

    def __init__(
        self,
        config: PoolConfig,
        hub_lifeline: int,
        zygote: socket.socket,
        read_memory: Callable[[], Memory],
    ) -> None:
        self._config = config
        self._folder = Path(config.folder)
        self._lifeline = hub_lifeline
        self._zygote = zygote
        self._zygote_text = b""
        self._pids: dict[int, int] = {}
        self._hub = Link.connect(config.endpoint, codec.MAX_FRAME_BYTES)
        self._read_memory = read_memory
        self._memory_due = 0.0
        self._logs = EngineLogs(self._folder)
        self._store = StoreKeeper(config)
        self._bound_due = time.monotonic() + BOUND_LOGS_S

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
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        poll.register(self._zygote.fileno(), select.POLLIN)
        while True:
            room = select.POLLOUT if self._hub.has_unsent else 0
            poll.register(self._hub.fileno(), select.POLLIN | room)
            wait_s = max(0.0, self._memory_due - time.monotonic())
            ready = [fd for fd, _ in poll.poll(wait_s * 1000)]
            if self._zygote.fileno() in ready and not self._read_zygote():
                log.error("the zygote is gone")
                return
            if self._hub.fileno() in ready and not self._read_hub():
                return
            if self._lifeline in ready:
                log.warning("the hub is gone")
                return
            now = time.monotonic()
            if now >= self._memory_due:
                self._memory_due = now + self._check_memory()
            if now >= self._bound_due:
                self._bound_due = now + BOUND_LOGS_S
                self._logs.bound()
            if names := self._store.tidy():
                self._send(Asked(0, "orphans", names))

    def close(self) -> None:
        """Close. As its socket closes the zygote kills all engines and ends."""
        self._zygote.close()
        self._hub.close(LINGER_S)
        self._store.close()

    # ---- the hub ----------------------------------------------------------------------------

    def _send(self, message: ToHub) -> None:
        self._hub.send(codec.encode([message]))

    def _read_hub(self) -> bool:
        """Obey what has come; False at the end."""
        self._hub.flush()
        for frame in self._hub.read():
            for message in codec.decode_from_hub(frame):
                if isinstance(message, Stopped | Refused):
                    log.info("the node stops: %s", message)
                    return False
                self._obey(message)
        if self._hub.ended:
            log.warning("the hub has closed its link")
        return not self._hub.ended

    def _obey(self, message: FromHub) -> None:
        if type(message) is EnginesWanted:
            for number in message.numbers:
                self._order(f"F {number}\n")
        elif type(message) is EngineUnwanted:
            self._order(f"K {message.number}\n")
        elif type(message) is ItemUnwanted:
            if current_object(status_path(self._folder, message.number)) == message.object_id:
                self._order(f"K {message.number}\n")
        elif type(message) is SegmentsFreed:
            self._store.free(message.names)  # their creator has ended
        elif type(message) is Answered:
            self._store.free(message.answer or ())

    def _order(self, line: str) -> None:
        try:
            self._zygote.sendall(line.encode())
        except OSError:
            return  # the zygote is gone; the next read says so

    # ---- the zygote -------------------------------------------------------------------------

    def _read_zygote(self) -> bool:
        try:
            data = self._zygote.recv(65536)
        except ConnectionError:  # it was killed with something unread
            return False
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
        running, turns = last_words(status_path(self._folder, number))
        detail = self._logs.last_words(number) if status not in (0, -signal.SIGKILL) else ""
        log.info("engine %d (pid %d) ended with status %d", number, pid, status)
        self._send(EngineExited(number, status, running, detail, turns))
        self._logs.ended(number)
        self._store.engine_ended()

    # ---- memory -----------------------------------------------------------------------------

    def _check_memory(self) -> float:
        """Tell the hub when the host runs short, before the kernel's killer picks a victim.

        Returns:
            When to look again, in seconds.
        """
        memory = self._read_memory()
        if memory.available_bytes < self._config.memory_floor_bytes:
            if self._pids:
                self._send(MemoryPressed(memory.available_bytes, memory.total_bytes))
        elif memory.available_bytes > memory.total_bytes // 2:
            return RELAXED_CHECK_S
        return MEMORY_CHECK_S
