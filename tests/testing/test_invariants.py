"""Each invariant is able to fail: tables are broken one by one, and the check must say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.core.machine import Machine
from parallax.core.records import EngineRecord, TaskRecord
from parallax.core.resources import UNIT
from parallax.core.states import TaskState
from parallax.messages import Stored
from parallax.testing import Cluster, InvariantError, Large, TaskContext, check, check_empty
from parallax.testing.programs import Steps


def make(task: TaskContext) -> Steps:
    yield 0.01
    return Large("x")


def busy() -> Machine:
    """A machine with something in every table."""
    cluster = Cluster(engines=2, resources={"GPU": 1.0}, seed=1)
    large = cluster.submit(make)
    cluster.run()
    cluster.submit(0.001)
    cluster.run()
    cluster.submit(10.0, large, num_gpus=1)
    waiting = cluster.submit(10.0, name="other")
    cluster.submit(1.0, waiting)
    for _ in range(100):
        cluster.submit(0.001)
    cluster.run(0.05)
    machine = cluster.hub.machine
    check(machine)
    return machine


def a_task(machine: Machine, state: TaskState) -> TaskRecord:
    return next(task for task in machine.tasks.rows.values() if task.state is state)


def an_engine(machine: Machine) -> EngineRecord:
    return next(engine for engine in machine.fleet.engines.values() if engine.queue)


def lose_a_lease(machine: Machine) -> None:
    an_engine(machine).shape = None


def call_a_busy_engine_idle(machine: Machine) -> None:
    engine = an_engine(machine)
    engine.node.idle[engine.number] = engine


def miscount_idle_engines(machine: Machine) -> None:
    machine.fleet.idle += 1


def misjudge_whether_an_engine_is_crowded(machine: Machine) -> None:
    engine = an_engine(machine)
    crowded = machine.placement.recall.crowded
    if crowded.pop(engine.number, None) is None:
        crowded[engine.number] = engine


def misjudge_the_load(machine: Machine) -> None:
    an_engine(machine).load_s += 1.0


def block_without_a_task(machine: Machine) -> None:
    an_engine(machine).blocked = 4711


def give_a_cpu_away(machine: Machine) -> None:
    machine.fleet.nodes[0].available["CPU"] += 1


def give_a_gpu_away(machine: Machine) -> None:
    machine.fleet.nodes[0].gpu_free[0] += 1


def miscount_dying_engines(machine: Machine) -> None:
    machine.fleet.nodes[0].dying += 1


def forget_that_a_node_is_full(machine: Machine) -> None:
    machine.fleet.spare[0] = machine.fleet.nodes[0]


def reserve_a_node_for_nobody(machine: Machine) -> None:
    machine.fleet.nodes[0].reserved = a_task(machine, TaskState.READY).group.template.shape


def miscount_ready_tasks(machine: Machine) -> None:
    next(iter(machine.ready.shapes)).count += 1


def queue_a_task_twice(machine: Machine) -> None:
    task = a_task(machine, TaskState.READY)
    task.group.lane.queue.append(task)


def forget_a_ready_task(machine: Machine) -> None:
    task = a_task(machine, TaskState.READY)
    task.group.lane.queue.remove(task)


def run_a_task_nowhere(machine: Machine) -> None:
    a_task(machine, TaskState.ASSIGNED).engine = None


def wait_for_nothing(machine: Machine) -> None:
    a_task(machine, TaskState.WAITING).waiting += 1


def leave_a_cancelled_task_in_the_queue(machine: Machine) -> None:
    a_task(machine, TaskState.READY).cancelled = "cancelled"


def keep_an_ended_task(machine: Machine) -> None:
    a_task(machine, TaskState.WAITING).state = TaskState.ENDED


def lose_the_row_of_a_result(machine: Machine) -> None:
    task = a_task(machine, TaskState.READY)
    del machine.objects.rows[task.id]


def forget_who_makes_an_object(machine: Machine) -> None:
    task = a_task(machine, TaskState.READY)
    machine.objects.rows[task.id].task = None


def miscount_references(machine: Machine) -> None:
    next(iter(machine.objects.rows.values())).refs += 1


def miscount_lineage(machine: Machine) -> None:
    next(iter(machine.objects.rows.values())).lineage += 1


def miscount_what_a_task_retains(machine: Machine) -> None:
    rows = machine.objects.rows.values()
    row = next(row for row in rows if type(row.value) is Stored)
    assert row.task is not None
    row.task.retained += 1


def keep_a_value_that_was_freed(machine: Machine) -> None:
    rows = machine.objects.rows.values()
    next(row for row in rows if row.value is not None).freed = True


def keep_a_value_on_a_host_that_is_gone(machine: Machine) -> None:
    rows = machine.objects.rows.values()
    row = next(row for row in rows if type(row.value) is Stored and row.task is not None)
    assert isinstance(row.value, Stored)
    row.value.node = 4711


def let_an_engine_idle_beside_work(machine: Machine) -> None:
    node = machine.fleet.nodes[0]
    node.available = dict(node.total)
    engine = an_engine(machine)
    node.idle[engine.number] = engine


def start_no_engine_for_ready_work(machine: Machine) -> None:
    node = machine.fleet.spare[0] = machine.fleet.nodes[0]
    node.available = dict(node.total)


def leave_work_behind_a_long_task(machine: Machine) -> None:
    engine = an_engine(machine)
    for task in machine.tasks.rows.values():
        if task.state is TaskState.READY:
            engine.queue[task.id] = task
    node = machine.fleet.spare[0] = machine.fleet.nodes[0]
    node.available["CPU"] = UNIT


def miscount_the_pending_tasks_of_a_job(machine: Machine) -> None:
    machine.jobs.all()[0].of("f").pending += 1


BREAKAGES: list[Callable[[Machine], None]] = [
    lose_a_lease,
    call_a_busy_engine_idle,
    miscount_idle_engines,
    misjudge_whether_an_engine_is_crowded,
    misjudge_the_load,
    block_without_a_task,
    give_a_cpu_away,
    give_a_gpu_away,
    miscount_dying_engines,
    forget_that_a_node_is_full,
    reserve_a_node_for_nobody,
    miscount_ready_tasks,
    queue_a_task_twice,
    forget_a_ready_task,
    run_a_task_nowhere,
    wait_for_nothing,
    leave_a_cancelled_task_in_the_queue,
    keep_an_ended_task,
    lose_the_row_of_a_result,
    forget_who_makes_an_object,
    miscount_references,
    miscount_lineage,
    miscount_what_a_task_retains,
    keep_a_value_that_was_freed,
    keep_a_value_on_a_host_that_is_gone,
    let_an_engine_idle_beside_work,
    start_no_engine_for_ready_work,
    leave_work_behind_a_long_task,
    miscount_the_pending_tasks_of_a_job,
]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_what_is_broken_is_noticed(breakage: Callable[[Machine], None]) -> None:
    machine = busy()
    breakage(machine)
    with pytest.raises(InvariantError):
        check(machine)


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        (start_no_engine_for_ready_work, "no engine is started"),
        (leave_work_behind_a_long_task, "nobody will look"),
    ],
)
def test_what_waits_in_vain_is_named(breakage: Callable[[Machine], None], said: str) -> None:
    machine = busy()
    breakage(machine)
    with pytest.raises(InvariantError, match=said):
        check(machine)


def test_a_segment_that_is_not_freed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(checked=True)
    ref = cluster.client.put(Large("x"))
    cluster.run(0.1)
    monkeypatch.setattr(cluster.hub.machine.objects, "discard", lambda value: None)
    cluster.client.drop(ref)
    cluster.run(0.1)
    with pytest.raises(InvariantError, match="not freed"):
        cluster.hub.check_segments()


def test_what_is_left_behind_is_noticed() -> None:
    with pytest.raises(InvariantError, match=r"left behind: .* objects, .* tasks"):
        check_empty(busy())
