"""What must hold of the hub's tables after every batch of events.

`check` recomputes each count from first principles and compares. It visits every row, so it is
for tests and for simulations of some thousand tasks, not for the real hub.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from parallax.core.machine import Machine
from parallax.core.objects import size_of
from parallax.core.recall import SWEEP_S
from parallax.core.records import EngineRecord, TaskRecord
from parallax.core.resources import UNIT, Demand, Stock
from parallax.core.states import TaskState
from parallax.messages import Stored
from parallax.testing import actor_invariants, durable_invariants, group_invariants


class InvariantError(AssertionError):
    """The tables contradict each other or a rule of the core: a bug in the core."""


def check(machine: Machine) -> None:
    """Check all invariants.

    Raises:
        InvariantError: says everything that does not hold.
    """
    broken = [
        *_engines(machine),
        *_nodes(machine),
        *_ready(machine),
        *_tasks(machine),
        *_references(machine),
        *_lineage(machine),
        *_inline(machine),
        *_idle(machine),
        *_stuck(machine),
        *_jobs(machine),
        *actor_invariants.actors(machine),
        *group_invariants.groups(machine),
        *durable_invariants.durables(machine),
    ]
    if broken:
        raise InvariantError("\n".join(broken))


def check_empty(machine: Machine) -> None:
    """Check that nothing is left once all clients have gone and all engines are idle.

    Raises:
        InvariantError: says what leaked.
    """
    peers = machine.peers.values()
    errors = [call for job in machine.jobs.all() for call in job.errors]
    templates = {number for peer in peers for number in peer.templates}
    templates |= {call.template.id for call in errors if call.template is not None}
    blobs = {key for peer in peers for key in peer.blobs}
    blobs |= {blob.key for call in errors if call.template for blob in call.template.blobs}
    leaks = {
        "objects": len(machine.objects.rows),
        "tasks": len(machine.tasks.rows),
        "ready tasks": machine.ready.count,
        "templates": len(set(machine.templates.rows) - templates),
        "blobs": len(set(machine.templates.blobs) - blobs),
        "crowded engines": len(machine.placement.recall.crowded),
        "actors": len(machine.actors.rows),
        "placement groups": len(machine.groups.rows),
        "durable tasks": len(machine.durables.unfinished),
        "needs of durable tasks": len(machine.durables.needs),
        "withheld objects": len(machine.objects.withheld),
        "leases": sum(engine.shape is not None for engine in machine.fleet.engines.values()),
        "pending tasks of jobs": sum(job.pending for job in machine.jobs.all()),
    }
    left = [f"{count} {what}" for what, count in leaks.items() if count]
    if left:
        raise InvariantError("left behind: " + ", ".join(left))


def check_counts(machine: Machine, submitted: int) -> None:
    """Check that every call that was submitted has ended exactly once, by the counts of the jobs.

    Raises:
        InvariantError: some have not, or more than once.
    """
    counts = [counts for job in machine.jobs.all() for counts in job.counts.values()]
    ended = sum(c.done + c.failed + c.cancelled for c in counts)
    if ended != submitted:
        rows = [c.row() for c in counts]
        raise InvariantError(f"{submitted} calls were submitted, {ended} have ended: {rows}")


def _engines(machine: Machine) -> Iterator[str]:
    fleet = machine.fleet
    for engine in fleet.engines.values():
        who = f"engine {engine.number}"
        queue = engine.queue
        for task_id, task in queue.items():
            if task.engine is not engine or task.state is not TaskState.ASSIGNED:
                yield f"{who}: task {task_id:x} in its queue is {task.state} at {task.engine}"
            if machine.tasks.rows.get(task_id) is not task:
                yield f"{who}: task {task_id:x} in its queue is not in the table"
        lives = engine.actor is not None
        if bool(queue) != (engine.shape is not None) and not lives:
            yield f"{who}: {len(queue)} tasks, yet its lease is {engine.shape}"
        idle = engine.number in engine.node.idle
        if idle != (not queue and not engine.dying and not lives):
            yield f"{who}: idle={idle} with {len(queue)} tasks, dying={engine.dying!r}"
        crowded = engine.number in machine.placement.recall.crowded
        if crowded != (len(queue) > 1 and not lives):
            yield f"{who}: crowded={crowded} with {len(queue)} tasks"
        if set(engine.waiting) - set(queue) or (
            lives and bool(engine.blocked) != bool(engine.waiting)
        ):
            yield f"{who}: {list(engine.waiting)} wait, blocked={engine.blocked:x}"
        if engine.blocked and engine.blocked not in queue:
            yield f"{who}: blocked by a task that it does not have"
        if (engine.patience is not None) != bool(engine.resuming):
            yield f"{who}: resuming={engine.resuming} with patience {engine.patience}"
        if engine.resuming and (engine.blocked or engine.resuming not in queue):
            yield f"{who}: resuming={engine.resuming}, blocked={engine.blocked}"
        if engine.solo and len(queue) != 1:
            yield f"{who}: {len(queue)} tasks beside one that must be alone"
        if engine.timer is not None and not engine.solo:
            yield f"{who}: a clock without a task"
        planned = sum(task.planned_s for task in queue.values())
        if abs(engine.load_s - planned) > 1e-6:
            yield f"{who}: load {engine.load_s}, planned {planned}"
    if fleet.idle != sum(len(node.idle) for node in fleet.nodes.values()):
        yield f"{fleet.idle} idle engines counted wrongly"


def _nodes(machine: Machine) -> Iterator[str]:
    fleet = machine.fleet
    for node in fleet.nodes.values():
        who = f"node {node.number}"
        engines = list(node.engines.values())
        bundles = group_invariants.bundles_on(machine, node)
        yield from stock(who, node, engines, [(b.demand, b.gpus) for b in bundles])
        for bundle in bundles:
            yield from stock(f"{who}: a bundle", bundle, engines, [])
        if node.blocked != sum(bool(e.blocked) and e.counts for e in engines):
            yield f"{who}: blocked={node.blocked}"
        if node.actors != sum(e.actor is not None and not e.dying for e in engines):
            yield f"{who}: actors={node.actors}"
        if node.dying != sum(bool(e.dying) for e in engines):
            yield f"{who}: dying={node.dying}"
        if (node.number in fleet.spare) != (node.available["CPU"] > 0):
            yield f"{who}: spare={node.number in fleet.spare} with {node.available}"
        if node.starting & set(node.engines):
            yield f"{who}: engines that start and are there: {node.starting}"
    if set(fleet.engines) != {n for node in fleet.nodes.values() for n in node.engines}:
        yield "engines of the nodes are not those of the fleet"


def stock(
    who: str, stock: Stock, engines: list[EngineRecord], taken: list[tuple[Demand, list[int]]]
) -> Iterator[str]:
    """What is free is what leases, and what else was taken, leave."""
    expected = dict(stock.total)
    whole = min(stock.total.get("GPU", 0), UNIT)
    gpus = dict.fromkeys(stock.gpu_free, whole)
    held = Counter[str]()
    for demand, indices in taken:
        held.update(demand.quantities)
        _subtract(expected, gpus, demand, indices)
    for engine in engines:
        if engine.shape is None or engine.stock is not stock:
            continue
        _subtract(expected, gpus, engine.shape.demand, engine.gpus)
        if engine.blocked:
            expected["CPU"] += engine.shape.demand.cpus
        if engine.actor is not None:
            held.update(engine.shape.demand.quantities)
    if expected != stock.available:
        yield f"{who}: available {stock.available}, by its leases {expected}"
    if gpus != stock.gpu_free:
        yield f"{who}: GPUs {stock.gpu_free}, by its leases {gpus}"
    overdrawn = [name for name, left in stock.available.items() if left < 0 and name != "CPU"]
    if overdrawn:
        yield f"{who}: overdrawn {overdrawn}"
    if min(gpus.values(), default=0) < 0:
        yield f"{who}: a GPU is overdrawn: {gpus}"
    if +Counter(stock.held) != +held:
        yield f"{who}: held {stock.held}, by actors and bundles {dict(held)}"
    reserved = stock.reserved
    if reserved is not None and reserved.reserved is not stock:
        yield f"{who}: reserved for nobody"


def _subtract(
    left: dict[str, int], gpus: dict[int, int], demand: Demand, indices: list[int]
) -> None:
    for name, amount in demand.items:
        left[name] -= amount
    for index in indices:
        gpus[index] -= min(demand.gpus, UNIT)


def _ready(machine: Machine) -> Iterator[str]:
    waiting = Counter[int]()
    for shape in machine.ready.shapes:
        if shape.count != sum(lane.count for lane in shape.lanes) or not shape.count:
            yield f"shape {shape.demand.describe()}: {shape.count} ready"
        for lane in shape.lanes:
            entries = [*lane.queue, *(task for _, _, task in lane.late)]
            queued = [task for task in entries if task.state is TaskState.READY]
            if len(queued) != lane.count or not queued:
                yield f"lane: {lane.count} ready, {len(queued)} queued"
            elif lane.peek().order != min(task.order for task in queued):
                yield f"lane: task {lane.peek().id:x} is next, an older one waits"
            waiting.update(task.id for task in queued)
    rows = machine.tasks.rows.values()
    ready = {t.id for t in rows if t.state is TaskState.READY and not t.is_call}
    if set(waiting) != ready or max(waiting.values(), default=1) > 1:
        yield f"ready {sorted(ready)}, queued {sorted(waiting.elements())}"


def _tasks(machine: Machine) -> Iterator[str]:
    rows = machine.objects.rows
    waiting = Counter((row.id, task.id) for row in rows.values() for task in row.waiters or ())
    for task in machine.tasks.rows.values():
        who = f"task {task.id:x}"
        if task.state is TaskState.ENDED:
            yield f"{who}: in the table, yet ended"
        if (task.engine is not None) != (task.state is TaskState.ASSIGNED):
            yield f"{who}: {task.state} at {task.engine}"
        if task.engine is not None and task.engine.queue.get(task.id) is not task:
            yield f"{who}: its engine does not have it"
        if task.state is TaskState.WAITING:
            told = sum(waiting[dep, task.id] for dep in set(task.deps))
            if task.waiting != told or not told:
                yield f"{who}: waits for {task.waiting} values, will be told of {told}"
        if task.cancelled and task.state is not TaskState.ASSIGNED:
            yield f"{who}: cancelled, yet {task.state}"
        if task.attempt < 0 or task.pins is not None:
            yield f"{who}: attempt {task.attempt}, pins {task.pins}"
        results = [rows.get(i) for i in range(task.id, task.id + task.returns)]
        if None in results and not task.attempt and not task.skipped:
            yield f"{who}: rows of its results are missing"
    for row in rows.values():
        maker = machine.tasks.rows.get(row.task.id) if row.task is not None else None
        promised = row.id in machine.groups.waiting
        if row.pending and not promised and (maker is None or maker is not row.task):
            yield f"object {row.id:x}: pending, but nobody makes it"


def _references(machine: Machine) -> Iterator[str]:
    counted = Counter[int]()
    lineages = Counter[int]()
    for peer in machine.peers.values():
        counted.update(peer.held)
    for task in machine.tasks.rows.values():
        counted.update(task.deps)
        counted.update(task.refs)
    for row in machine.objects.rows.values():
        counted.update(row.contained or ())
    counted.update(wish.object_id for wish in machine.keeps.wishes.values())
    counted.update(machine.durables.writing)
    for actor in machine.actors.rows.values():
        counted.update([actor.id] if actor.detached else ())
        constructor = actor.constructor
        if constructor is not None and constructor.state is TaskState.ENDED:
            counted.update(constructor.deps)
            counted.update(constructor.refs)
    for task in _retained(machine):
        assert task.pins is not None
        counted.update(task.pins[0])
        lineages.update(task.pins[1])
    for row in machine.objects.rows.values():
        who = f"object {row.id:x}"
        if row.refs != counted.pop(row.id, 0):
            yield f"{who}: {row.refs} references counted wrongly"
        if row.lineage != lineages.pop(row.id, 0):
            yield f"{who}: lineage {row.lineage} counted wrongly"
        if row.value is not None and not row.refs:
            yield f"{who}: has a value that nobody needs"
        if row.freed and row.value is not None:
            yield f"{who}: freed, yet it has a value"
        value, nodes = row.value, machine.fleet.nodes
        if row.task is not None and isinstance(value, Stored) and nodes and value.node not in nodes:
            yield f"{who}: its value was on node {value.node}, which is gone, and is not made anew"
        if row.freed and not row.refs and not row.lineage:
            yield f"{who}: its row is of no use"
        if row.value is not None and (row.waiters or row.wanted):
            yield f"{who}: has a value, yet somebody waits for it"
    if counted or lineages:
        yield f"referred to, but not there: {dict(counted)} {dict(lineages)}"


def _lineage(machine: Machine) -> Iterator[str]:
    lasting = Counter[int]()
    for row in machine.objects.rows.values():
        made_by = row.task
        if made_by is not None and made_by.state is TaskState.ENDED and made_by.actor is None:
            lasting[made_by.id] += 1
            if not row.freed and type(row.value) is not Stored:
                yield f"object {row.id:x}: keeps its task without need"
    for task in _retained(machine):
        if task.retained != lasting.pop(task.id, 0):
            yield f"task {task.id:x}: retains {task.retained} objects wrongly"
    if lasting:
        yield f"ended tasks that were not settled: {dict(lasting)}"


def _inline(machine: Machine) -> Iterator[str]:
    """What is kept inline is counted as such, for the hub's memory is bounded by that count."""
    made = [actor.constructor for actor in machine.actors.rows.values() if actor.constructor]
    rows = (*machine.tasks.rows.values(), *_retained(machine), *made)
    tasks = {id(task): task for task in rows}
    used = sum(size_of(task.args) for task in tasks.values())
    used += sum(size_of(row.value) for row in machine.objects.rows.values() if row.value)
    if used != machine.objects.inline_bytes:
        yield f"{used} inline bytes are kept, {machine.objects.inline_bytes} counted"


def _retained(machine: Machine) -> list[TaskRecord]:
    """Tasks that have ended and could run again."""
    makers = {id(row.task): row.task for row in machine.objects.rows.values()}
    return [task for task in makers.values() if task is not None and task.pins is not None]


def _idle(machine: Machine) -> Iterator[str]:
    """No idle engine beside ready work that it could run, and none that is not even started."""
    fleet, now = machine.fleet, machine.timers.now
    for shape in machine.ready.shapes:
        if fleet.could_start(shape, now):
            yield (
                f"no engine is started for {shape.count} ready tasks that ask for "
                f"{shape.demand.describe()}, although there is room for one"
            )
        for node in fleet.candidates(shape):
            if node.idle:
                yield (
                    f"node {node.number}: {len(node.idle)} idle engines beside {shape.count} "
                    f"ready tasks that ask for {shape.demand.describe()}"
                )


def _stuck(machine: Machine) -> Iterator[str]:
    """What waits behind a task that has become long is taken back when it could run elsewhere."""
    fleet, now = machine.fleet, machine.timers.now
    looks_soon = now < machine.placement.recall.looks_at <= now + SWEEP_S
    for engine in fleet.engines.values():
        shape = engine.shape
        if shape is None or len(engine.queue) < 2 or engine.recalling or engine.dying:
            continue
        if engine.actor is not None:
            continue  # its calls can run nowhere else
        elsewhere = any(node.idle for node in fleet.candidates(shape))
        if (elsewhere or fleet.could_start(shape, now)) and not looks_soon:
            yield (
                f"engine {engine.number}: {len(engine.queue) - 1} tasks wait behind another, "
                "although others could run them, and nobody will look"
            )


def _jobs(machine: Machine) -> Iterator[str]:
    pending = Counter[tuple[int, str]]()
    rows = machine.objects.rows
    for task in machine.tasks.rows.values():
        count = 1
        if task.chunk:
            ids = range(task.id, task.id + task.returns)
            count = sum(i in rows and rows[i].task is task and rows[i].pending for i in ids)
        pending[task.group.job.id, task.name] += count
    for job in machine.jobs.all():
        for name, counts in job.counts.items():
            expected = pending.pop((job.id, name), 0)
            if counts.pending != expected:
                yield f"job {job.id}: {counts.pending} of {name} pending, really {expected}"
            if min(counts.done, counts.failed, counts.cancelled, counts.retried) < 0:
                yield f"job {job.id}: negative counts of {name}: {counts.row()}"
    if +pending:
        yield f"tasks of unknown jobs: {dict(pending)}"
