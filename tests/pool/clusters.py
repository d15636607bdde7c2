"""Look at a cluster from outside: its processes, and what it leaves in the file system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import parallax as px

SHM = Path("/dev/shm")


def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """The first true value of `condition`; fails when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not after {timeout_s:g} s"
        time.sleep(0.005)
    return value


def processes(cluster: str) -> list[psutil.Process]:
    """The living processes of a cluster: all have their hub's command line."""
    return [p for p in psutil.process_iter() if _is_of(p, cluster)]


def process(cluster: str, name: str) -> Any:
    """Its process of this name: ``parallax-hub``, ``parallax-node``, ``parallax-zygote``."""
    return wait_until(lambda: next((p for p in processes(cluster) if p.name() == name), None))


def _is_of(process: psutil.Process, cluster: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(
            f"/{cluster}/" in word for word in process.cmdline()
        )
    except psutil.Error:
        return False


def traces(cluster: str) -> list[Path]:
    """Files and folders of a cluster."""
    temporary = Path(tempfile.gettempdir())
    return [
        *SHM.glob(f"*{cluster}*"),
        *temporary.glob(f"parallax-*/{cluster}*"),
        *temporary.glob(f"parallax-*{cluster}*"),
    ]


def wait_gone(cluster: str, timeout_s: float = 5.0) -> None:
    """Wait until neither a process nor a file of the cluster is left."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = processes(cluster), traces(cluster)
        if left == ([], []):
            return
        assert time.monotonic() < deadline, f"left after {timeout_s:g} s: {left}"
        time.sleep(0.01)


def engines() -> list[dict[str, Any]]:
    """The engines of this process's pool, as the hub knows them."""
    return [engine for node in px.nodes() for engine in node["engines"]]


def alive(pid: int) -> bool:
    """Whether this process runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def patch_pools(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the root process of new pools run this code first."""
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        if "parallax.pool" not in command:
            return popen(command, **options)
        *interpreter, _, _, config, listening = command
        main = "import parallax.pool.__main__ as m; m.main()"
        return popen([*interpreter, "-c", f"{code}\n{main}", config, listening], **options)

    monkeypatch.setattr(subprocess, "Popen", start)


class SecondNode:
    """Another node agent of the cluster, on this host, as if it were another one."""

    CODE = """
        import sys
        from pathlib import Path
        from parallax.pool.__main__ import _run_node
        from parallax.pool.config import PoolConfig
        from parallax.pool.process import reset_signals
        from parallax.store.janitor import hold_lease
        config = PoolConfig.load(sys.argv[1])
        reset_signals()
        _run_node(config, sys.stdin.fileno(), hold_lease(Path(config.store)))
    """

    def __init__(self, cluster: str) -> None:
        (pool,) = (p for p in px.pools(embedded=True) if p.cluster == cluster)
        code = textwrap.dedent(self.CODE)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(pool.directory / "config.json")],
            stdin=subprocess.PIPE,  # its lifeline: it ends with this process at the latest
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def wait(self, timeout_s: float = 10.0) -> int:
        """Wait for its end; its exit status."""
        return self._process.wait(timeout_s)

    def __enter__(self) -> SecondNode:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Driver:
    """A script that uses Parallax, in a process of its own.

    What it prints with `say(**facts)` can be read here with `hear()`.
    """

    PRELUDE = """
        import json, os, signal, sys, time
        import parallax as px
        def say(**facts):
            print(json.dumps(facts), flush=True)
        def cluster():
            from parallax.sessions.current import current
            return current().cluster
    """

    def __init__(self, script: str, **options: Any) -> None:
        code = textwrap.dedent(self.PRELUDE) + textwrap.dedent(script)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{"env": {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, **options},
        )

    def hear(self) -> Any:
        """The facts of the next `say`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the driver ended: {self.end()}"
        return json.loads(line)

    def end(self, timeout_s: float = 20.0) -> tuple[int, str]:
        """Wait for its end; the exit status and what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, errors

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
