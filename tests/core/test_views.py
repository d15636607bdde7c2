"""Answers to questions are plain data that travels."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.core.machine import Machine, PeerJoined, Received
from parallax.core.outbox import Action, Send
from parallax.messages import Answered, Asked, Failure, ObjectPut, Stored, TaskBlocked, TaskSpec
from parallax.net import codec
from tests.core.builders import CLIENT, NODE, Bench, hello


def ask(bench: Bench, what: str, argument: Any = None) -> Any:
    bench.say(CLIENT, Asked(1, what, argument))
    (answered,) = bench.heard(CLIENT, Answered)
    codec.decode_from_hub(codec.encode([answered]))
    if answered.error:
        raise LookupError(answered.error)
    return answered.answer


def test_nodes_and_resources() -> None:
    bench = Bench(cpus=2, GPU=1)
    bench.submit(TaskSpec(10, bench.template(), b""))
    busy = next(p for p in bench.engines if bench.assigned(p))
    (node,) = ask(bench, "nodes")
    assert node["resources"] == {"CPU": 2.0, "GPU": 1.0}
    assert node["available"] == {"CPU": 1.0, "GPU": 1.0}
    assert sorted(engine["state"] for engine in node["engines"]) == ["busy", "idle"]
    assert {engine["running"] for engine in node["engines"]} == {"f", ""}
    assert ask(bench, "resources") == {
        "total": {"CPU": 2.0, "GPU": 1.0},
        "available": {"CPU": 1.0, "GPU": 1.0},
    }
    bench.say(busy, TaskBlocked(10))
    states = {engine["state"] for engine in ask(bench, "nodes")[0]["engines"]}
    assert "blocked" in states
    bench.die(busy, running=10)
    assert len(ask(bench, "nodes")[0]["engines"]) == 1


def test_jobs_and_their_tasks() -> None:
    bench = Bench()
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""), TaskSpec(20, template, b""))
    (job,) = ask(bench, "jobs")
    assert job == ask(bench, "job", 1)
    assert (job["state"], job["running"]) == ("running", 1)
    assert job["counts"]["f"]["pending"] == 2
    assert ask(bench, "job_tasks", 1) == [10, 20]
    assert ask(bench, "job_errors", 1) == []
    assert ask(bench, "job_output", 1) == []
    with pytest.raises(LookupError):
        ask(bench, "job", 4711)


def test_a_chunk_counts_as_the_items_it_has_yet_to_make() -> None:
    from parallax.messages import CancelRequested, Chunk

    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), Chunk([b"0", b"1", b"2"])))
    bench.say(CLIENT, CancelRequested([11]))
    assert ask(bench, "job_tasks", 1) == [10, 12]


def test_where_a_task_stands() -> None:
    bench = Bench()
    template = bench.template()
    bench.submit(TaskSpec(10, template, b""), TaskSpec(20, template, b"", deps=[10]))
    bench.submit(TaskSpec(30, template, b""))
    running, waiting, ready = (ask(bench, "task", i) for i in (10, 20, 30))
    assert (running["state"], running["engine"]) == ("assigned", 1)
    assert (waiting["state"], waiting["waiting_for"]) == ("waiting", [10])
    assert (ready["state"], ready["asks"]) == ("ready", "num_cpus=1")
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, Failure("task", "no"))
    assert ask(bench, "task", 10) == {"state": "ended", "value": "Failure", "job": 1}
    bench.say(CLIENT, ObjectPut(40, Stored("seg", 1, CLIENT)))
    assert ask(bench, "task", 40)["value"] == "stored"
    with pytest.raises(LookupError, match="4711"):
        ask(bench, "task", 0x4711)


def test_the_timeline_and_the_counts() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""))
    (task,) = bench.assigned(bench.engines[0])
    bench.finish(bench.engines[0], task, b"", duration_s=0.5, started_at=7.0)
    assert ask(bench, "timeline") == [("f", 10, 1, 1, 7.0, 0.5)]
    counts = ask(bench, "counts")
    assert counts["tasks"] == counts["ready"] == 0
    assert counts["objects"] == counts["clients"] == counts["engines"] == 1


@pytest.mark.parametrize("argument", [None, "x", [1], -1, 1.5, {}])
@pytest.mark.parametrize("what", ["nonsense", "job", "task", "job_tasks", "job_errors"])
def test_senseless_questions_get_an_error_for_an_answer(what: str, argument: Any) -> None:
    bench = Bench()
    with pytest.raises(LookupError, match=what):
        ask(bench, what, argument)
    assert bench.dropped == {}


def test_questions_about_nodes_wait_for_the_first() -> None:
    # Given a client that has joined before the first node,
    machine = Machine()
    machine.handle([PeerJoined(CLIENT, hello("client"))], 0.0)
    questions = [Received(CLIENT, Asked(i, what)) for i, what in enumerate(("resources", "counts"))]
    # then it hears of what is there at once,
    assert [answer.request for answer in _answers(machine.handle(questions, 0.0))] == [1]
    # and of the nodes when there is one.
    (answer,) = _answers(machine.handle([PeerJoined(NODE, hello("node", CPU=2))], 1.0))
    assert answer.answer["total"] == {"CPU": 2.0}


def _answers(actions: list[Action]) -> list[Answered]:
    sent = [a for a in actions if isinstance(a, Send) and a.peer == CLIENT]
    return [m for action in sent for m in action.messages if isinstance(m, Answered)]
