"""The pools that run on this host, whether this process is connected to them or not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from parallax.api.jobs import totals_of
from parallax.errors import ClusterLostError, JournalError, UsageError
from parallax.ids import hex_id
from parallax.net.connection import Connection
from parallax.pool import local
from parallax.pool.config import PoolConfig
from parallax.pool.paths import PREFIX, clusters_folder, runtime_folder
from parallax.reprs import as_code
from parallax.sessions.current import existing

ANSWER_S = 5.0
"""A hub answers in a millisecond; one that is silent for so long is stopped or hangs."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of this user that runs on this host, as `pools` found it.

    Attributes:
        name: what it was started as; empty for a pool that ends with its owner.
        cluster: 12 hexadecimal digits.
        pid: of its hub.
        started_at: seconds since the epoch.
        owner_pid: the process whose end is the end of the pool; 0 for a named pool.
        directory: its sockets and logs; removed with the pool.
    """

    name: str
    cluster: str
    pid: int
    started_at: float
    owner_pid: int
    directory: Path
    _connection: Connection = field(repr=False)
    _config: PoolConfig = field(repr=False)

    @property
    def connection_file(self) -> Path:
        """What `parallax.init` takes as an address; the name does for a named pool."""
        return self.directory / "connection.json"

    @property
    def owner(self) -> str:
        """The command of the owner, empty for a named pool."""
        import psutil  # late: no start needs it

        with contextlib.suppress(psutil.Error):
            if self.owner_pid:
                return " ".join(psutil.Process(self.owner_pid).cmdline())
        return ""

    @property
    def logs(self) -> dict[str, Path]:
        """The log files by who writes them: ``hub`` (and node agent), then ``engine 1`` ..."""
        engines = [
            (int(path.stem.removeprefix("engine-")), path)
            for path in self.directory.glob("engine-*.log")
        ]
        found = {"hub": self.directory / "hub.log"}
        found.update((f"engine {number}", path) for number, path in sorted(engines))
        return found

    def snapshot(self, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """The pool as it is now, as plain data: nodes, engines, resources, store and jobs.

        Joins the pool for a moment; this process's own session stays what it is.

        Raises:
            ClusterLostError: the hub does not answer within `timeout_s` seconds.
        """
        with self._asking(timeout_s) as ask:
            resources, nodes, jobs = ask("resources"), ask("nodes"), ask("jobs")
        return {
            **self.facts(),
            "resources": resources["total"],
            "available": resources["available"],
            "nodes": nodes,
            "object_store": self._store_usage(),
            "jobs": [_job(row) for row in jobs],
        }

    @property
    def journal(self) -> Path | None:
        """The folder of what a named pool keeps beyond its end; None when it keeps nothing."""
        folder = Path(self._config.journal)
        return folder if self.name and self._config.journal and folder.exists() else None

    def stop(self, timeout_s: float = 10.0, *, keep: bool = False) -> bool:
        """End the pool, and return when none of its processes and segments is left.

        Args:
            timeout_s: seconds for the pool to end by itself; then it is killed.
            keep: whether to leave its journal: then kept results are there when a pool of this
                name is started anew. Else they go with the pool.

        Returns:
            Whether it ended by itself.

        Raises:
            ClusterLostError: something of it is still there; says what.
        """
        from parallax.pool.ending import drop_journal, end_pool  # late: few processes need it

        orderly = end_pool(self._connection, self._config, timeout_s)
        if not keep and (folder := self.journal) is not None:
            with contextlib.suppress(JournalError):  # it never was this pool's, but another's
                drop_journal(folder)
        return orderly

    @contextmanager
    def _asking(self, timeout_s: float) -> Iterator[Callable[[str], Any]]:
        session = existing()
        if session is not None and session.cluster == self.cluster:
            # A second client would take the refs of this process's own.
            yield session.ask
            return
        from parallax.pool.client import Client  # late: few processes need it

        deadline = time.monotonic() + timeout_s
        client = Client(self._connection, "client")
        client.connect(lambda: time.monotonic() < deadline and local.is_running(self._connection))
        try:
            yield lambda what: client.ask(what, timeout_s=timeout_s)
        finally:
            client.close()

    def facts(self) -> dict[str, Any]:
        """What is known without asking the pool, as plain data: the attributes."""
        return {
            "name": self.name,
            "cluster": self.cluster,
            "pid": self.pid,
            "started_at": self.started_at,
            "owner_pid": self.owner_pid,
            "owner": self.owner,
            "directory": str(self.directory),
            "connection_file": str(self.connection_file),
        }

    def _store_usage(self) -> dict[str, Any]:
        config = self._config
        root = Path(config.store)
        if not root.exists():
            raise ClusterLostError(f"the pool {self!r} has ended.")
        from parallax.store.shared import SharedStore  # late, as above

        with SharedStore(
            root, limit_bytes=config.store_limit_bytes, spill_dir=Path(config.spill)
        ) as store:
            return {"directory": config.store, **asdict(store.usage())}

    def __repr__(self) -> str:
        what = repr(self.name) if self.name else f"{self.cluster} of pid {self.owner_pid}"
        return f"<pool {what}: pid {self.pid}>"

    def _repr_html_(self) -> str:
        return as_code(repr(self))


def pools(*, embedded: bool = False) -> list[Pool]:
    """The named pools of this user that run on this host, by name. Joins none of them.

    Costs a look at a few files; does not block on pools that hang.

        >>> import parallax as px
        >>> [pool.name for pool in px.pools()]  # doctest: +SKIP
        ['nightly']

    Args:
        embedded: also those that cannot be joined by name: they have none and end with the
            process that started them, or their connection file is in another folder.
    """
    found = _pools(runtime_folder().glob(f"{PREFIX}-*.json"))
    if embedded:
        known = {pool.cluster for pool in found}
        others = _pools(clusters_folder().glob("*/connection.json"))
        found += [pool for pool in others if pool.cluster not in known]
    return found


def _pools(paths: Iterable[Path]) -> list[Pool]:
    return [pool for path in sorted(paths) if (pool := _pool(path)) is not None]


def _pool(path: Path) -> Pool | None:
    try:
        connection = local.running(path)
    except UsageError:  # of another version: to be listed by that one
        return None
    if connection is None:
        return None
    directory = Path(connection.directory)
    try:
        config = PoolConfig.load(str(directory / "config.json"))
    except FileNotFoundError:  # it ends just now
        return None
    return Pool(
        name=connection.name,
        cluster=connection.cluster,
        pid=connection.pid,
        started_at=connection.started_at,
        owner_pid=config.owner_pid,
        directory=directory,
        _connection=connection,
        _config=config,
    )


def _job(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": hex_id(row["id"]),
        "name": row["name"],
        "state": row["state"],
        "cell": row["cell"],
        "started_at": row["started_at"],
        "tasks": totals_of(row),
    }
