"""Whose turn it is among ready tasks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from parallax.core.jobs import JobRecord
from parallax.core.ready import Lane, ReadyTable, Shape
from parallax.core.records import Group, TaskRecord, Template
from parallax.core.resources import Demand
from parallax.core.states import TaskState
from parallax.messages import JobOpened, TemplateDefined
from tests.core.depth import examples


class Bench:
    """Tasks of any job, shape and depth, and the table that orders them."""

    def __init__(self) -> None:
        self.table = ReadyTable()
        self._jobs: dict[int, JobRecord] = {}
        self._shapes: dict[float, Shape] = {}
        self._lanes: dict[tuple[int, float, int], Lane] = {}
        self._next = 0

    def shape(self, cpus: float) -> Shape:
        if cpus not in self._shapes:
            self._shapes[cpus] = Shape(Demand({"CPU": cpus}), spread=False, affinity=-1, soft=False)
        return self._shapes[cpus]

    def task(self, job: int = 1, cpus: float = 1.0, depth: int = 0) -> TaskRecord:
        record = self._jobs.setdefault(job, JobRecord(JobOpened(job, ""), 0, 0.0))
        shape = self.shape(cpus)
        lane = self._lanes.setdefault((job, cpus, depth), Lane(shape, record, depth))
        self._next += 1
        group = Group(Template(TemplateDefined(1, "f", b""), shape, []), record, lane)
        return TaskRecord(self._next, group, 0, b"", [], [], -1, 1, 0, self._next)

    def push(self, *args: float) -> TaskRecord:
        task = self.task(*args)  # type: ignore[arg-type]
        self.table.push(task)
        return task

    def pop(self, cpus: float = 1.0, seconds: float = 1.0) -> TaskRecord:
        lane = self.shape(cpus).first()
        task = lane.peek()
        self.table.pop(lane, task)
        self.table.charge(lane.job, seconds)
        task.state = TaskState.ASSIGNED
        return task

    def end(self, task: TaskRecord) -> None:
        task.state = TaskState.ENDED
        self.table.discard(task)


def test_first_come_first_served() -> None:
    bench = Bench()
    tasks = [bench.push() for _ in range(5)]
    assert [bench.pop() for _ in range(5)] == tasks
    assert not bench.table.shapes


def test_what_was_submitted_first_goes_first_whenever_it_became_ready() -> None:
    bench = Bench()
    tasks = [bench.task() for _ in range(6)]
    for number in (1, 4, 3, 5, 0):
        bench.table.push(tasks[number])
    assert [bench.pop() for _ in range(3)] == [tasks[0], tasks[1], tasks[3]]
    bench.table.push(tasks[2])
    bench.table.push(tasks[0])  # to be run again
    assert [bench.pop() for _ in range(4)] == [tasks[0], tasks[2], tasks[4], tasks[5]]
    assert not bench.table.shapes


def test_the_deepest_nested_tasks_come_first() -> None:
    bench = Bench()
    root = bench.push(1, 1.0, 0)
    child = bench.push(1, 1.0, 1)
    grandchild = bench.push(1, 1.0, 2)
    assert [bench.pop() for _ in range(3)] == [grandchild, child, root]


def test_a_small_job_does_not_wait_for_a_large_one_that_came_first() -> None:
    bench = Bench()
    for _ in range(1000):
        bench.push(1)
    for _ in range(10):
        bench.pop()
    small = bench.push(2)
    assert small in [bench.pop() for _ in range(2)]


def test_jobs_share_time_not_numbers_of_tasks() -> None:
    bench = Bench()
    for _ in range(1000):
        bench.push(1)
        bench.push(2)
    served = Counter[int]()
    for _ in range(200):
        job = bench.shape(1.0).first().job.id
        served[job] += 1
        bench.pop(seconds=0.01 if job == 1 else 0.03)
    assert 140 <= served[1] <= 160


def test_a_job_saves_up_no_claim_while_it_has_nothing_to_do() -> None:
    bench = Bench()
    bench.push(1)
    bench.pop()
    for _ in range(100):
        bench.push(2)
    for _ in range(50):
        bench.pop()
    for _ in range(100):
        bench.push(1)
    jobs = [bench.pop().group.job.id for _ in range(20)]
    assert 8 <= jobs.count(1) <= 12


def test_shapes_take_turns() -> None:
    bench = Bench()
    for _ in range(3):
        bench.push(1, 1.0)
        bench.push(1, 2.0)
    turns = []
    for _ in range(6):
        shape = bench.table.order()[0]
        bench.table.serve(shape)
        bench.pop(shape.demand.cpus / 10_000)
        turns.append(shape.demand.cpus // 10_000)
    assert turns == [1, 2, 1, 2, 1, 2]


def test_ended_tasks_are_skipped_and_leave_nothing_behind() -> None:
    bench = Bench()
    tasks = [bench.push() for _ in range(10)]
    for task in tasks[:9]:
        bench.end(task)
    assert bench.table.count == 1
    assert bench.pop() is tasks[9]

    tasks = [bench.push() for _ in range(10)]
    for task in tasks:
        bench.end(task)
    assert not bench.table.shapes
    lane = tasks[0].group.lane
    assert not lane.queue
    assert not lane.late


@examples(100)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("submit"), st.integers(1, 3), st.sampled_from([1.0, 2.0]), st.integers(0, 2)
            ),
            st.tuples(st.just("push"), st.integers(0, 100)),
            st.tuples(st.just("pop"), st.sampled_from([1.0, 2.0])),
            st.tuples(st.just("back"), st.integers(0, 100)),
            st.tuples(st.just("end"), st.integers(0, 100)),
        ),
        max_size=60,
    )
)
def test_every_task_comes_out_in_its_order_or_ends(steps: list[tuple[object, ...]]) -> None:
    bench = Bench()
    waiting: list[TaskRecord] = []
    ready: list[TaskRecord] = []
    taken: list[TaskRecord] = []
    for step in steps:
        match step:
            case ("submit", int(job), float(cpus), int(depth)):
                waiting.append(bench.task(job, cpus, depth))
            case ("push", int(index)) if waiting:
                ready.append(waiting.pop(index % len(waiting)))
                bench.table.push(ready[-1])
            case ("back", int(index)) if taken:
                ready.append(taken.pop(index % len(taken)))
                bench.table.push(ready[-1])
            case ("pop", float(cpus)) if bench.shape(cpus).count:
                taken.append(bench.pop(cpus))
                lane = taken[-1].group.lane
                mates = [task.order for task in ready if task.group.lane is lane]
                assert taken[-1].order == min(mates)
                ready.remove(taken[-1])
            case ("end", int(index)) if ready:
                bench.end(ready.pop(index % len(ready)))
        assert bench.table.count == len(ready)
        for shape in bench.table.shapes:
            expected = sum(task.group.lane.shape is shape for task in ready)
            assert shape.count == expected > 0
            depths = [lane.depth for lane in shape.lanes if lane.job is shape.first().job]
            assert shape.first().depth == max(depths)
