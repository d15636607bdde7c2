"""The rows of the hub's tables. Slots and plain fields: a million of them must fit and be quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from parallax.core.durations import DurationEstimate
from parallax.core.states import TaskState
from parallax.messages import Arguments, TaskSpec, TemplateDefined, Value

if TYPE_CHECKING:
    from parallax.core.jobs import JobRecord
    from parallax.core.ready import Shape
    from parallax.core.resources import Demand, NodeRecord


class Template:
    """What many tasks share: a function, its options, its measured duration."""

    __slots__ = ("duration", "id", "on_begin", "owner", "shape", "solo", "spec")

    def __init__(self, spec: TemplateDefined, owner: int, shape: Shape) -> None:
        self.id = spec.template
        self.spec = spec
        self.owner = owner
        self.shape = shape
        self.duration = DurationEstimate()
        self.on_begin: Callable[[TaskRecord, float], None] | None = None
        # Such a task is never queued behind another: its clock, or the engine's end, is its own.
        self.solo = bool(spec.timeout_s or spec.max_calls)


class TaskRecord:
    """One task between its submission and its end."""

    __slots__ = (
        "args",
        "attempt",
        "cancelled",
        "children",
        "chunk",
        "deps",
        "depth",
        "engine",
        "id",
        "items",
        "job",
        "owner",
        "parent",
        "pins",
        "planned_s",
        "refs",
        "retained",
        "retries_left",
        "returns",
        "seed",
        "skipped",
        "state",
        "template",
        "waiting",
    )

    def __init__(
        self, spec: TaskSpec, template: Template, job: JobRecord, owner: int, returns: int
    ) -> None:
        self.id = spec.id
        self.template = template
        self.job = job
        self.owner = owner
        self.args: Arguments = spec.args
        self.deps = spec.deps
        self.refs = spec.refs
        self.seed = spec.seed
        self.returns = returns
        self.chunk = False
        self.state = TaskState.WAITING
        self.waiting = 0
        self.attempt = 0
        self.retries_left = template.spec.max_retries
        self.engine: EngineRecord | None = None
        self.depth = 0
        self.parent = 0
        self.children: set[int] | None = None
        self.cancelled = ""
        self.skipped: list[int] | None = None
        self.items: Stream | None = None
        self.pins: tuple[list[int], list[int]] | None = None
        """Of a retained task: arguments kept by value, and by lineage."""
        self.retained = 0
        """How many living objects this task could rebuild."""
        self.planned_s = 0.0
        """What it was thought to take when it was queued at its engine."""


class Stream:
    """The items of a streaming task that were seen so far."""

    __slots__ = ("consumed", "ids")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.consumed = 0


class ObjectRecord:
    """One object: its value once there, and everybody who counts on it."""

    __slots__ = (
        "contained",
        "freed",
        "id",
        "job",
        "lineage",
        "owner",
        "refs",
        "task",
        "value",
        "waiters",
        "wanted",
    )

    def __init__(self, object_id: int, owner: int, task: TaskRecord | None) -> None:
        self.id = object_id
        self.owner = owner
        self.task = task
        """What could make the value again, or makes it now."""
        self.job = task.job.id if task is not None else 0
        self.value: Value | None = None
        self.refs = 0
        self.lineage = 0
        self.freed = False
        self.waiters: list[TaskRecord] | None = None
        self.wanted: list[int] | None = None
        self.contained: list[int] | None = None


class PeerRecord:
    """A client of the hub: a driver, or an engine in its role as a client."""

    __slots__ = ("engine", "held", "jobs", "name", "node", "number", "owner", "pid", "role")

    def __init__(self, number: int, role: str, pid: int, name: str, *, owner: bool) -> None:
        self.number = number
        self.role = role
        self.pid = pid
        self.name = name
        self.owner = owner
        self.held: set[int] = set()
        self.jobs: list[int] = []
        self.engine: EngineRecord | None = None
        self.node: NodeRecord | None = None


class EngineRecord:
    """One engine process and its run-queue; the head of the queue is what it computes."""

    __slots__ = (
        "blobs",
        "blocked",
        "calls",
        "dying",
        "gpus",
        "lease",
        "load_s",
        "moved_at",
        "node",
        "number",
        "oom",
        "peer",
        "pid",
        "queue",
        "recalling",
        "solo",
        "templates",
    )

    def __init__(self, number: int, node: NodeRecord) -> None:
        self.number = number
        self.node = node
        self.peer = 0
        """0 until the process has said hello."""
        self.pid = 0
        self.queue: dict[int, TaskRecord] = {}
        """Task id → task, in run order (dicts keep it; removal from the middle is O(1))."""
        self.load_s = 0.0
        self.lease: Demand | None = None
        self.gpus: list[int] = []
        self.blocked = 0
        self.recalling = False
        self.solo = False
        """It runs a task behind which nothing may be queued."""
        self.dying = ""
        self.oom = False
        self.moved_at = 0.0
        self.templates: set[int] = set()
        self.blobs: set[bytes] = set()
        self.calls: dict[int, int] = {}
