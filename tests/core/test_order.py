"""Among tasks that are ready, those that were submitted first run first."""

from __future__ import annotations

from parallax.messages import TaskSpec
from parallax.testing import Cluster, Ref, TaskContext
from parallax.testing.programs import Steps
from tests.core.builders import Bench


def test_pipelines_are_finished_before_new_ones_begin() -> None:
    """Fifty times load, then use: never more loaded than the engines are about to use."""
    loaded: set[int] = set()
    most = 0

    def load(task: TaskContext) -> Steps:
        nonlocal most
        yield 0.02
        loaded.add(id(task))
        most = max(most, len(loaded))
        return id(task)

    def use(task: TaskContext) -> Steps:
        yield 0.02
        loaded.remove(task.args[0])

    cluster = Cluster(engines=4, checked=True)
    keep: list[Ref] = []
    for _ in range(50):
        keep.append(cluster.submit(load))
        keep.append(cluster.submit(use, keep[-1]))
    cluster.run()
    assert not loaded
    assert most <= 8


def test_what_runs_again_or_was_waiting_takes_its_old_place() -> None:
    bench = Bench(cpus=1)
    (engine,) = bench.engines
    template = bench.template()
    bench.submit(TaskSpec(5, template, b""), TaskSpec(10, template, b"", deps=[5]))
    bench.submit(*(TaskSpec(i, template, b"") for i in (11, 12)))
    (first,) = bench.assigned(engine)
    bench.finish(engine, first, b"", duration_s=1.0)
    (second,) = bench.assigned(engine)
    assert (first.id, second.id) == (5, 10)
    bench.die(engine, running=10)
    bench.start_engines()
    order = []
    while tasks := bench.assigned(bench.engines[0]):
        order += [(task.id, task.attempt) for task in tasks]
        for task in tasks:
            bench.finish(bench.engines[0], task, b"", duration_s=1.0)
    assert order == [(10, 1), (11, 0), (12, 0)]


def test_pieces_of_a_chunk_come_where_the_chunk_was() -> None:
    cluster = Cluster(engines=1, checked=True)
    began: list[str] = []

    def named(name: str):  # type: ignore[no-untyped-def]
        def program(task: TaskContext) -> Steps:
            began.append(name)
            yield 0.05

        return program

    cluster.client.map([named(f"item {i}") for i in range(3)])
    for i in range(2):
        cluster.submit(named(f"task {i}"))
    cluster.run()
    assert began == ["item 0", "item 1", "item 2", "task 0", "task 1"]
