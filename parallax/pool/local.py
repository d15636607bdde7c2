"""Start a pool on this host, find those that run, and stop them."""

from __future__ import annotations

import atexit
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
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from parallax.errors import ClusterLostError, UsageError
from parallax.ids import new_token
from parallax.net.connection import Connection, read_connection
from parallax.net.link import listen
from parallax.pool.config import PoolConfig
from parallax.pool.paths import (
    PREFIX,
    clusters_folder,
    connection_file,
    journal_folder,
    private_folder,
    runtime_folder,
    user_id,
)
from parallax.pool.resources import THREAD_VARIABLES, detect_resources
from parallax.store import flock
from parallax.store.janitor import sweep
from parallax.store.place import SHARED_MEMORY, choose_root, default_limit, memory_bytes
from parallax.version import VERSION

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
MEMORY_FLOOR = 0.05
"""Of the host's memory: below so much free memory, a task is stopped."""
MEMORY_FLOOR_VARIABLE = "PARALLAX_MEMORY_FLOOR_BYTES"
"""Sets it in bytes; 0 stops no task."""

if TYPE_CHECKING:
    from parallax.pool.client import Client

CloseClient: TypeAlias = "Callable[[Client], None]"


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
        self._starter = os.getpid()
        # Open for reading from the start: a pool that fails takes its folder with it.
        self._log = log
        if config.owner_pid:
            atexit.register(self._at_exit)
        self._client: Client | None = None

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

    def explain(self, error: ClusterLostError) -> NoReturn:
        """The hub does not answer any more: wait until it has ended, and say how.

        Raises:
            ClusterLostError: with the end of its log; `error` itself when it has not ended.
        """
        if self._ended(STOP_TIMEOUT_S):
            self.alive()
        raise error

    def wait_ready(self) -> None:
        """Wait until the pool can be joined.

        Raises:
            ClusterLostError: it does not start; nothing of it is left.
        """
        path = Path(self._config.folder) / "connection.json"
        deadline = time.monotonic() + START_TIMEOUT_S
        while not path.exists():
            self.alive()
            if time.monotonic() > deadline:
                raise ClusterLostError(
                    f"the pool did not start within {START_TIMEOUT_S:g} s.\n{self._log_tail()}"
                )
            time.sleep(0.01)

    def owned_by(self, client: Client) -> None:
        """This client's end is the end of the pool, at the latest as the interpreter ends."""
        self._client = client

    def outlive(self) -> None:
        """The pool goes on without this process, which reaps it should it end first."""
        os.close(self._log)
        _outliving.add(self._process.pid)
        # An object of a process that still runs complains as it is dropped, at the latest when the
        # interpreter ends. It is not to be waited for any more.
        self._process.returncode = 0

    def stop(self, client: Client) -> None:
        """Ask the hub to stop, leave, and wait until everything of the pool is gone."""
        from parallax.messages import ShutdownRequested  # late: the hub starts before it is needed

        client.close(ShutdownRequested("shutdown was called"))
        self.abandon(STOP_TIMEOUT_S)

    def abandon(self, patience_s: float = 0.0) -> None:
        """End the pool whatever it does; nothing of it is left.

        Args:
            patience_s: so long it may take to end by itself, as it has been told to.
        """
        atexit.unregister(self._at_exit)
        self._client = None
        if os.getpid() != self._starter:
            return  # a fork of the process that owns it
        if not self._ended(patience_s):
            self._process.terminate()
            if not self._ended(STOP_TIMEOUT_S):
                self._process.kill()
                self._process.wait()
        os.close(self._log)
        store = Path(self._config.store)
        sweep(store.parent, store.name, user_id())
        if not store.exists():
            shutil.rmtree(self._config.folder, ignore_errors=True)

    def _ended(self, wait_s: float) -> bool:
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _at_exit(self) -> None:
        # Threads of the user may still wait for results: waking them would only have them print
        # tracebacks into the end of the script.
        if self._client is not None and os.getpid() == self._starter:
            from parallax.messages import ShutdownRequested  # late, as above

            self._client.take_leave(ShutdownRequested("its owner has ended"))
            self.abandon(STOP_TIMEOUT_S)

    def _log_tail(self) -> str:
        size = os.fstat(self._log).st_size
        return os.pread(self._log, 3000, max(0, size - 3000)).decode(errors="replace").strip()


_outliving: set[int] = set()
"""Children of this process: the hubs of named pools that it has started."""


def _reap() -> None:
    for pid in list(_outliving):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0]
        except ChildProcessError:  # somebody else has, or this is a fork of the process
            ended = pid
        if ended:
            _outliving.remove(pid)


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
    _reap()
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
        journal=str(journal_folder(request.name) if request.name else folder / "journal"),
        env_vars={
            **{name: os.environ.get(name, "1") for name in THREAD_VARIABLES},
            **request.env_vars,
        },
        path=[entry or os.getcwd() for entry in sys.path],
        python_path=os.environ.get("PYTHONPATH", ""),
        cwd=os.getcwd(),
        memory_floor_bytes=_memory_floor(),
    )
    try:
        process, log = _spawn(config)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
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


def _memory_floor() -> int:
    text = os.environ.get(MEMORY_FLOOR_VARIABLE)
    if text is None:
        return int(memory_bytes() * MEMORY_FLOOR)
    if not text.isdigit():
        raise UsageError(f"{MEMORY_FLOOR_VARIABLE}={text!r} must be a number of bytes.")
    return int(text)


def _spawn(config: PoolConfig) -> tuple[subprocess.Popen[bytes], int]:
    path = config.save()
    log = os.open(Path(config.folder) / "hub.log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        listening = listen(config.endpoint)
    except BaseException:
        os.close(log)
        raise
    try:
        process = subprocess.Popen(
            # -P: a file in the current folder must not stand in for a module of ours.
            [sys.executable, "-P", "-m", "parallax.pool", str(path), str(listening.fileno())],
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a notebook's interrupt signals the kernel's whole group
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in config.path if p)},
        )
    except BaseException:
        os.close(log)
        raise
    finally:
        listening.close()
    return process, log


def join_or_start(request: PoolRequest) -> tuple[Connection, str]:
    """The pool of this name when it runs, else a new one that outlives this process.

    Whoever comes while another process starts it waits for that one, and joins.

    Returns:
        Its connection, and what the user should know of a new one.

    Raises:
        UsageError: it runs on another host.
        ClusterLostError: it does not start.
    """
    path = connection_file(request.name)
    lock = os.open(clusters_folder() / f".{request.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        flock.seize(lock)
        if (connection := running(path)) is not None:
            return connection, ""
        process, _ = start_pool(request, owner_pid=0)
        try:
            process.wait_ready()
        except BaseException:
            process.abandon()
            raise
        process.outlive()
        return read_connection(path), process.note
    finally:
        os.close(lock)


# ---- pools that run -------------------------------------------------------------------------


def is_running(connection: Connection) -> bool:
    """Whether the hub of this connection still runs, for one on this host."""
    import psutil  # late: a start of one's own pool has no need of it

    try:
        process = psutil.Process(connection.pid)
        return process.status() != psutil.STATUS_ZOMBIE and (
            not connection.started_at or process.create_time() <= connection.started_at + 1.0
        )
    except psutil.NoSuchProcess:
        return False


def running(path: Path) -> Connection | None:
    """The connection in this file when its hub runs; a file of a dead hub is removed.

    Raises:
        UsageError: it is no connection file, or one of a pool on another host.
    """
    try:
        connection = read_connection(path)
    except FileNotFoundError:
        return None
    if connection.host != platform.node():  # home folders are shared between hosts
        raise UsageError(
            f"{path} belongs to a pool on {connection.host}, and this is {platform.node()}: an "
            "embedded pool can be joined on its own host only. If it does not run any more, "
            "remove the file; or choose another name."
        )
    if is_running(connection):
        return connection
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return None


def running_names() -> list[str]:
    """The names of this user's named pools that run, sorted."""
    names = []
    for path in sorted(runtime_folder().glob(f"{PREFIX}-*.json")):
        with contextlib.suppress(UsageError):  # of another host, or of another version
            connection = running(path)
            if connection is not None and connection.name:
                names.append(connection.name)
    return names


def sweep_dead() -> None:
    """Remove what pools left behind that were killed whole, or never came to be."""
    prefix = f"{PREFIX}-{user_id()}-"
    bases = {SHARED_MEMORY, Path(tempfile.gettempdir())}
    for base in bases:
        for folder in sweep(base, prefix, user_id()):
            cluster = folder.name.removeprefix(prefix).split(".")[0]
            shutil.rmtree(clusters_folder() / cluster, ignore_errors=True)
    for folder in clusters_folder().iterdir():
        # A pool that is just starting has its folder before it has its store.
        with contextlib.suppress(FileNotFoundError):
            age_s = time.time() - folder.stat().st_mtime
            stores = [base / f"{prefix}{folder.name}" for base in bases]
            if age_s > 2 * START_TIMEOUT_S and not any(store.exists() for store in stores):
                shutil.rmtree(folder, ignore_errors=True)
