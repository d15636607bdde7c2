"""The rows of the hub's tables. Plain fields: a million of them must fit and be quick.

Tasks and objects are `msgspec.Struct`s for the speed of their construction, and hidden from the
garbage collector (`gc=False`), which would otherwise visit a million of them again and again. So
nothing may leave a cycle through them: a task that leaves its engine forgets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import msgspec

from parallax.core.durations import DurationEstimate
from parallax.core.states import TaskState
from parallax.messages import CONSTRUCTOR, Arguments, EngineExited, TemplateDefined, Value

if TYPE_CHECKING:
    from parallax.core.actor_records import ActorRecord
    from parallax.core.jobs import FunctionCounts, JobRecord
    from parallax.core.ready import Lane, Shape
    from parallax.core.resources import NodeRecord, Stock
    from parallax.core.timers import Timer

NOTHING: list[int] = []
"""Shared by all tasks without arguments from elsewhere, and never changed."""


class Blob:
    """A piece of code. It lives while a client that sent it, or a template, needs it."""

    __slots__ = ("__weakref__", "data", "key")

    def __init__(self, key: bytes, data: bytes) -> None:
        self.key = key
        self.data = data


class Template:
    """What many tasks share: a function, its options, its measured duration."""

    __slots__ = (
        "__weakref__",
        "blobs",
        "captures",
        "duration",
        "id",
        "shape",
        "solo",
        "spec",
        "uses",
        "variants",
    )

    def __init__(self, spec: TemplateDefined, shape: Shape, blobs: list[Blob]) -> None:
        self.id = spec.template
        self.spec = spec
        self.shape = shape
        self.blobs = blobs
        self.duration = DurationEstimate()
        self.uses: set[tuple[int, tuple[int, int, Shape]]] = set()
        """Where its tasks count: jobs, by number, and the keys of their groups."""
        self.solo = bool(spec.timeout_s or spec.max_calls or spec.role == CONSTRUCTOR)
        """Never queued behind another task: its clock, or what becomes of the engine, is its
        own."""
        self.captures = spec.capture
        """What its tasks submit runs in their placement group, unless it says where."""
        self.variants: WeakKeyDictionary[Shape, Template] | None = None
        """The same for tasks that run in the group of those that submit them, by whose shape."""

    def inside(self, task: TaskRecord | None) -> Template:
        """This template for what a task submits: in its placement group, if the task captures
        that, and unless the template has a place of its own."""
        if task is None or not task.group.template.captures:
            return self
        shape, parent = self.shape, task.group.template
        if shape.group is not None or shape.spread or shape.affinity >= 0:
            return self
        if self.variants is None:
            self.variants = WeakKeyDictionary()
        variant = self.variants.get(parent.shape)
        if variant is None:
            within = parent.shape.within(shape.demand)
            variant = self.variants[parent.shape] = Template(self.spec, within, self.blobs)
            variant.captures = True
            variant.duration = self.duration
            variant.uses = self.uses
        return variant


class Group:
    """The tasks of one template at one depth of one job: where they count, and where they queue."""

    __slots__ = ("counts", "job", "lane", "template")

    def __init__(self, template: Template, job: JobRecord, lane: Lane) -> None:
        self.template = template
        self.job = job
        self.lane = lane
        self.counts: FunctionCounts = job.of(template.spec.name)


class TaskRecord(msgspec.Struct, gc=False, eq=False):
    """One task between its submission and its end, and after it what could rebuild its results."""

    id: int
    group: Group
    owner: int
    """The client that submitted it."""
    args: Arguments
    deps: list[int]
    """Objects whose values it takes."""
    refs: list[int]
    """Objects to which it has references."""
    seed: int
    returns: int
    """How many objects it makes; their ids follow one another from its own."""
    retries_left: int
    """Negative: without limit."""
    order: int
    """Which it was of all calls that were submitted: older ones run first."""
    chunk: bool = False
    parent: int = 0
    state: TaskState = TaskState.WAITING
    waiting: int = 0
    """Arguments that have no value yet."""
    attempt: int = 0
    engine: EngineRecord | None = None
    planned_s: float = 0.0
    """What it was thought to take when it was queued at its engine."""
    values: list[Value] | None = None
    """Of its arguments, as sent to its engine."""
    children: set[int] | None = None
    cancelled: str = ""
    """Why it was cancelled: ``cancelled``, ``timeout``."""
    skipped: list[int] | None = None
    """Of a chunk: the items that were cancelled."""
    stream: Stream | None = None
    pins: tuple[list[int], list[int]] | None = None
    """Of a task that has ended: arguments kept by value, and by lineage."""
    retained: int = 0
    """Of a task that has ended: how many living objects it could rebuild."""
    actor: ActorRecord | None = None
    """The actor that it makes, or calls."""
    turn: int = 0
    """Of a call: see `parallax.messages.Assignment`."""
    durable: bool = False
    """It is in the journal, or was submitted by one that is: it goes on without its client."""

    @property
    def is_call(self) -> bool:
        """Is it a call of an actor? Those wait for their actor, and not for any engine."""
        return self.actor is not None and self.actor.id != self.id

    @property
    def name(self) -> str:
        """The function's name, or the one given by `options`."""
        return self.group.template.spec.name


class Stream:
    """The items of a streaming task that were seen so far."""

    __slots__ = ("consumed", "count")

    def __init__(self) -> None:
        self.count = 0
        self.consumed = 0


class ObjectRecord(msgspec.Struct, gc=False, eq=False):
    """One object: its value once there, and everybody who counts on it.

    It is *pending* while it has no value and was not freed: some task will make it.
    """

    id: int
    owner: int
    """The client that hears of its value unasked, 0 for none."""
    task: TaskRecord | None
    """What makes its value now, or could make it again."""
    job: int = 0
    refs: int = 0
    """Uses of its value."""
    lineage: int = 0
    """Tasks that ended and could run again only with its value."""
    value: Value | None = None
    freed: bool = False
    waiters: list[TaskRecord] | None = None
    """Tasks that wait for the value."""
    wanted: list[int] | None = None
    """Clients besides the owner that wait for it."""
    contained: list[int] | None = None
    """Objects to which the value has references."""

    @property
    def pending(self) -> bool:
        """Has it no value yet, or not again?"""
        return self.value is None and not self.freed

    def wait(self, task: TaskRecord) -> None:
        """Tell this task of the value when it is there."""
        if self.waiters is None:
            self.waiters = [task]
        else:
            self.waiters.append(task)


class PeerRecord:
    """A client of the hub: a driver, or an engine or a node in its role as a client."""

    __slots__ = (
        "blobs",
        "engine",
        "held",
        "name",
        "node",
        "number",
        "owner",
        "pid",
        "role",
        "templates",
    )

    def __init__(self, number: int, role: str, pid: int, name: str, *, owner: bool) -> None:
        self.number = number
        self.role = role
        self.pid = pid
        self.name = name
        self.owner = owner
        self.held: set[int] = set()
        self.blobs: dict[bytes, list[Blob]] = {}
        """As often as it has defined them."""
        self.templates: dict[int, Template] = {}
        self.engine: EngineRecord | None = None
        self.node: NodeRecord | None = None


class EngineRecord:
    """One engine process and its run-queue; the head of the queue is what it computes."""

    __slots__ = (
        "actor",
        "blobs",
        "blocked",
        "calls",
        "condemned",
        "dying",
        "exit",
        "fallen_silent",
        "gpus",
        "leased_at",
        "load_s",
        "moved_at",
        "node",
        "number",
        "patience",
        "peer",
        "pid",
        "queue",
        "recalling",
        "resuming",
        "shape",
        "solo",
        "stock",
        "templates",
        "timer",
        "waiting",
    )

    def __init__(self, number: int, node: NodeRecord, peer: int, pid: int) -> None:
        self.number = number
        self.node = node
        self.peer = peer
        self.pid = pid
        self.queue: dict[int, TaskRecord] = {}
        """Task id → task, in run order (dicts keep it; removal from the middle is O(1))."""
        self.shape: Shape | None = None
        """What it holds a lease for; None while it is idle."""
        self.stock: Stock = node
        """What its lease takes from: the node, or a bundle there."""
        self.gpus: list[int] = []
        self.leased_at = 0.0
        self.moved_at = 0.0
        """When its head began, as far as the hub can tell."""
        self.load_s = 0.0
        self.blocked = 0
        """The task that waits in `get`, 0 for none."""
        self.resuming = 0
        """The task that goes on in a moment, since all its nested tasks have ended; 0 for none."""
        self.patience: Timer | None = None
        """Runs out if it waits on all the same."""
        self.condemned = 0
        """The chunk of which its node was to kill one item, 0 for none."""
        self.recalling = False
        self.solo = False
        """It runs a task behind which nothing may be queued."""
        self.timer: Timer | None = None
        """The clock of its task that has `timeout_s`."""
        self.dying = ""
        """Why it will end soon; it gets no work any more."""
        self.exit: EngineExited | None = None
        """What its node has told of its end."""
        self.fallen_silent = False
        """Whether its link has ended."""
        self.templates: set[int] = set()
        """Those that it was told of."""
        self.blobs: dict[bytes, int] = {}
        """How many of them need a piece of code that it has."""
        self.calls: dict[int, int] = {}
        self.waiting: dict[int, None] = {}
        """Of an actor: calls that wait in `get`; `blocked` is one of them."""
        self.actor: ActorRecord | None = None
        """The actor that lives here, to which the engine belongs from then on until it ends."""

    @property
    def counts(self) -> bool:
        """Is it one of those that the node keeps for tasks?"""
        return not self.dying and self.actor is None
