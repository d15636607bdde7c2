"""Clients that come and go: what they hold, what they defined, what they had submitted."""

from __future__ import annotations

import pytest

from parallax.messages import (
    BlobDefined,
    FailedRetried,
    Failure,
    JobOpened,
    Left,
    ObjectPut,
    ObjectsReady,
    ObjectsWanted,
    Printed,
    RefsChanged,
    Said,
    SegmentsFreed,
    ShutdownRequested,
    Stored,
    TaskInterrupted,
    TaskSpec,
    TasksSubmitted,
    TemplateDefined,
    TemplatesDropped,
    TemplatesForgotten,
)
from parallax.testing import Cluster, TaskContext, check_empty
from parallax.testing.programs import Steps
from tests.core.builders import CLIENT, NODE, Bench, hello

OTHER = 9


def test_the_last_reference_gone_frees_the_value() -> None:
    bench = Bench()
    bench.say(CLIENT, ObjectPut(10, Stored("seg", 1, CLIENT)))
    bench.join(OTHER, hello("client"))
    bench.say(OTHER, RefsChanged([10, 10], []), RefsChanged([10], []))
    bench.say(CLIENT, RefsChanged([], [10]))
    assert bench.heard(CLIENT, SegmentsFreed) == []
    bench.say(OTHER, RefsChanged([], [10, 10]))
    assert [m.names for m in bench.heard(CLIENT, SegmentsFreed)] == [["seg"]]
    assert not bench.machine.objects.rows


def test_references_inside_values_keep_what_they_refer_to() -> None:
    bench = Bench()
    bench.say(
        CLIENT, ObjectPut(1, b"leaf"), ObjectPut(2, b"node", [1, 1]), ObjectPut(3, b"root", [2])
    )
    bench.say(CLIENT, RefsChanged([], [1, 2]))
    assert sorted(bench.machine.objects.rows) == [1, 2, 3]
    bench.say(CLIENT, RefsChanged([], [3]))
    assert not bench.machine.objects.rows


def test_a_nest_of_ten_thousand_values_is_freed_without_recursion_trouble() -> None:
    bench = Bench()
    puts = [ObjectPut(i, b"x", [i - 1] if i > 1 else []) for i in range(1, 10_000)]
    bench.say(CLIENT, *puts)
    bench.say(CLIENT, RefsChanged([], list(range(1, 9_999))))
    assert len(bench.machine.objects.rows) == 9_999
    bench.say(CLIENT, RefsChanged([], [9_999]))
    assert not bench.machine.objects.rows


def test_who_asks_for_an_object_gets_it_now_or_later_or_hears_that_it_is_gone() -> None:
    bench = Bench()
    bench.join(OTHER, hello("client"))
    bench.submit(TaskSpec(10, bench.template(), b""))
    bench.say(CLIENT, ObjectPut(20, b"there"))
    bench.say(OTHER, RefsChanged([10, 20], []), ObjectsWanted([10, 10, 20, 4711]))
    first = bench.ready(OTHER)
    assert first[20] == b"there"
    assert "4711" not in first
    assert first[4711].kind == "object_lost"  # type: ignore[union-attr]
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, b"later")
    assert [m.items for m in bench.heard(OTHER, ObjectsReady)] == [[(10, b"later")]]


def test_a_reference_may_be_heard_of_before_the_object() -> None:
    """It travelled from client to client past the hub."""
    bench = Bench()
    bench.join(OTHER, hello("client"))
    bench.say(OTHER, RefsChanged([10], []))
    bench.submit(TaskSpec(10, bench.template(), b""))
    bench.say(CLIENT, RefsChanged([], [10]))
    bench.say(OTHER, ObjectsWanted([10]))
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, b"value")
    assert bench.ready(OTHER) == {10: b"value"}
    bench.say(OTHER, RefsChanged([], [10]))
    assert not bench.machine.objects.rows


def test_work_of_a_client_that_is_gone_is_cancelled() -> None:
    bench = Bench()
    template = bench.template()
    bench.submit(*(TaskSpec(i, template, b"") for i in range(10, 20)))
    bench.submit(TaskSpec(30, template, b"", deps=[10, 19]))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.say(CLIENT, Left())
    assert [m.task for m in bench.heard(engine, TaskInterrupted)] == [task.id]
    assert list(bench.machine.tasks.rows) == [task.id]
    bench.finish(engine, task, Stored("seg", 1, engine))
    assert [m.names for m in bench.heard(engine, SegmentsFreed)] == [["seg"]]
    assert not bench.machine.tasks.rows
    assert not bench.machine.objects.rows
    assert bench.stopped == []


def test_work_that_somebody_else_waits_for_goes_on() -> None:
    bench = Bench()
    bench.join(OTHER, hello("client"))
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""), TaskSpec(20, template, b"", deps=[10]))
    bench.submit(TaskSpec(30, template, b""))
    bench.say(OTHER, RefsChanged([20], []), ObjectsWanted([20]))
    bench.lose(CLIENT)
    engine = bench.engines[0]
    for expected in (10, 20):
        (task,) = bench.assigned(engine)
        assert task.id == expected
        bench.finish(engine, task, b"value")
    assert bench.ready(OTHER) == {20: b"value"}
    assert not bench.machine.tasks.rows


def test_nothing_leaks_when_clients_come_and_go() -> None:
    def nested(task: TaskContext) -> Steps:
        yield 0.001
        inner = task.submit(0.001)
        yield inner
        return [inner, task.put("x")]

    cluster = Cluster(engines=2, checked=True)
    for _ in range(5):
        client = cluster.join()
        refs = [client.submit(nested) for _ in range(5)]
        refs.append(client.submit(0.01, *refs))
        cluster.run(0.02)
        client.close()
        cluster.run(0.5)
    cluster.run(5.0)
    check_empty(cluster.hub.machine)
    assert not cluster.segments


def test_code_lives_as_long_as_somebody_needs_it() -> None:
    bench = Bench()
    bench.join(OTHER, hello("client"))
    for client in (CLIENT, OTHER):
        bench.say(client, BlobDefined(b"key", b"code"))
    bench.say(CLIENT, TemplateDefined(1, "f", b"key", demand={"CPU": 1.0}))
    bench.submit(TaskSpec(10, 1, b""))
    engine = bench.engines[0]
    assert bench.heard(engine, BlobDefined) == [BlobDefined(b"key", b"code")]
    (task,) = bench.assigned(engine)
    bench.say(OTHER, RefsChanged([10], []), Left())
    bench.lose(CLIENT)
    bench.finish(engine, task, b"value")
    bench.wait(10.0)  # until no timer of its cancellation is left
    assert not bench.machine.templates.blobs
    assert not bench.machine.templates.rows


def test_what_a_client_drops_is_forgotten_where_no_task_needs_it() -> None:
    bench = Bench(cpus=1)
    for template in (1, 2):
        bench.say(CLIENT, BlobDefined(b"key", b"code"))
        bench.say(CLIENT, TemplateDefined(template, "f", b"key", demand={"CPU": 1.0}))
    bench.submit(*(TaskSpec(i, 1, b"") for i in range(10, 12)), TaskSpec(20, 2, b""))
    engine = bench.engines[0]
    (task,) = bench.assigned(engine)
    bench.heard(engine, BlobDefined)
    bench.say(CLIENT, TemplatesDropped([1], [b"key"]))
    assert bench.heard(engine, TemplatesForgotten) == [TemplatesForgotten([1], [b"key"])]
    bench.finish(engine, task, b"")  # the other task of it still waits, and it is told anew
    assert bench.heard(engine, BlobDefined) == [BlobDefined(b"key", b"code")]
    assert [m.template for m in bench.heard(engine, TemplateDefined)] == [1, 1]
    for _ in range(2):
        for task in bench.assigned(engine):
            bench.finish(engine, task, b"")
    assert not bench.machine.tasks.rows
    bench.say(CLIENT, RefsChanged([], [10, 11, 20]))
    assert list(bench.machine.templates.rows) == [2]
    bench.say(CLIENT, TemplatesDropped([2], [b"key"]))
    assert not bench.machine.templates.rows
    assert not bench.machine.templates.blobs
    bench.say(CLIENT, TemplateDefined(3, "f", b"key", demand={"CPU": 1.0}))
    bench.submit(TaskSpec(30, 3, b""))
    assert CLIENT in bench.machine.peers


@pytest.mark.parametrize("message", [TemplatesDropped([7], []), TemplatesDropped([], [b"other"])])
def test_nobody_drops_what_he_has_not_defined(message: TemplatesDropped) -> None:
    bench = Bench()
    bench.say(CLIENT, message)
    assert CLIENT not in bench.machine.peers


def test_a_failed_task_can_be_run_again_though_its_template_was_dropped() -> None:
    bench = Bench()
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""))
    (task,) = bench.assigned(bench.engines[0])
    bench.say(CLIENT, TemplatesDropped([template], []))
    bench.finish(bench.engines[0], task, Failure("error", "no"))
    bench.submit(TaskSpec(11, template, b""))
    assert [task.id for task in bench.assigned(bench.engines[0])] == [11]
    bench.say(CLIENT, FailedRetried(1, [10]))


def test_an_engine_is_taught_a_function_once() -> None:
    bench = Bench()
    bench.say(CLIENT, BlobDefined(b"key", b"code"))
    bench.say(CLIENT, TemplateDefined(1, "f", b"key", demand={"CPU": 1.0}))
    bench.say(CLIENT, TemplateDefined(2, "f", b"key", demand={"CPU": 1.0}, max_retries=0))
    bench.submit(*(TaskSpec(i, 1 + i % 2, b"") for i in range(10, 20)))
    engine = bench.engines[0]
    for _ in range(10):
        for task in bench.assigned(engine):
            bench.finish(engine, task, b"")
    assert len(bench.heard(engine, BlobDefined)) == 1
    assert [m.template for m in bench.heard(engine, TemplateDefined)] == [1, 2]


def test_captured_objects_live_while_tasks_may_need_them() -> None:
    bench = Bench()
    bench.say(CLIENT, ObjectPut(5, b"a large global"))
    template = bench.template(captured=[5])
    bench.submit(TaskSpec(10, template, b""))
    bench.say(CLIENT, RefsChanged([], [5]))
    assert 5 in bench.machine.objects.rows
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, b"")
    assert 5 not in bench.machine.objects.rows


def test_output_goes_to_the_client_of_the_job_and_is_kept() -> None:
    bench = Bench()
    bench.say(CLIENT, JobOpened(1, "cell"))
    bench.submit(TaskSpec(10, bench.template(), b""))
    engine = bench.engines[0]
    bench.say(engine, Printed(10, 1, "stdout", "hi"), Printed(10, 99, "stdout", "lost"))
    number = bench.machine.peers[engine].engine.number  # type: ignore[union-attr]
    assert bench.heard(CLIENT, Said) == [Said(1, 10, number, "f", "stdout", "hi")]
    assert list(bench.machine.jobs[1].output) == [(10, "stdout", "hi")]


def test_a_job_is_opened_by_its_first_task_if_need_be() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""), job=77)
    assert bench.machine.jobs[77].state == "running"
    (task,) = bench.assigned(bench.engines[0])
    bench.now = 5.0
    bench.finish(bench.engines[0], task, b"")
    assert bench.machine.jobs[77].state == "done"
    assert bench.machine.jobs[77].ended_at == 5.0


def test_a_shutdown_that_is_asked_for_is_the_end() -> None:
    bench = Bench()
    bench.say(CLIENT, ShutdownRequested("enough"))
    assert bench.stopped == ["enough"]


def test_messages_of_strangers_are_ignored() -> None:
    bench = Bench()
    bench.say(4711, TasksSubmitted(1, 0, []), RefsChanged([1], []))
    bench.lose(4711)
    assert not bench.machine.objects.rows
    assert NODE in bench.machine.peers
