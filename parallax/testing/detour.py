"""Have the links of a pool pass through a relay: they can be slow then, and break."""

from __future__ import annotations

import subprocess
import sys
import threading

from parallax.errors import UsageError
from parallax.net.link import SCHEME
from parallax.testing import relay


class Detour:
    """A relay before the door of a pool of this host. Thread-safe; each call takes a millisecond.

    Args:
        endpoint: where the hub listens.
        delay_s: so long messages are held at most, in each direction.

    Raises:
        UsageError: there is a relay already, or it cannot be put there.
    """

    def __init__(self, endpoint: str, seed: int, delay_s: float) -> None:
        path = endpoint.removeprefix(SCHEME)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", relay.__file__, path, str(seed), repr(delay_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a notebook's interrupt signals the kernel's whole group
        )
        self._delayed = 0
        self._is_calm = False
        if not self._hear():
            _, trail = self._process.communicate()
            last = trail.decode().strip().rpartition("\n")[2]
            raise UsageError(
                f"no relay can be put before the pool's door at {path} ({last}). One that is there "
                "already belongs to another storm: wait for its end."
            )

    def delayed(self) -> int:
        """How many messages were held so far; those that are sent together count as one."""
        with self._lock:
            if not self._is_calm:
                self._delayed = max(self._delayed, self._ask("count"))
            return self._delayed

    def has(self, pid: int) -> bool:
        """Whether this process has a link that passes through the relay."""
        with self._lock:
            return bool(self._ask(f"knows {pid}"))

    def sever(self, pid: int) -> bool:
        """End the link of this process, if it `has` one. What was under way is lost."""
        with self._lock:
            return bool(self._ask(f"sever {pid}"))

    def end(self) -> None:
        """Nothing is held any more, and new links go straight to the hub.

        Those that pass through the relay go on to do so; it ends with the last of them, or with
        this process.
        """
        with self._lock:
            if not self._is_calm:
                self._delayed = max(self._delayed, self._ask("calm"))
                self._is_calm = True
                threading.Thread(target=self._bury, daemon=True).start()

    def _bury(self) -> None:
        """Take note of its end, which the end of its input would hasten."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _ask(self, order: str) -> int:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{order}\n".encode())
        except BrokenPipeError:  # it was killed
            return 0
        return int(self._hear() or 0)

    def _hear(self) -> bytes:
        """The next answer; empty when none will come."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
