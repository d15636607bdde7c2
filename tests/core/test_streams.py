"""Streaming tasks: items in order, each once, whatever happens to the engine."""

from __future__ import annotations

import pytest

from parallax.messages import (
    CALL,
    Assignment,
    CallsSubmitted,
    CancelRequested,
    Failure,
    ItemReady,
    ItemsConsumed,
    ItemYielded,
    RefsChanged,
    SegmentsFreed,
    Stored,
    TaskInterrupted,
    TaskSpec,
)
from parallax.testing import Cluster, Emit, Faults, Raised, Ref, TaskContext, check_empty
from parallax.testing.programs import Steps
from tests.core.actor_bench import NONE, ActorBench
from tests.core.builders import CLIENT, Bench


def count_to(n: int, *, fail: bool = False, crash_at: int = -1):  # type: ignore[no-untyped-def]
    def program(task: TaskContext) -> Steps:
        for number in range(n):
            if number == crash_at and not task.attempt:
                task.crash()
            yield 0.001
            yield Emit(number)
        if fail:
            raise ValueError("the end")

    return program


def items(cluster: Cluster, stream: Ref) -> list[object]:
    ids = cluster.client.streams[stream.id]
    assert ids[-1] == 0
    return [cluster.result(Ref(i)) for i in ids[:-1]]


def test_items_come_in_order_and_then_the_end() -> None:
    cluster = Cluster(engines=1, checked=True)
    stream = cluster.submit(count_to(10), streaming=True)
    cluster.run()
    assert items(cluster, stream) == list(range(10))
    assert cluster.hub.machine.jobs[1].of("f").done == 1


def test_an_exception_is_the_last_item() -> None:
    cluster = Cluster(engines=1, checked=True)
    stream = cluster.submit(count_to(3, fail=True), streaming=True)
    cluster.run()
    with pytest.raises(Raised, match="the end"):
        items(cluster, stream)
    assert len(cluster.client.streams[stream.id]) == 5
    assert cluster.hub.machine.jobs[1].state == "failed"


def test_a_retry_goes_on_where_the_first_attempt_was() -> None:
    cluster = Cluster(engines=1, checked=True)
    stream = cluster.submit(count_to(10, crash_at=6), streaming=True)
    cluster.run()
    assert items(cluster, stream) == list(range(10))


def test_an_engine_that_dies_once_too_often_ends_the_stream_with_that_error() -> None:
    cluster = Cluster(engines=1, checked=True)
    stream = cluster.submit(count_to(10, crash_at=6), streaming=True, max_retries=0)
    cluster.run()
    with pytest.raises(Raised, match="engine_died"):
        items(cluster, stream)


def test_a_cancelled_stream_ends() -> None:
    cluster = Cluster(engines=1, checked=True)
    stream = cluster.submit(count_to(1000), streaming=True)
    cluster.run(0.1)
    cluster.client.cancel(stream)
    cluster.run()
    assert 1 < len(cluster.client.streams[stream.id]) < 200


@pytest.mark.parametrize("backpressure", [1, 3])
def test_the_task_is_never_further_ahead_than_it_may_be(backpressure: int) -> None:
    cluster = Cluster(engines=1, checked=True)
    cluster.client.read_s = 0.05
    stream = cluster.submit(count_to(10), streaming=True, backpressure=backpressure)
    ids = cluster.client.streams[stream.id]
    ahead = 0
    while not ids or ids[-1]:
        cluster.run(0.001)
        consumed = cluster.hub.machine.tasks.rows.get(stream.id)
        if consumed is not None and consumed.stream is not None:
            ahead = max(ahead, consumed.stream.count - consumed.stream.consumed)
    assert ahead == backpressure
    assert items(cluster, stream) == list(range(10))


def test_a_retry_with_backpressure_is_told_what_was_taken_before() -> None:
    cluster = Cluster(engines=1, checked=True)
    stream = cluster.submit(count_to(20, crash_at=10), streaming=True, backpressure=2)
    cluster.run()
    assert items(cluster, stream) == list(range(20))


@pytest.mark.parametrize("seed", range(5))
def test_items_come_once_each_under_fire(seed: int) -> None:
    faults = Faults(crashes_per_s=10.0, duplicate=0.1)
    cluster = Cluster(engines=2, seed=seed, faults=faults, checked=True, jitter=True)
    streams = [
        cluster.submit(count_to(20), streaming=True, backpressure=b, max_retries=-1)
        for b in (0, 1, 4)
    ]
    cluster.run()
    for stream in streams:
        assert items(cluster, stream) == list(range(20))
    cluster.close()
    check_empty(cluster.hub.machine)


class TestByHand:
    """One streaming task at one engine."""

    def given(self, **options: int) -> tuple[Bench, int]:
        bench = Bench()
        bench.submit(TaskSpec(10, bench.template(streaming=True, **options), b""))
        return bench, bench.engines[0]

    def test_a_streaming_task_has_no_object_of_its_own(self) -> None:
        bench, engine = self.given()
        (task,) = bench.assigned(engine)
        bench.finish(engine, task, b"None")
        assert bench.heard(CLIENT, ItemReady) == [ItemReady(10, 0, 0)]
        assert not bench.machine.objects.rows

    def test_an_item_out_of_order_costs_the_engine_its_place(self) -> None:
        bench, engine = self.given()
        bench.say(engine, ItemYielded(10, 0, 5, 99, b"x"))
        assert "out of order" in bench.dropped[engine]

    def test_late_items_are_freed(self) -> None:
        bench, engine = self.given()
        bench.say(engine, ItemYielded(10, 7, 0, 99, Stored("late", 1, engine)))
        assert [m.names for m in bench.heard(engine, SegmentsFreed)] == [["late"]]
        assert bench.heard(CLIENT, ItemReady) == []

    def test_the_reader_gets_the_value_with_the_item(self) -> None:
        bench, engine = self.given()
        bench.say(engine, ItemYielded(10, 0, 0, 99, b"x"))
        assert bench.heard(CLIENT, ItemReady) == [ItemReady(10, 0, 99)]
        assert bench.ready() == {99: b"x"}
        bench.say(CLIENT, RefsChanged([], [99]))
        assert 99 not in bench.machine.objects.rows

    def test_consumption_is_told_to_the_engine_once(self) -> None:
        bench, engine = self.given(backpressure=1)
        bench.say(engine, ItemYielded(10, 0, 0, 99, b"x"))
        bench.say(CLIENT, ItemsConsumed(10, 1), ItemsConsumed(10, 1))
        assert bench.heard(engine, ItemsConsumed) == [ItemsConsumed(10, 1)]
        bench.say(CLIENT, ItemsConsumed(4711, 1))

    def test_cancelled_before_it_began(self) -> None:
        bench, _ = self.given()
        bench.submit(TaskSpec(20, bench.template(streaming=True), b""))
        bench.say(CLIENT, CancelRequested([20]))
        assert bench.heard(CLIENT, ItemReady) == [ItemReady(20, 0, 20), ItemReady(20, 1, 0)]
        (failure,) = bench.ready().values()
        assert isinstance(failure, Failure)
        assert failure.kind == "cancelled"

    def test_a_reader_that_is_gone_gets_nothing(self) -> None:
        bench, engine = self.given()
        bench.lose(CLIENT)
        bench.say(engine, ItemYielded(10, 0, 0, 99, Stored("seg", 1, engine)))
        assert [m.names for m in bench.heard(engine, SegmentsFreed)] == [["seg"]]
        assert 99 not in bench.machine.objects.rows


# ---- readers that are gone ------------------------------------------------------------------


class TestTheReaderIsGone:
    """A stream that nobody can read any more is cancelled: its ``finally`` blocks run."""

    def given(self, **how: object) -> tuple[ActorBench, int, int, int]:
        """An actor with a streaming method, and an engine that runs a plain task."""
        bench = ActorBench(2)
        actor = bench.create(**how)  # type: ignore[arg-type]
        home = bench.settle()
        bench.submit(TaskSpec(10, bench.template(), b""))
        (engine,) = [peer for peer in bench.engines if 10 in bench.ids(peer)]
        return bench, actor, home, engine

    def read(self, bench: ActorBench, actor: int, peer: int, parent: int = 0) -> int:
        method = bench.template(
            cpus=0, peer=peer, role=CALL, method="s", streaming=True, max_retries=0
        )
        call = peer * 1000 + 7
        bench.say(peer, CallsSubmitted(1, parent, actor, 0, [TaskSpec(call, method, b"")]))
        return call

    def interrupted(self, bench: ActorBench, peer: int) -> list[int]:
        return [message.task for message in bench.heard(peer, TaskInterrupted)]

    def test_the_task_that_read_it_has_ended(self) -> None:
        bench, actor, home, engine = self.given()
        call = self.read(bench, actor, engine, parent=10)
        assert self.interrupted(bench, home) == []
        bench.finish(engine, Assignment(10, 0, 0, b"", 1, [], [], -1, [], []), NONE)
        assert self.interrupted(bench, home) == [call]

    def test_other_work_of_a_task_that_has_ended_goes_on(self) -> None:
        bench, actor, home, engine = self.given()
        bench.say(engine, CallsSubmitted(1, 10, actor, 0, [TaskSpec(99, bench.method, b"")]))
        bench.finish(engine, Assignment(10, 0, 0, b"", 1, [], [], -1, [], []), NONE)
        assert self.interrupted(bench, home) == []

    def test_what_one_call_of_an_actor_has_begun_to_read_the_next_may_read(self) -> None:
        bench, actor, home, _ = self.given()
        other = bench.create()
        reader = bench.settle()
        (begun,) = bench.call(other)
        call = self.read(bench, actor, reader, parent=begun)
        (task,) = bench.assigned(reader)
        bench.finish(reader, task, NONE)
        assert self.interrupted(bench, home) == []

        # ... until its process is gone
        bench.die(reader)
        assert self.interrupted(bench, home) == [call]

    def test_a_client_that_leaves_reads_nothing_even_of_a_detached_actor(self) -> None:
        bench, actor, home, _ = self.given(detached=True)
        call = self.read(bench, actor, CLIENT)
        bench.lose(CLIENT)
        assert self.interrupted(bench, home) == [call]
