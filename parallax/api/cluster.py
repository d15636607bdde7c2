"""The session's own verbs: init, shutdown, and what there is to see."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from parallax.errors import ClusterLostError
from parallax.ids import hex_id
from parallax.reprs import HtmlRepr, Rows, plural
from parallax.sessions import current as _current
from parallax.sessions.current import begin, current, end, existing
from parallax.sessions.frames import callers_line
from parallax.sessions.start import StartOptions


class Session(HtmlRepr):
    """The connection that `init` made. A context manager that shuts it down at its end.

    Thread-safe. Its repr asks the hub once.

        >>> import parallax as px
        >>> session = px.init()
        >>> session.closed, len(session.cluster)
        (False, 12)
    """

    def __init__(self) -> None:
        self._session = current()

    @property
    def cluster(self) -> str:
        """The name of the cluster: 12 hexadecimal digits."""
        return self._session.cluster

    @property
    def name(self) -> str:
        """The pool's name, empty for one that ends with this process."""
        return self._session.name

    @property
    def namespace(self) -> str:
        """Where actors' names live."""
        return self._session.namespace

    @property
    def closed(self) -> bool:
        """Whether it was shut down, or its cluster lost."""
        return self._session.closed

    def shutdown(self) -> None:
        """Leave the cluster; end it when this session started it."""
        if _current.existing() is self._session:
            end()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        if self.closed:
            return f"<parallax session {self.name or self.cluster}: closed>"
        try:
            total = self._session.ask("resources")["total"]
            engines = sum(len(node["engines"]) for node in self._session.ask("nodes"))
        except ClusterLostError:
            return f"<parallax session {self.name or self.cluster}: lost>"
        ready = plural(engines, "engine") if engines else "engines starting"
        return (
            f"<parallax session {self.name or self.cluster}: "
            f"{plural(total.get('CPU', 0), 'CPU')}, {ready}>"
        )


def init(
    address: str | os.PathLike[str] | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    memory: float | None = None,
    object_store_memory: int | None = None,
    name: str | None = None,
    namespace: str | None = None,
    env_vars: Mapping[str, str] | None = None,
    seed: int | None = None,
    log_to_driver: bool = True,
    ignore_reinit_error: bool = False,
) -> Session:
    """Start an engine pool on this machine, or join one that runs.

    Not needed before the first task: any verb starts a pool by itself. Blocks until the hub
    answers, for some tenths of a second where a pool is started; the engines start meanwhile.

        >>> import parallax as px
        >>> with px.init(num_cpus=2) as session:  # doctest: +SKIP
        ...     px.get(px.remote(sum).remote([1, 2]))
        3

    Args:
        address: None for a pool of this process; a pool's name or connection file; ``"inline"``
            runs everything at once in this process, for debuggers and unit tests. Defaults to
            ``$PARALLAX_ADDRESS``.
        num_cpus: cores for tasks (those that this process may use).
        num_gpus: GPUs for tasks (those that this process sees).
        resources: custom resources, names to amounts.
        memory: bytes that tasks may reserve (70 % of the host's).
        object_store_memory: bytes of shared memory for objects (30 % of the host's, and never
            more than there is); beyond it the oldest objects spill to disk.
        name: give the pool a name and let it outlive this process; `init` with the same name
            finds it again, from any notebook of this user.
        namespace: where names of actors live.
        env_vars: environment variables of the engines; inline, of this process, until the
            session ends.
        seed: seed `random` and NumPy in each task, from this and the task's position: results
            do not depend on the number of engines.
        log_to_driver: show here what tasks print.
        ignore_reinit_error: when there is a session, keep it instead of raising.

    Raises:
        UsageError: arguments that make no sense, a session with other arguments, or no pool at
            that address.
        ClusterLostError: the pool does not start, or does not answer.
    """
    with callers_line:
        options = StartOptions(
            address=os.fspath(address) if isinstance(address, os.PathLike) else address,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=_copied(resources),
            memory=memory,
            object_store_memory=object_store_memory,
            name=name,
            namespace=namespace,
            env_vars=_copied(env_vars),
            seed=seed,
            log_to_driver=log_to_driver,
        )
        options.check()
        begin(options, ignore_reinit_error=ignore_reinit_error)
        return Session()


def _copied(given: Mapping[str, Any] | None) -> Any:
    """The caller may change its own; what is no mapping is refused later."""
    return dict(given or {}) if given is None or isinstance(given, Mapping) else given


def shutdown() -> None:
    """Leave the cluster, and end it when this process started it. Twice does no harm.

    Blocks until the processes have ended, tenths of a second. Refs of the session are stale
    afterwards; functions work in the next session. In a task it does nothing.

        >>> import parallax as px
        >>> px.shutdown()
        >>> px.is_initialized()
        False
    """
    end()


def is_initialized() -> bool:
    """Whether there is a session that works. Starts none, and returns at once.

    >>> import parallax as px
    >>> session = px.init()
    >>> px.is_initialized()
    True
    """
    return existing() is not None


def nodes() -> list[dict[str, Any]]:
    """The hosts of the cluster, with their resources and engines, as plain data.

    One round trip to the hub; a notebook shows a table.

        >>> import parallax as px
        >>> [node["alive"] for node in px.nodes()]
        [True]

    Returns:
        For each host its number (``node``), ``host``, the ``pid`` of its node agent, ``alive``,
        ``resources`` and ``available`` by name, and its ``engines`` with number, pid, state and
        the name of what each is ``running``.
    """
    return Rows(current().ask("nodes"), ("node", "host", "engines", "free"), _node_cells)


def _node_cells(node: dict[str, Any]) -> tuple[Any, ...]:
    engines = node["engines"]
    busy = sum(engine["state"] != "idle" for engine in engines)
    free = ", ".join(
        f"{name} {_amount(name, node['available'].get(name, 0))} of {_amount(name, total)}"
        for name, total in node["resources"].items()
    )
    return str(node["node"]), node["host"], f"{len(engines)}, {busy} busy", free


def _amount(name: str, amount: float) -> str:
    return f"{amount / 2**30:.1f} GiB" if name == "memory" else f"{amount:g}"


def cluster_resources() -> dict[str, float]:
    """What the cluster has in all, by name; memory in bytes. One round trip to the hub.

    >>> import parallax as px
    >>> sorted(px.cluster_resources())
    ['CPU', ...'memory']
    """
    return dict(current().ask("resources")["total"])


def available_resources() -> dict[str, float]:
    """What no task has reserved now, by name; memory in bytes. One round trip to the hub.

    >>> import parallax as px
    >>> px.available_resources()["CPU"] <= px.cluster_resources()["CPU"]
    True
    """
    return dict(current().ask("resources")["available"])


@dataclass(frozen=True, slots=True)
class RuntimeContext(HtmlRepr):
    """Where the calling code runs. Ids are empty, and numbers 0, outside of tasks.

    Attributes:
        task_id: the running task, as 16 hexadecimal digits.
        task_name: its name.
        job_id: the job that it belongs to.
        attempt_number: 0 at its first attempt.
        node_id: the number of the node.
        engine_id: the number of the engine.
        resources: what the task has reserved.
        namespace: of the session.
        actor_id: the actor, as 16 hexadecimal digits; empty outside of actors.
    """

    task_id: str
    task_name: str
    job_id: str
    attempt_number: int
    node_id: int
    engine_id: int
    resources: dict[str, float]
    namespace: str
    actor_id: str = ""

    def is_canceled(self) -> bool:
        """Whether the running task was cancelled, for loops that would stop by themselves."""
        return bool(current().context()["cancelled"])


def get_runtime_context() -> RuntimeContext:
    """Where the calling code runs: task, node and engine.

    Returns at once; in a task it takes a round trip to the hub for the namespace, once a job.

    >>> import parallax as px
    >>> @px.remote
    ... def attempt():
    ...     return px.get_runtime_context().attempt_number
    >>> px.get(attempt.remote())
    0
    """
    session = current()
    facts = session.context()
    return RuntimeContext(
        task_id=hex_id(facts["task"]) if facts["task"] else "",
        task_name=facts["task_name"],
        job_id=hex_id(facts["job"]) if facts["job"] else "",
        attempt_number=facts["attempt"],
        node_id=facts["node"],
        engine_id=facts["engine"],
        resources=facts["resources"],
        namespace=session.namespace,
        actor_id=hex_id(facts["actor"]) if facts["actor"] else "",
    )


def timeline(path: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """What ran where and when, as a Chrome trace (open it in ui.perfetto.dev).

    One round trip to the hub, whatever runs; costs some microseconds a task.

        >>> import parallax as px
        >>> px.get(px.remote(abs).remote(-1))
        1
        >>> [event["ph"] for event in px.timeline()][-1:]
        ['X']

    Args:
        path: also write it there, as JSON.

    Returns:
        One complete event a finished task, times in microseconds; the newest 100,000.

    Raises:
        OSError: it cannot be written there.
    """
    rows = current().ask("timeline")
    events: list[dict[str, Any]] = [
        {
            "name": name,
            "cat": "task",
            "ph": "X",
            "ts": started_at * 1e6,
            "dur": duration_s * 1e6,
            "pid": "engines",
            "tid": f"engine {engine}",
            "args": {"task": hex_id(task), "job": hex_id(job)},
        }
        for name, task, job, engine, started_at, duration_s in rows
    ]
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events}, file)
    return events
