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
        return TaskRecord(self._next, group, 0, b"", [], [], -1, 1, 0)

    def push(self, *args: float, first: bool = False) -> TaskRecord:
        task = self.task(*args)  # type: ignore[arg-type]
        self.table.push(task, first=first)
        return task

    def pop(self, cpus: float = 1.0, seconds: float = 1.0) -> TaskRecord:
        lane = self.shape(cpus).first()
        task = lane.peek()
        self.table.pop(lane)
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


def test_what_had_its_turn_goes_first() -> None:
    bench = Bench()
    bench.push()
    again = bench.push(first=True)
    assert bench.pop() is again


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
    assert not tasks[0].group.lane.queue


@examples(100)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("push"),
                st.integers(1, 3),
                st.sampled_from([1.0, 2.0]),
                st.integers(0, 2),
                st.booleans(),
            ),
            st.tuples(st.just("pop"), st.sampled_from([1.0, 2.0])),
            st.tuples(st.just("end"), st.integers(0, 100)),
        ),
        max_size=60,
    )
)
def test_every_task_comes_out_once_or_ends(steps: list[tuple[object, ...]]) -> None:
    bench = Bench()
    waiting: list[TaskRecord] = []
    for step in steps:
        match step:
            case ("push", int(job), float(cpus), int(depth), bool(first)):
                waiting.append(bench.push(job, cpus, depth, first=first))
            case ("pop", float(cpus)) if bench.shape(cpus).count:
                waiting.remove(bench.pop(cpus))
            case ("end", int(index)) if waiting:
                bench.end(waiting.pop(index % len(waiting)))
        assert bench.table.count == len(waiting)
        for shape in bench.table.shapes:
            expected = sum(task.group.lane.shape is shape for task in waiting)
            assert shape.count == expected > 0
            depths = [lane.depth for lane in shape.lanes if lane.job is shape.first().job]
            assert shape.first().depth == max(depths)
