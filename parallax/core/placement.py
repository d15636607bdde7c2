"""Which ready task runs where.

Work is pulled, not pushed: an engine that finishes takes its next tasks from the ready table in
O(1), and only what changed in a batch of events is looked at again. Short tasks are queued ahead
at their engine, so that it never waits for a round trip; what turns out to wait too long there is
taken back (`parallax.core.recall`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from parallax.core.fleet import Fleet
from parallax.core.interrupts import Interrupts
from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.ready import UNKNOWN_S, Lane, ReadyTable, Shape
from parallax.core.recall import Recall
from parallax.core.records import NOTHING, EngineRecord, TaskRecord
from parallax.core.resources import NodeRecord
from parallax.core.states import TaskState
from parallax.core.templates import TemplateTable
from parallax.core.timers import Timers
from parallax.messages import Assignment, Failure, Stored, Value

PREFETCH_S = 0.02
"""Work queued ahead at an engine: several round trips, yet soon over."""
REFILL_S = PREFETCH_S / 2
"""An engine with more work than this gets no more yet: one long message disturbs the thread that
computes there less than many short ones."""
PREFETCH_MAX = 256
"""Tasks queued at an engine, however short they are."""
SLICE_S = 0.02
"""For so long an engine stays with one shape while others wait."""
PATIENCE_S = 0.1
"""A shape that fits nowhere for so long has a node emptied for it."""
RESUME_S = 0.01
"""A task whose nested tasks have ended goes on within this time, or waits for something else."""
LOOKED_AT = 32
"""How many of a task's arguments count when it is asked where they are."""
LARGE_ARGUMENT_BYTES = 1 << 20
"""Arguments of this size draw their task to the node that has them."""
NO_VALUES: list[Value] = []
"""Shared by all tasks without arguments from elsewhere, and never changed."""


class Placement:
    """Joins ready tasks and engines."""

    def __init__(
        self,
        fleet: Fleet,
        ready: ReadyTable,
        objects: ObjectTable,
        interrupts: Interrupts,
        templates: TemplateTable,
        outbox: Outbox,
        timers: Timers,
    ) -> None:
        self.fleet = fleet
        self.ready = ready
        self.stale: Callable[[TaskRecord], None] = lambda task: None
        """Told of ready tasks that have lost an argument; set by the task table."""
        self.made_room = False
        """Placing tasks has left more room than there was before, for placement groups to see."""
        self.recall = Recall(fleet, outbox, timers)
        self.teach = templates.teach
        self._objects = objects
        self._interrupts = interrupts
        self._outbox = outbox
        self._timers = timers

    # ---- after each batch -----------------------------------------------------------------

    def place(self, now: float) -> None:
        """Give idle engines work, and see to it that there are enough engines."""
        fleet = self.fleet
        ready = self.ready
        again = True
        while again and ready.shapes:
            again = False
            if fleet.idle:
                self._serve(now)
            if ready.shapes:
                left = ready.order()
                fleet.want(left, now)
                for shape in left:
                    again = self._watch_hunger(shape, now) or again
        if self.recall.crowded:
            self.recall.run(now)
        fleet.adjust(now)

    def _serve(self, now: float) -> None:
        """In turns, one engine each, so that no shape takes all."""
        progress = True
        while progress and self.fleet.idle and self.ready.shapes:
            progress = False
            for shape in self.ready.order():
                engine = self._find(shape) if shape.count else None
                if engine is not None:
                    self._begin(engine, shape, now)
                    progress = True

    def _find(self, shape: Shape) -> EngineRecord | None:
        """An idle engine for the shape's next task, on the best node."""
        fleet = self.fleet
        if not fleet.idle:
            return None
        fitting = (node for node in fleet.candidates(shape) if node.idle)
        if len(fleet.nodes) == 1:
            node = next(fitting, None)
        elif shape.spread:
            node = max(fitting, key=_emptiness, default=None)
        else:
            node = self._nearest(shape, fitting)
        return next(reversed(node.idle.values())) if node is not None else None

    def _nearest(self, shape: Shape, fitting: Iterator[NodeRecord]) -> NodeRecord | None:
        """The node that has most of the next task's large arguments, else the first."""
        near = self._bytes_by_node(shape.first().peek())
        if not near:
            return next(fitting, None)
        return max(fitting, key=lambda node: near.get(node.number, 0), default=None)

    def _bytes_by_node(self, task: TaskRecord) -> dict[int, int]:
        near: dict[int, int] = {}
        for object_id in task.deps[:LOOKED_AT]:
            value = self._objects.rows[object_id].value
            if (
                type(value) is Stored
                and value.size_bytes >= LARGE_ARGUMENT_BYTES
                and value.node in self.fleet.nodes  # it may be lost, and the news under way
            ):
                near[value.node] = near.get(value.node, 0) + value.size_bytes
        return near

    def _begin(self, engine: EngineRecord, shape: Shape, now: float) -> None:
        self.fleet.lease(engine, shape, now)
        self.ready.serve(shape)
        if shape.reserved is not None:
            shape.unreserve()
            self.made_room = True
        self._fill(engine, shape, now, chosen=True)
        if not engine.queue:  # its only task has gone back to wait for a lost argument
            self.relax(engine)
            self.made_room = True

    def _watch_hunger(self, shape: Shape, now: float) -> bool:
        """A large demand among many small ones never finds room by itself: empty a node for it.

        Returns:
            Whether a node is not emptied any more: others may begin there at once.
        """
        if shape.hungry_since < 0.0:
            shape.hungry_since = now
        elif now - shape.hungry_since > PATIENCE_S and shape.reserved is None:
            stocks = self.fleet.stocks(shape)
            free = [s for s in stocks if s.reserved is None and s.could_empty(shape.demand)]
            if free and not any(stock.fits(shape.demand) for stock in stocks):
                shape.reserved = max(free, key=lambda stock: stock.room(shape.demand))
                shape.reserved.reserved = shape
        elif shape.reserved is not None and not shape.reserved.could_empty(shape.demand):
            shape.unreserve()  # an actor has moved in, to stay
            self.made_room = True
            return True
        return False

    # ---- one engine -----------------------------------------------------------------------

    def take(self, engine: EngineRecord, task: TaskRecord) -> None:
        """The task leaves the engine's queue. When all that leave have left, the caller calls
        `refill`, or `relax` if the engine shall not get more at once."""
        queue = engine.queue
        del queue[task.id]
        task.engine = None
        if task.planned_s:
            engine.load_s -= task.planned_s
            task.planned_s = 0.0
        if engine.actor is not None:
            if task.id in engine.waiting:
                self.unblock(engine, task.id)
            return
        if task.id == engine.blocked or task.id == engine.resuming:
            self.unblock(engine, task.id)
        left = len(queue)
        if left == 1:
            del self.recall.crowded[engine.number]
        elif left == 0 and engine.solo:
            engine.solo = False
            self._interrupts.stop_clock(engine)

    def refill(self, engine: EngineRecord, now: float) -> None:
        """Tasks have left the engine: give it the next ones, or end its lease."""
        shape = engine.shape
        if shape is None:
            return
        wants = engine.load_s <= REFILL_S or len(engine.queue) < 2
        if wants and shape.count and self._may_stay(engine, shape, now):
            self._fill(engine, shape, now)
        self.relax(engine)

    def relax(self, engine: EngineRecord) -> None:
        """Tasks have left the engine: end its lease if they were the last."""
        if not engine.queue and engine.actor is None:
            self.fleet.end_lease(engine)

    def block(self, engine: EngineRecord, task: int) -> None:
        """This task of the engine waits in `get`, maybe for one that is queued behind it."""
        if task not in engine.queue:
            return
        if engine.actor is not None:  # its calls can run nowhere else
            engine.waiting[task] = None
            if not engine.blocked:
                self.fleet.block(engine, task)
            return
        if engine.blocked:
            return
        self._stop_expecting(engine)
        self.fleet.block(engine, task)
        behind = [other for other in engine.queue if other != task]
        if behind and not engine.dying:
            self.recall.ask_back(engine, behind)

    def unblock(self, engine: EngineRecord, task: int) -> None:
        """Its task has what it waited for, and goes on. Of an actor it may be one of several: the
        CPU is taken back when no call waits any more."""
        if engine.actor is None:
            self._stop_expecting(engine)
            self.fleet.unblock(engine)
            return
        engine.waiting.pop(task, None)
        if engine.waiting:
            engine.blocked = next(iter(engine.waiting))
        else:
            self.fleet.unblock(engine)

    def children_ended(self, parent: TaskRecord) -> None:
        """A task that waits has no nested tasks left that have not ended: most likely it goes on
        in a moment. Its CPU is kept for it, or a task that waits in turn would get there first,
        and another, each with an engine of its own."""
        engine = parent.engine
        if engine is not None and engine.blocked == parent.id and engine.actor is None:
            self.fleet.unblock(engine)
            engine.resuming = parent.id
            engine.patience = self._timers.after(RESUME_S, lambda now: self._still_waits(engine))

    def _still_waits(self, engine: EngineRecord) -> None:
        task, engine.resuming, engine.patience = engine.resuming, 0, None
        self.fleet.block(engine, task)

    def _stop_expecting(self, engine: EngineRecord) -> None:
        if engine.patience is not None:
            self._timers.cancel(engine.patience)
            engine.resuming, engine.patience = 0, None

    def _may_stay(self, engine: EngineRecord, shape: Shape, now: float) -> bool:
        """May the engine go on with its shape without asking whose turn it is?"""
        if engine.blocked or engine.dying or engine.solo:
            return False
        stock = engine.stock
        if stock.available["CPU"] < 0 or (
            stock.reserved and self.fleet.held_back(shape, stock, engine.node)
        ):
            return False
        return len(self.ready.shapes) == 1 or now - engine.leased_at < SLICE_S

    def _fill(
        self, engine: EngineRecord, shape: Shape, now: float, *, chosen: bool = False
    ) -> None:
        """Queue tasks at the engine: one when it has none, and more ahead, up to `PREFETCH_S` of
        work and a fair share of what is ready.

        Args:
            chosen: this engine was found to be the best for the first of them.
        """
        queue = engine.queue
        queued = len(queue)
        load_s = engine.load_s
        most = min(PREFETCH_MAX, 1 + shape.count // (2 * len(self.fleet.engines)))
        far = len(self.fleet.nodes) > 1
        rivals = len(self.ready.shapes) > 1 or len(shape.lanes) > 1
        given: list[Assignment] = []
        lane: Lane | None = None
        while shape.count:
            if lane is None or not lane.count:
                lane = shape.first()
            task = lane.peek()
            template = task.group.template
            mean_s = template.duration.mean_s
            if queued and (
                queued >= most
                or mean_s < 0.0
                or mean_s > PREFETCH_S
                or load_s + (mean_s if queued > 1 else 0.0) > PREFETCH_S
                or template.solo
                or engine.recalling
            ):
                break
            if far and task.deps and not chosen and self._better_elsewhere(engine, task):
                break
            chosen = False
            self.ready.pop(lane, task)
            if rivals:
                self.ready.charge(lane.job, mean_s if mean_s > 0.0 else UNKNOWN_S)
            values = NO_VALUES
            if task.deps:
                values = self.values_of(task)
                if not values:
                    self.stale(task)
                    continue
                task.values = values
            if mean_s > 0.0:
                task.planned_s = mean_s
                load_s += mean_s
            task.state = TaskState.ASSIGNED
            task.engine = engine
            queue[task.id] = task
            queued += 1
            given.append(
                Assignment(
                    task.id,
                    task.attempt,
                    template.id,
                    task.args,
                    lane.job.id,
                    task.deps,
                    values,
                    task.seed,
                    engine.gpus,
                    task.skipped or NOTHING,
                )
            )
            if template.id not in engine.templates:
                self.teach(engine, template)
            if template.solo:
                engine.solo = True
                self._interrupts.start_clock(engine, task, now)
                break
        if given:
            engine.load_s = load_s
            shape.hungry_since = -1.0
            self._outbox.assign(engine.peer, given)
            if queued > 1:
                self.recall.crowded[engine.number] = engine
                if not shape.needs_spare:
                    self.recall.weightless = True

    def values_of(self, task: TaskRecord) -> list[Value]:
        """The values of the task's arguments; none when one was lost since it became ready."""
        values: list[Value] = []
        for object_id in task.deps:
            value = self._objects.rows[object_id].value
            if value is None or type(value) is Failure:
                return []
            values.append(value)
        return values

    def _better_elsewhere(self, engine: EngineRecord, task: TaskRecord) -> bool:
        """Do other nodes have more of the task's large arguments, and room for it?"""
        near = self._bytes_by_node(task)
        here = near.get(engine.node.number, 0)
        return any(
            size > here and (engine.queue or self.fleet.nodes[number].idle)
            for number, size in near.items()
        )


def _emptiness(node: NodeRecord) -> float:
    return len(node.idle) / len(node.engines)
