"""Which ready task runs where: leases, prefetch, taking back, and how many engines there are.

An engine that runs tasks of one shape holds a *lease* on that shape's resources for as long as
its run-queue is not empty; further tasks of the shape may follow it there without asking again.
Work is pulled, not pushed: an engine that finishes takes its next tasks from the ready queue in
O(1), and only what changed in a batch of events is looked at again.
"""

from __future__ import annotations

import itertools

from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.ready import Shape
from parallax.core.records import EngineRecord, TaskRecord, Template
from parallax.core.resources import Demand, NodeRecord
from parallax.core.states import TaskState
from parallax.core.timers import Timers
from parallax.messages import (
    Assignment,
    BlobDefined,
    EnginesWanted,
    EngineUnwanted,
    Stored,
    TasksRecalled,
    Value,
)

PREFETCH_S = 0.006
"""Work queued ahead at an engine: several round trips, yet soon over."""
PREFETCH_MAX = 256
"""Tasks queued ahead at an engine, however short they are."""
RECALL_S = 0.001
"""Queued work worth taking back for an idle engine: a few round trips."""
RECALL_AFTER_S = 0.003
"""An engine whose head has not moved for so long gives its queue to an idle one."""
SURPLUS_IDLE_S = 5.0
"""An engine beyond the node's target ends after so long without work."""
MAX_ENGINES_PER_CPU = 4
"""Engines that compute at once on a node, for tasks that ask for fractions of a CPU."""
LARGE_ARGUMENT_BYTES = 1 << 20
"""Arguments of this size draw their task to the node that has them."""


class Placement:
    """Nodes, engines and ready tasks, and the decisions that join them."""

    def __init__(self, objects: ObjectTable, outbox: Outbox, timers: Timers) -> None:
        self.nodes: dict[int, NodeRecord] = {}
        self.engines: dict[int, EngineRecord] = {}
        self.blobs: dict[bytes, bytes] = {}
        """Code by content."""
        self._objects = objects
        self._outbox = outbox
        self._timers = timers
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._ready: dict[Shape, None] = {}
        """Shapes that have ready tasks, in the order in which they came to have them."""
        self._spare: dict[int, NodeRecord] = {}
        """Nodes with some CPU free."""
        self._idle = 0
        self._crowded: dict[int, EngineRecord] = {}
        """Engines with more than one task in their queue."""
        self._touched: dict[int, NodeRecord] = {}
        self._next_engine = 1
        self._recall_due = 0.0

    # ---- shapes ---------------------------------------------------------------------------

    def shape(
        self, demand: Demand, *, spread: bool = False, affinity: int = -1, soft: bool = False
    ) -> Shape:
        """The one shape of this demand and strategy."""
        key = (demand.items, spread, affinity, soft)
        shape = self._shapes.get(key)
        if shape is None:
            shape = Shape(demand, spread=spread, affinity=affinity, soft=soft)
            self._shapes[key] = shape
        return shape

    def feasible(self, shape: Shape) -> bool:
        """Could any node ever run it?"""
        return any(self._allowed(shape, node) for node in self.nodes.values())

    def _allowed(self, shape: Shape, node: NodeRecord) -> bool:
        pinned = shape.affinity >= 0 and not (shape.soft and shape.affinity not in self.nodes)
        return (not pinned or node.number == shape.affinity) and node.could_fit(shape.demand)

    def add(self, task: TaskRecord, *, first: bool = False) -> None:
        """A task became ready."""
        task.state = TaskState.READY
        shape = task.template.shape
        if first:
            shape.push_front(task)
        else:
            shape.push(task)
        self._ready[shape] = None

    def ready_count(self) -> int:
        """Tasks that could run if there were room."""
        return sum(shape.count for shape in self._ready)

    # ---- nodes and engines ----------------------------------------------------------------

    def add_node(self, node: NodeRecord) -> None:
        """A host joined."""
        self.nodes[node.number] = node
        self._spare[node.number] = node
        self._touched[node.number] = node

    def touch(self, node: NodeRecord) -> None:
        """Look at the node's number of engines after this batch."""
        self._touched[node.number] = node

    def add_engine(self, engine: EngineRecord) -> None:
        """An engine process said hello."""
        node = engine.node
        node.starting.discard(engine.number)
        node.engines[engine.number] = engine
        self.engines[engine.number] = engine
        self._set_idle(engine)
        self._touched[node.number] = node

    def remove_engine(self, engine: EngineRecord) -> None:
        """The engine is gone; the caller has taken care of its tasks."""
        engine.dying = engine.dying or "gone"
        engine.queue.clear()
        self._crowded.pop(engine.number, None)
        self._end_lease(engine)
        node = engine.node
        self._touched[node.number] = node
        node.engines.pop(engine.number, None)
        node.starting.discard(engine.number)
        self.engines.pop(engine.number, None)

    def retire(self, engine: EngineRecord, reason: str) -> None:
        """Have the node kill this engine. Its end is told by the node, like any other end."""
        if not engine.dying:
            engine.dying = reason
            self._unset_idle(engine)
            self._outbox.send(engine.node.peer, EngineUnwanted(engine.number))

    def free(self, engine: EngineRecord, task: TaskRecord) -> None:
        """The task is no longer in the engine's queue. The caller refills or settles next."""
        engine.load_s -= task.planned_s
        if engine.blocked == task.id:
            self.unblock(engine)
        if len(engine.queue) < 2:
            self._crowded.pop(engine.number, None)

    def settle(self, engine: EngineRecord) -> None:
        """End the lease of an engine whose queue has run empty."""
        if not engine.queue:
            self._end_lease(engine)

    def block(self, engine: EngineRecord, task: int) -> None:
        """The head of this engine waits in `get`: its CPU is free meanwhile."""
        if engine.lease is not None and not engine.blocked:
            engine.blocked = task
            engine.node.blocked += 1
            self._give_back(engine.node, engine.lease, cpu_only=True)
            # What it waits for may be queued behind it.
            if len(engine.queue) > 1 and not engine.dying:
                engine.recalling = True
                tail = [task_id for task_id in engine.queue if task_id != task]
                self._outbox.send(engine.peer, TasksRecalled(tail))

    def unblock(self, engine: EngineRecord) -> None:
        """It goes on at once.

        The node may be overdrawn until something else ends; nothing is placed there until then.
        """
        if engine.lease is not None and engine.blocked:
            engine.blocked = 0
            engine.node.blocked -= 1
            engine.node.take_cpu(engine.lease)

    def _end_lease(self, engine: EngineRecord) -> None:
        self.unblock(engine)
        engine.load_s = 0.0
        engine.solo = False
        if engine.lease is not None:
            lease, engine.lease = engine.lease, None
            gpus, engine.gpus = engine.gpus, []
            self._give_back(engine.node, lease, gpus)
        self._set_idle(engine)

    def _give_back(
        self,
        node: NodeRecord,
        lease: Demand,
        gpus: list[int] | None = None,
        *,
        cpu_only: bool = False,
    ) -> None:
        if cpu_only:
            node.give_cpu(lease)
        else:
            node.release(lease, gpus or [])
        self._touched[node.number] = node
        if node.available.get("CPU", 0) > 0:
            self._spare[node.number] = node

    def _set_idle(self, engine: EngineRecord) -> None:
        if not engine.dying and engine.number not in engine.node.idle:
            engine.node.idle[engine.number] = engine
            self._idle += 1

    def _unset_idle(self, engine: EngineRecord) -> None:
        if engine.node.idle.pop(engine.number, None) is not None:
            self._idle -= 1

    # ---- placing --------------------------------------------------------------------------

    def place(self, now: float) -> None:
        """Give idle engines work. Called once after each batch of events."""
        ready = self._ready
        if ready:
            for shape in list(ready):
                while shape.count and self._idle and (engine := self._find(shape)) is not None:
                    self._begin(engine, shape, now)
                if not shape.count:
                    del ready[shape]
                else:
                    self._want_engines(shape)
        if self._idle and self._crowded:
            self._recall(now)
        if self._touched:
            touched, self._touched = self._touched, {}
            for node in touched.values():
                self._adjust(node, now)

    def _candidates(self, shape: Shape) -> list[NodeRecord]:
        nodes = self._spare if "CPU" in shape.demand.quantities else self.nodes
        return [
            node
            for node in nodes.values()
            if self._allowed(shape, node) and node.fits(shape.demand)
        ]

    def _find(self, shape: Shape) -> EngineRecord | None:
        fitting = [node for node in self._candidates(shape) if node.idle]
        if not fitting:
            return None
        if len(fitting) == 1:
            node = fitting[0]
        elif shape.spread:
            node = max(fitting, key=lambda node: len(node.idle) / len(node.engines))
        else:
            node = self._nearest(shape.peek(), fitting)
        return next(reversed(node.idle.values()))

    def _nearest(self, task: TaskRecord, fitting: list[NodeRecord]) -> NodeRecord:
        """The node that has most of the task's large arguments, else the first."""
        local: dict[int, int] = {}
        for object_id in task.deps:
            row = self._objects.rows[object_id]
            if type(value := row.value) is Stored and value.size_bytes >= LARGE_ARGUMENT_BYTES:
                local[value.node] = local.get(value.node, 0) + value.size_bytes
        return max(fitting, key=lambda node: local.get(node.number, 0)) if local else fitting[0]

    def _begin(self, engine: EngineRecord, shape: Shape, now: float) -> None:
        node = engine.node
        self._unset_idle(engine)
        engine.gpus = node.acquire(shape.demand)
        if node.available.get("CPU", 0) <= 0:
            self._spare.pop(node.number, None)
        engine.lease = shape.demand
        engine.moved_at = now
        self.refill(engine, shape, now)
        if not engine.queue:  # its only task went back to waiting for a lost argument
            self._end_lease(engine)

    def refill(self, engine: EngineRecord, shape: Shape, now: float) -> None:
        """Queue tasks at the engine: one at least when it has none, and more ahead, up to
        `PREFETCH_S` of work and a fair share of what is ready."""
        if not shape.count or engine.blocked or engine.dying or engine.solo:
            return
        queue = engine.queue
        room = min(PREFETCH_MAX, 1 + shape.count // (2 * len(self.engines))) - len(queue)
        while shape.count:
            if queue:
                template = shape.peek().template
                mean_s = template.duration.mean_s
                if (
                    room <= 0
                    or template.solo
                    or mean_s < 0.0
                    or engine.load_s + mean_s > PREFETCH_S
                    or engine.recalling
                ):
                    return
            self._give(engine, shape.pop(), now)
            room -= 1

    def _give(self, engine: EngineRecord, task: TaskRecord, now: float) -> None:
        values: list[Value] = []
        for object_id in task.deps:
            value = self._objects.rows[object_id].value
            if value is None:
                self._wait_again(task)
                return
            values.append(value)
        task.state = TaskState.ASSIGNED
        task.engine = engine
        queue = engine.queue
        queue[task.id] = task
        template = task.template
        task.planned_s = max(template.duration.mean_s, 0.0)
        engine.load_s += task.planned_s
        if len(queue) == 2:
            self._crowded[engine.number] = engine
        if template.id not in engine.templates:
            self._teach(engine, template)
        self._outbox.assign(
            engine.peer,
            Assignment(
                task.id,
                task.attempt,
                template.id,
                task.args,
                task.job.id,
                task.deps,
                values,
                task.seed,
                engine.gpus,
                task.skipped or [],
            ),
        )
        if template.solo:
            engine.solo = True
            if template.on_begin is not None:
                template.on_begin(task, now)

    def _wait_again(self, task: TaskRecord) -> None:
        # The argument was there when the task became ready and was lost since: a rebuild is on.
        task.state = TaskState.WAITING
        task.waiting = 0
        for object_id in task.deps:
            row = self._objects.rows[object_id]
            if row.value is None:
                task.waiting += 1
                row.waiters = [*(row.waiters or []), task]

    def _teach(self, engine: EngineRecord, template: Template) -> None:
        engine.templates.add(template.id)
        spec = template.spec
        for key in (spec.function, spec.modules):
            if key and key not in engine.blobs and key in self.blobs:
                engine.blobs.add(key)
                self._outbox.send(engine.peer, BlobDefined(key, self.blobs[key]))
        self._outbox.send(engine.peer, spec)

    # ---- taking back ----------------------------------------------------------------------

    def _recall(self, now: float) -> None:
        """Someone is idle and nothing is ready: take queued work from an engine that is slow."""
        for engine in itertools.islice(self._crowded.values(), 8):
            if engine.recalling or engine.dying or engine.lease is None:
                continue
            lease = engine.lease
            if not any(node.idle and node.fits(lease) for node in self._spare.values()):
                continue
            tail = list(engine.queue)[1:]
            if now - engine.moved_at < RECALL_AFTER_S:
                if engine.load_s < 2 * RECALL_S:
                    continue
                tail = tail[len(tail) // 2 :]
            engine.recalling = True
            self._outbox.send(engine.peer, TasksRecalled(tail))
            return
        if now >= self._recall_due:
            self._recall_due = now + RECALL_AFTER_S
            self._timers.at(self._recall_due, _look_again)

    # ---- how many engines -----------------------------------------------------------------

    def _want_engines(self, shape: Shape) -> None:
        """Ready tasks would fit, but every engine there is busy or blocked: start more."""
        for node in self._candidates(shape):
            active = self._active(node)
            fit = min(
                (node.available[name] // amount for name, amount in shape.demand.items),
                default=shape.count,
            )
            wanted = min(shape.count, fit) - len(node.starting) - len(node.idle)
            self._start(node, min(wanted, MAX_ENGINES_PER_CPU * node.target - active))

    def _adjust(self, node: NodeRecord, now: float) -> None:
        """Keep the node at its target: replace engines that died, end those it needs no more."""
        active = self._active(node)
        if active < node.target:
            self._start(node, node.target - active)
        elif node.idle and active > node.target and not node.shrinking:
            node.shrinking = True
            self._timers.at(now + SURPLUS_IDLE_S, lambda later: self._shrink(node, later))

    def _active(self, node: NodeRecord) -> int:
        return len(node.engines) + len(node.starting) - node.blocked

    def _start(self, node: NodeRecord, count: int) -> None:
        if count <= 0:
            return
        numbers = list(range(self._next_engine, self._next_engine + count))
        self._next_engine += count
        node.starting.update(numbers)
        self._outbox.send(node.peer, EnginesWanted(numbers))

    def _shrink(self, node: NodeRecord, now: float) -> None:
        node.shrinking = False
        if node.number not in self.nodes:
            return
        surplus = self._active(node) - node.target
        for engine in list(node.idle.values())[: max(0, surplus)]:
            self.retire(engine, "surplus")
        self._touched[node.number] = node


def _look_again(now: float) -> None:
    """The tick itself is what was wanted: `place` runs after it."""
