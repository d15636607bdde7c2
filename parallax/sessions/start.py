"""From the arguments of `init` to a session."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parallax.errors import ClusterLostError, UsageError
from parallax.net.connection import Connection
from parallax.net.shield import Shield
from parallax.pool import local
from parallax.pool.paths import connection_file
from parallax.pool.resources import detect_resources
from parallax.sessions.protocol import Session

if TYPE_CHECKING:
    from parallax.pool.client import Client


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """The arguments of `init`, as given."""

    address: str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: tuple[tuple[str, float], ...] = ()
    memory: float | None = None
    object_store_memory: int | None = None
    name: str | None = None
    namespace: str | None = None
    env_vars: tuple[tuple[str, str], ...] = ()
    seed: int | None = None
    log_to_driver: bool = True

    @property
    def pool(self) -> local.PoolRequest:
        """The part that concerns a new pool."""
        return local.PoolRequest(
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
            resources=dict(self.resources),
            memory=self.memory,
            object_store_memory=self.object_store_memory,
            env_vars=dict(self.env_vars),
            name=self.name or "",
        )


def start(options: StartOptions) -> Session:
    """Start or join what the options name.

    Raises:
        UsageError: the address names nothing that runs.
        ClusterLostError: it does not answer.
    """
    address = options.address or os.environ.get("PARALLAX_ADDRESS") or None
    if address == "inline":
        request = options.pool
        resources = detect_resources(
            request.num_cpus, request.num_gpus, request.memory, request.resources
        )
        from parallax.sessions.inline import InlineSession  # late: few processes need it

        return InlineSession(resources, namespace=options.namespace or "", seed=options.seed)
    if address is not None and address.split(":")[0] == "ray":
        raise UsageError("sessions on Ray clusters are not part of this version yet.")
    if address is not None:
        return _join(_find(address), options)
    if options.name:
        return _join_or_start(options)
    process: local.PoolProcess | None = None
    try:
        with Shield():  # an interrupt half way would leave a process that nobody knows
            process, connection = local.start_pool(options.pool, owner_pid=os.getpid())
        client = _enter(process, connection)
    except BaseException:
        if process is not None:
            process.abandon()
        raise
    process.owned_by(client)
    _tell(process.note)
    return _session(client, options, on_close=process.stop)


def _enter(process: local.PoolProcess, connection: Connection) -> Client:
    # Late: while this process imports the rest, the hub starts on another core.
    from parallax.pool.client import Client

    try:
        client = Client(connection, "client", owner=True)
        client.connect(alive=process.alive)
    except ClusterLostError as error:
        process.explain(error)
    return client


def _join_or_start(options: StartOptions) -> Session:
    """`init(name=...)`: the pool of that name when it runs, else a new one that outlives us."""
    connection, note = local.join_or_start(options.pool)
    _tell(note)
    return _join(connection, options)


def _tell(note: str) -> None:
    if note:
        print(f"parallax: {note}", file=sys.stderr)


def _find(address: str) -> Connection:
    """The connection of a pool's name or a connection file."""
    path = Path(address)
    if not (path.suffix == ".json" or os.sep in address):
        path = connection_file(address)
    connection = local.running(path)
    if connection is None:
        names = local.running_names()
        there = f"Pools that run: {', '.join(names)}." if names else "No named pool runs."
        raise UsageError(
            f"no pool runs at {address!r}. {there} Start one with "
            f"`parallax start --name {path.stem.removeprefix('parallax-')}`, or call "
            "parallax.init() without an address for one of your own."
        )
    return connection


def _join(connection: Connection, options: StartOptions) -> Session:
    from parallax.pool.client import Client  # late, as above

    client = Client(connection, "client")
    client.connect(alive=lambda: local.is_running(connection))
    return _session(client, options)


def _session(
    client: Client, options: StartOptions, on_close: local.CloseClient | None = None
) -> Session:
    from parallax.sessions.pool import PoolSession  # late, as above

    return PoolSession(
        client,
        name=client.connection.name,
        namespace=options.namespace or "",
        seed=options.seed,
        log_to_driver=options.log_to_driver,
        on_close=on_close,
    )
