"""Start a pool on this host, find those that run, and stop them."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from parallax.errors import ClusterLostError, UsageError
from parallax.ids import new_token
from parallax.messages import ShutdownRequested
from parallax.net.connection import Connection, read_connection
from parallax.pool.client import Client
from parallax.pool.config import PoolConfig
from parallax.pool.executor import THREAD_VARIABLES
from parallax.pool.paths import (
    PREFIX,
    clusters_folder,
    connection_file,
    private_folder,
    runtime_folder,
    user_id,
)
from parallax.pool.resources import detect_resources
from parallax.store.janitor import sweep
from parallax.store.place import SHARED_MEMORY, choose_root, default_limit, memory_bytes
from parallax.version import VERSION

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
MEMORY_FLOOR = 0.05
"""Of the host's memory: below so much free memory, a task is stopped."""

CloseClient: TypeAlias = Callable[[Client], None]


@dataclass(frozen=True, kw_only=True)
class PoolRequest:
    """What a new pool should have; None means: what this process may use."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: dict[str, float] = field(default_factory=dict)
    memory: float | None = None
    object_store_memory: int | None = None
    env_vars: dict[str, str] = field(default_factory=dict)
    name: str = ""


class PoolProcess:
    """The root process of a pool that this process has started."""

    def __init__(
        self, process: subprocess.Popen[bytes], config: PoolConfig, log: int, note: str
    ) -> None:
        self.note = note
        """What the user should know of it, once."""
        self._process = process
        self._config = config
        # Open for reading from the start: a pool that fails takes its folder with it.
        self._log = log

    @property
    def pid(self) -> int:
        """Of the hub."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the hub runs.

        Raises:
            ClusterLostError: it ended; says why.
        """
        if self._process.poll() is None:
            return True
        raise ClusterLostError(
            f"the pool did not start (exit code {self._process.returncode}).\n{self._log_tail()}"
        )

    def wait_ready(self) -> None:
        """Wait until the pool can be joined."""
        path = Path(self._config.folder) / "connection.json"
        deadline = time.monotonic() + START_TIMEOUT_S
        while not path.exists():
            self.alive()
            if time.monotonic() > deadline:
                raise ClusterLostError(f"the pool did not start within {START_TIMEOUT_S:g} s")
            time.sleep(0.01)

    def stop(self, client: Client) -> None:
        """Ask the hub to stop, leave, and wait until everything of the pool is gone."""
        client.close(ShutdownRequested("shutdown was called"))
        if self._process.pid and os.getpid() == self._owner:
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            os.close(self._log)

    @property
    def _owner(self) -> int:
        return self._config.owner_pid or os.getpid()

    def _log_tail(self) -> str:
        size = os.fstat(self._log).st_size
        return os.pread(self._log, 3000, max(0, size - 3000)).decode(errors="replace").strip()


def start_pool(request: PoolRequest, *, owner_pid: int) -> tuple[PoolProcess, Connection]:
    """Start the processes of a pool. Returns at once; the client waits for the hub.

    Args:
        owner_pid: the process whose end is the end of the pool; 0 for none.

    Raises:
        UsageError: a request that makes no sense, or a pool of that name runs already.
    """
    resources = detect_resources(
        request.num_cpus, request.num_gpus, request.memory, request.resources
    )
    connection_path = connection_file(request.name) if request.name else None
    if connection_path is not None and (other := running(connection_path)):
        raise UsageError(
            f"a pool named {request.name!r} runs already (pid {other.pid}). Join it with "
            f"parallax.init({request.name!r}), or stop it with `parallax stop {request.name}`."
        )
    sweep_dead()
    cluster = new_token()
    folder = private_folder(clusters_folder() / cluster)
    place = choose_root(cluster)
    limit = request.object_store_memory or default_limit(place.root)
    config = PoolConfig(
        cluster=cluster,
        token=new_token() + new_token(),
        folder=str(folder),
        store=str(place.root),
        spill=str(folder / "spill"),
        store_limit_bytes=int(limit),
        resources=resources,
        name=request.name,
        owner_pid=owner_pid,
        connection=str(connection_path or ""),
        env_vars={
            **{name: os.environ.get(name, "1") for name in THREAD_VARIABLES},
            **request.env_vars,
        },
        path=[entry or os.getcwd() for entry in sys.path],
        cwd=os.getcwd(),
        memory_floor_bytes=int(memory_bytes() * MEMORY_FLOOR),
    )
    process, log = _spawn(config)
    connection = Connection(
        cluster=cluster,
        endpoint=config.endpoint,
        token=config.token,
        pid=process.pid,
        host=platform.node(),
        version=VERSION,
        name=request.name,
        directory=config.folder,
    )
    return PoolProcess(process, config, log, place.note), connection


def _spawn(config: PoolConfig) -> tuple[subprocess.Popen[bytes], int]:
    path = config.save()
    log = os.open(Path(config.folder) / "hub.log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "parallax.pool", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # a notebook's interrupt signals the kernel's whole group
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in config.path if p)},
    )
    return process, log


# ---- pools that run -------------------------------------------------------------------------


def is_running(connection: Connection) -> bool:
    """Whether the hub of this connection still runs on this host."""
    import psutil  # late: a start of one's own pool has no need of it

    try:
        process = psutil.Process(connection.pid)
        return process.status() != psutil.STATUS_ZOMBIE and (
            not connection.started_at or process.create_time() <= connection.started_at + 1.0
        )
    except psutil.NoSuchProcess:
        return False


def running(path: Path) -> Connection | None:
    """The connection in this file when its hub runs; a file of a dead hub is removed."""
    try:
        connection = read_connection(path)
    except FileNotFoundError:
        return None
    if is_running(connection):
        return connection
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return None


def running_names() -> list[str]:
    """The names of this user's named pools that run, sorted."""
    paths = sorted(runtime_folder().glob(f"{PREFIX}-*.json"))
    return [c.name for path in paths if (c := running(path)) is not None and c.name]


def sweep_dead() -> None:
    """Remove what pools left behind that were killed whole."""
    prefix = f"{PREFIX}-{user_id()}-"
    for base in {SHARED_MEMORY, Path(tempfile.gettempdir())}:
        for folder in sweep(base, prefix, user_id()):
            cluster = folder.name.removeprefix(prefix).split(".")[0]
            shutil.rmtree(clusters_folder() / cluster, ignore_errors=True)
