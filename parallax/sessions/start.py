"""From the arguments of `init` to a session."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from parallax.errors import ClusterLostError, UsageError
from parallax.net.connection import Connection
from parallax.net.shield import Shield
from parallax.options import check_amount, check_resources
from parallax.pool import local
from parallax.pool.paths import connection_file
from parallax.pool.resources import detect_resources
from parallax.sessions.protocol import Session

if TYPE_CHECKING:
    from parallax.pool.client import Client

MIN_STORE_BYTES = 1 << 20
"""Less than one large value is no store."""


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """The arguments of `init`, as given."""

    address: str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    memory: float | None = None
    object_store_memory: int | None = None
    name: str | None = None
    namespace: str | None = None
    env_vars: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    log_to_driver: bool = True

    def check(self) -> None:
        """Raise `UsageError` for the first value that makes no sense."""
        for name in ("address", "name", "namespace"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise UsageError(f"{name}={value!r} must be a string.")
        if self.address is not None and self.name is not None:
            raise UsageError("give an address to join a pool, or a name to start one, not both.")
        if self.name == "":
            raise UsageError(
                "name='' must not be empty; without a name the pool is this process's."
            )
        for name in ("num_cpus", "num_gpus", "memory", "object_store_memory"):
            if (value := getattr(self, name)) is not None:
                check_amount(name, value)
        if self.object_store_memory is not None and self.object_store_memory < MIN_STORE_BYTES:
            raise UsageError(
                f"object_store_memory={self.object_store_memory!r}: at least 1 MiB, in bytes."
            )
        check_resources(self.resources)
        if not isinstance(self.env_vars, Mapping):
            raise UsageError(f"env_vars={self.env_vars!r} must be a dict of names to values.")
        for variable in self.env_vars.items():
            if not all(isinstance(part, str) and "\0" not in part for part in variable):
                raise UsageError(
                    f"env_vars: the name {variable[0]!r} and its value, of type "
                    f"{type(variable[1]).__name__}, must be strings without null characters."
                )
            if not variable[0] or "=" in variable[0]:
                raise UsageError(f"env_vars: {variable[0]!r} cannot be the name of a variable.")
        if self.seed is not None and (
            isinstance(self.seed, bool) or not isinstance(self.seed, int)
        ):
            raise UsageError(f"seed={self.seed!r} must be an int, or None.")

    def differences(self, other: StartOptions) -> str:
        """What differs, as these options have it and as the others do."""
        return ", ".join(
            f"{name}={self._shown(name)} instead of {other._shown(name)}"
            for name in (field.name for field in fields(self))
            if getattr(self, name) != getattr(other, name)
        )

    @property
    def of_a_new_pool(self) -> str:
        """The given arguments that mean something for a new pool only."""
        names = ("num_cpus", "num_gpus", "resources", "memory", "object_store_memory", "env_vars")
        default = StartOptions()
        given = [name for name in names if getattr(self, name) != getattr(default, name)]
        return ", ".join(f"{name}={self._shown(name)}" for name in given)

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        # Their values may be secrets.
        return f"<{len(value)} variables>" if name == "env_vars" else repr(value)

    @property
    def pool(self) -> local.PoolRequest:
        """The part that concerns a new pool."""
        return local.PoolRequest(
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
            resources=dict(self.resources),
            memory=self.memory,
            object_store_memory=int(self.object_store_memory) if self.object_store_memory else None,
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

        return InlineSession(
            resources,
            namespace=options.namespace or "",
            env_vars=options.env_vars,
            seed=options.seed,
        )
    if address is not None and address.split(":")[0] == "ray":
        raise UsageError("sessions on Ray clusters are not part of this version yet.")
    if address is not None:
        return _join_running(_find(address), options)
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
    called_at = time.time()
    connection, note = local.join_or_start(options.pool)
    _tell(note)
    if connection.started_at < called_at:
        return _join_running(connection, options)
    return _join(connection, options)


def _join_running(connection: Connection, options: StartOptions) -> Session:
    """Join a pool that is what it is, whatever was asked for."""
    if ignored := options.of_a_new_pool:
        which = connection.name or connection.cluster
        _tell(f"the pool {which} runs already; of no effect on it: {ignored}.")
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
    from parallax.pool.farewell import leave_at_exit

    client = Client(connection, "client")
    client.connect(alive=lambda: local.is_running(connection))
    leave_at_exit(client)
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
