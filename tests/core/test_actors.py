"""The table of actors: how they come to be, who may call them, and how they end."""

from __future__ import annotations

import pytest

from parallax.core.actor_records import ActorState
from parallax.core.actors import END_GRACE_S
from parallax.core.machine import Received
from parallax.messages import (
    ActorCreated,
    ActorExited,
    ActorStopped,
    Answered,
    Asked,
    CallsSubmitted,
    CancelRequested,
    EnginesWanted,
    EngineUnwanted,
    Failure,
    ItemsConsumed,
    ItemYielded,
    KillRequested,
    MemoryPressed,
    RefsChanged,
    TaskBlocked,
    TaskInterrupted,
    TasksAssigned,
    TaskSpec,
    TaskUnblocked,
)
from parallax.testing import check_empty
from tests.core.actor_bench import NONE, ActorBench
from tests.core.builders import CLIENT, FIRST_ENGINE, NODE, hello

OTHER = 50


def test_a_constructor_makes_an_actor_and_its_calls_go_to_its_engine() -> None:
    bench = ActorBench()
    actor = bench.create()
    calls = bench.call(actor, 3)
    home, constructor = bench.begun()
    assert constructor.id == actor
    bench.finish(home, constructor, NONE)
    assert [task.id for task in bench.assigned(home)] == calls


def test_an_engine_that_belongs_to_an_actor_is_replaced_and_gives_its_cpu_back() -> None:
    bench = ActorBench(cpus=1)
    bench.create()
    home = bench.settle()
    task = TaskSpec(1, bench.template(), b"")
    bench.submit(task)
    (other,) = [peer for peer in bench.engines if peer != home]
    assert bench.ids(other) == [1]


@pytest.mark.parametrize(("keeps", "free"), [(False, 2.0), (True, 1.0)])
def test_explicit_cpus_are_held_while_it_lives(keeps: bool, free: float) -> None:
    bench = ActorBench(cpus=2)
    actor = bench.create(keeps_cpus=keeps)
    bench.settle()
    node = bench.machine.fleet.nodes[0]
    assert node.available["CPU"] / 10_000 == free
    bench.say(CLIENT, KillRequested(actor))
    bench.die(FIRST_ENGINE + next(n for n, e in bench.machine.fleet.engines.items() if e.actor))
    assert node.available["CPU"] / 10_000 == 2.0


def test_other_resources_are_held_in_any_case() -> None:
    bench = ActorBench(cpus=1, crane=2.0)
    bench.create(resources={"crane": 1.5})
    bench.settle()
    assert bench.machine.fleet.nodes[0].available["crane"] == 5_000


def test_what_actors_hold_does_not_have_a_node_emptied_in_vain() -> None:
    """A demand that only fits without an actor waits, and all others go on."""
    bench = ActorBench(cpus=2)
    bench.create(keeps_cpus=True)
    bench.settle()
    big = bench.template(cpus=2)
    small = bench.template(cpus=1)
    bench.submit(TaskSpec(1, big, b""))
    bench.wait(1.0)
    bench.wait(1.0)
    bench.submit(TaskSpec(2, small, b""))
    assert bench.begun()[1].id == 2


def test_a_node_that_is_emptied_is_given_free_when_an_actor_moves_in() -> None:
    bench = ActorBench(cpus=2)
    bench.create(keeps_cpus=True)
    home, constructor = bench.begun()
    big = bench.template(cpus=2)
    bench.submit(TaskSpec(1, big, b""))
    bench.wait(1.0)
    bench.wait(1.0)
    assert bench.machine.fleet.nodes[0].reserved is not None
    bench.finish(home, constructor, NONE)
    bench.start_engines()
    bench.submit(TaskSpec(2, bench.template(cpus=1), b""))
    assert bench.begun()[1].id == 2


def test_what_a_node_was_emptied_against_begins_when_an_actor_moves_in() -> None:
    """Nothing else needs to happen for it: nothing else may ever happen."""
    bench = ActorBench(cpus=2)
    bench.create(keeps_cpus=True)
    home, constructor = bench.begun()
    bench.submit(TaskSpec(1, bench.template(cpus=2), b""))
    bench.wait(1.0)
    bench.wait(1.0)
    bench.submit(TaskSpec(2, bench.template(cpus=1), b""))
    (other,) = [engine for engine in bench.engines if engine != home]
    assert bench.assigned(other) == []
    bench.finish(home, constructor, NONE)
    assert bench.ids(other) == [2]


# ---- order ----------------------------------------------------------------------------------


def test_a_call_that_waits_for_an_argument_holds_up_its_caller_and_nobody_else() -> None:
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    bench.submit(TaskSpec(1, bench.template(), b""))
    _, task = bench.begun()
    first = bench.call(actor, deps=[1])
    second = bench.call(actor)
    bench.join(OTHER, hello("client"))
    bench.say(OTHER, RefsChanged([actor], []))
    theirs = bench.call(actor, peer=OTHER)
    assert bench.ids(home) == theirs
    bench.finish(bench.engines[-1], task, b"value")
    assert bench.ids(home) == first + second


def test_an_actor_without_order_takes_what_is_ready() -> None:
    bench = ActorBench()
    actor = bench.create(ordered=False)
    home = bench.settle()
    bench.submit(TaskSpec(1, bench.template(), b""))
    _, task = bench.begun()
    first = bench.call(actor, deps=[1])
    second = bench.call(actor)
    assert bench.ids(home) == second
    bench.finish(bench.engines[-1], task, b"value")
    assert bench.ids(home) == first


def test_calls_that_are_sent_twice_run_once() -> None:
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    nothing = bench.template(cpus=0, role=2, method="m", num_returns=0)
    message = CallsSubmitted(1, 0, actor, 0, [TaskSpec(70, nothing, b"")])
    bench.say(CLIENT, message)
    (call,) = bench.assigned(home)
    bench.finish(home, call)
    bench.say(CLIENT, message)  # without an object of its own, only its number tells
    assert bench.ids(home) == []


def test_a_call_whose_argument_failed_fails_and_lets_the_next_one_go() -> None:
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    bench.submit(TaskSpec(1, bench.template(max_retries=0), b""))
    peer, task = bench.begun()
    (first,) = bench.call(actor, deps=[1])
    second = bench.call(actor)
    bench.finish(peer, task, Failure("task", "no"))
    assert bench.failure(first).message == "no"
    assert bench.ids(home) == second


# ---- ends -----------------------------------------------------------------------------------


def test_the_last_handle_ends_the_actor_when_its_calls_are_over() -> None:
    bench = ActorBench()
    actor = bench.create()
    bench.call(actor, 2)
    home = bench.settle()
    first, second = bench.assigned(home)
    bench.drop(actor)
    bench.finish(home, first, NONE)
    assert bench.stopped_actors(home) == []
    bench.finish(home, second, NONE)
    assert bench.stopped_actors(home) == [actor]
    assert actor not in bench.machine.actors.rows
    bench.drop(first.id, second.id)
    bench.die(home, status=0)
    check_empty(bench.machine)


def test_an_actor_that_does_not_end_by_itself_is_killed() -> None:
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    bench.drop(actor)
    bench.wait(1.0)
    assert bench.heard(NODE, EngineUnwanted) == []
    bench.wait(60.0)
    assert EngineUnwanted(home - FIRST_ENGINE) in bench.heard(NODE, EngineUnwanted)


def test_a_handle_in_a_call_keeps_the_actor() -> None:
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    (call,) = bench.call(actor, refs=[actor])
    bench.drop(actor)
    (task,) = bench.assigned(home)
    bench.finish(home, task, b"a list with the handle", contained={call: [actor]})
    assert bench.stopped_actors(home) == []
    bench.drop(call)
    assert bench.stopped_actors(home) == [actor]


def test_a_handle_that_comes_back_from_a_call_wakes_the_actor() -> None:
    """The last handle goes while a call runs that returns a new one."""
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    (call,) = bench.call(actor)
    bench.drop(actor)
    (task,) = bench.assigned(home)
    bench.finish(home, task, b"a handle", contained={call: [actor]})
    assert bench.stopped_actors(home) == []
    bench.say(CLIENT, RefsChanged([actor], [call]))
    more = bench.call(actor)
    assert bench.ids(home) == more


def test_a_detached_actor_outlives_its_handles_and_its_creator() -> None:
    bench = ActorBench()
    actor = bench.create(detached=True)
    home = bench.settle()
    bench.call(actor)
    bench.lose(CLIENT)
    assert bench.machine.actors.rows[actor].state is ActorState.ALIVE
    assert len(bench.ids(home)) == 1
    bench.join(OTHER, hello("client"))
    bench.say(OTHER, KillRequested(actor))
    assert not bench.machine.actors.rows


def test_a_client_that_leaves_drops_its_handles() -> None:
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    bench.lose(CLIENT)
    assert bench.stopped_actors(home) == [actor]


def test_kill_fails_calls_at_once() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=5)
    (running,) = bench.call(actor)
    home = bench.settle()
    bench.say(CLIENT, KillRequested(actor))
    (late,) = bench.call(actor)
    ready = bench.ready()
    for call in (running, late):
        value = ready[call]
        assert isinstance(value, Failure)
        assert value.kind == "actor_died"
        assert "kill()" in value.message
    assert EngineUnwanted(home - FIRST_ENGINE) in bench.heard(NODE, EngineUnwanted)
    bench.drop(actor)
    assert actor not in bench.machine.actors.rows


@pytest.mark.parametrize("begun", [False, True])
def test_kill_before_it_is_constructed(begun: bool) -> None:
    bench = ActorBench(cpus=1)
    if not begun:
        bench.submit(TaskSpec(1, bench.template(), b""))
    actor = bench.create()
    (call,) = bench.call(actor)
    bench.say(CLIENT, KillRequested(actor))
    assert "kill()" in bench.failure(call).message


def test_kill_with_restart() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=1)
    home = bench.settle()
    bench.say(CLIENT, KillRequested(actor, restart=True))
    (call,) = bench.call(actor)
    bench.die(home)
    bench.start_engines()
    assert bench.ids(bench.settle()) == [call]


def test_exit_actor() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=5)
    first, second = bench.call(actor, 2)
    home = bench.settle()
    bench.say(home, ActorExited(actor))
    ready = bench.ready()
    assert all("exit_actor" in ready[call].message for call in (first, second))  # type: ignore[union-attr]


# ---- crashes --------------------------------------------------------------------------------


def test_without_restarts_a_crash_is_the_end() -> None:
    bench = ActorBench()
    actor = bench.create()
    running, waiting = bench.call(actor, 2)
    home = bench.settle()
    bench.die(home, running)
    ready = bench.ready()
    for call in (running, waiting):
        value = ready[call]
        assert isinstance(value, Failure)
        assert value.kind == "actor_died"
        assert "SIGKILL" in value.message
        assert "is dead: it crashed, and max_restarts=0 allows no restart" in value.message
    (late,) = bench.call(actor)
    assert bench.failure(late).kind == "actor_died"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-9, "memory=..."),
        (-11, "the actor, or its library"),
        (-15, "Somebody sent it that signal."),
        (3, "exit_actor"),
    ],
)
def test_what_to_do_about_a_crash_is_said_in_the_words_of_actors(status: int, words: str) -> None:
    bench = ActorBench()
    actor = bench.create(restarts=1)
    told = []
    for _ in range(2):
        (call,) = bench.call(actor)
        bench.die(bench.settle(), call, status=status)
        bench.start_engines()
        told.append(bench.failure(call).message)
    for message in told:
        assert words in message.splitlines()[-1]
        assert "f (" in message.splitlines()[0]  # whose crash it was, before how it came to be
        assert "task" not in message.replace("max_task_retries", "")
        assert "max_retries" not in message
    assert "is dead after 1 restart: it crashed, and max_restarts=1 allows no other" in told[1]


def test_an_actor_that_dies_of_memory_is_not_told_to_be_a_smaller_task() -> None:
    bench = ActorBench()
    (call,) = bench.call(bench.create())
    home = bench.settle()
    bench.say(NODE, MemoryPressed(1, 100))
    bench.die(home, call)
    message = bench.failure(call).message
    assert "running out of memory" in message
    assert "Let the actor keep less" in message


def test_a_crash_in_the_constructor_is_told_in_the_words_of_actors() -> None:
    bench = ActorBench()
    actor = bench.create()
    (call,) = bench.call(actor)
    home, _ = bench.begun()
    bench.die(home, actor)
    message = bench.failure(call).message
    assert "could not be made" in message
    assert "Let the actor keep less" in message


def test_a_restart_runs_the_constructor_again_and_what_had_not_begun() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=1)
    over, running, waiting = bench.call(actor, 3)
    home = bench.settle()
    bench.die(home, running)
    ready = bench.ready()
    # What was over had not been told: it cannot run twice either.
    assert [ready[call].kind for call in (over, running)] == ["actor_unavailable"] * 2  # type: ignore[union-attr]
    (new,) = bench.call(actor)
    bench.start_engines()
    home, constructor = bench.begun()
    assert (constructor.id, constructor.attempt) == (actor, 1)
    bench.finish(home, constructor, NONE)
    assert bench.ids(home) == [waiting, new]
    bench.start_engines()
    bench.die(home, waiting)
    assert bench.machine.actors.rows[actor].state is ActorState.DEAD


def test_calls_with_retries_run_again_in_their_order() -> None:
    bench = ActorBench()
    template = bench.template(cpus=0, role=2, method="m", max_retries=1)
    actor = bench.create(restarts=-1)
    calls = bench.call(actor, 3, template=template)
    home = bench.settle()
    bench.die(home, calls[1])
    bench.start_engines()
    home = bench.settle()
    assert [(task.id, task.attempt) for task in bench.assigned(home)] == [
        (calls[0], 1),
        (calls[1], 1),
        (calls[2], 0),
    ]
    bench.die(home, calls[0])
    assert bench.failure(calls[0]).kind == "actor_unavailable"


def test_a_crash_between_calls_costs_no_call() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=1)
    home = bench.settle()
    calls = bench.call(actor, 2)
    bench.die(home, actor)  # the last that it began was its constructor
    bench.start_engines()
    assert bench.ids(bench.settle()) == calls


def test_of_calls_side_by_side_all_count_as_begun_when_nobody_knows() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=1, ordered=False)
    calls = bench.call(actor, 2)
    home = bench.settle()
    bench.die(home, calls[0])
    ready = bench.ready()
    assert {ready[call].kind for call in calls} == {"actor_unavailable"}  # type: ignore[union-attr]


def test_of_calls_side_by_side_those_that_had_not_begun_are_not_lost() -> None:
    bench = ActorBench()
    grouped = bench.template(cpus=0, role=2, method="g", max_retries=0, concurrency_group="io")
    actor = bench.create(restarts=1, ordered=False, groups={"cpu": 1, "io": 1})
    plain = bench.call(actor, 4)
    io = bench.call(actor, 2, template=grouped)
    home = bench.settle()
    given = {call.id: call for call in bench.assigned(home)}
    turns = {call.id: call.turn for call in given.values()}
    assert [turns[call] for call in plain + io] == [1, 2, 3, 4, 1, 2]
    # The third has begun; so had the second, whatever became of it. It is over, and known to be.
    bench.finish(home, given[plain[2]], NONE)
    bench.ready()
    bench.die(home, turns=[3, 0, 1])
    ready = bench.ready()
    begun = {*plain[:2], io[0]}
    assert {call for call in ready if ready[call] != NONE} == begun
    assert {ready[call].kind for call in begun} == {"actor_unavailable"}  # type: ignore[union-attr]
    bench.start_engines()
    home = bench.settle()
    again = {call.id: call.turn for call in bench.assigned(home)}
    assert again == {plain[3]: 1, io[1]: 1}


def test_a_constructor_that_raises() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=3)
    (before,) = bench.call(actor)
    home, constructor = bench.begun()
    bench.finish(home, constructor, Failure("task", "ValueError: no", b"pickled"))
    (after,) = bench.call(actor)
    ready = bench.ready()
    for call in (before, after):
        value = ready[call]
        assert isinstance(value, Failure)
        assert (value.kind, value.data) == ("actor_died", b"pickled")
        assert "ValueError: no" in value.message
    bench.submit(TaskSpec(1, bench.template(), b""))
    assert bench.ids(home) == [1]  # its engine is as good as before


def test_a_constructor_that_can_run_nowhere() -> None:
    bench = ActorBench(cpus=1)
    actor = bench.create(cpus=7)
    (call,) = bench.call(actor)
    assert "num_cpus=7" in bench.failure(call).message


def test_a_crash_in_the_constructor_takes_a_restart() -> None:
    bench = ActorBench()
    actor = bench.create(restarts=1)
    (call,) = bench.call(actor)
    for _ in range(2):
        home, _ = bench.begun()
        bench.die(home, actor)
        bench.start_engines()
    assert bench.failure(call).kind == "actor_died"


def test_arguments_of_the_constructor_are_kept_for_restarts() -> None:
    bench = ActorBench()
    bench.submit(TaskSpec(1, bench.template(), b""))
    peer, task = bench.begun()
    bench.finish(peer, task, b"value")
    actor = bench.create(restarts=1, deps=[1])
    bench.drop(1)
    home = bench.settle()
    bench.die(home)
    bench.start_engines()
    _, constructor = bench.begun()
    assert constructor.values == [b"value"]
    bench.say(CLIENT, KillRequested(actor))
    assert 1 not in bench.machine.objects.rows


# ---- names ----------------------------------------------------------------------------------


def find(bench: ActorBench, name: str, peer: int = CLIENT, namespace: str = "") -> object:
    bench.say(peer, Asked(1, "find_actor", [1, namespace, name]))
    (answer,) = bench.heard(peer, Answered)
    return answer.answer["id"] if answer.answer else answer.error


def test_a_named_actor_is_found_and_held() -> None:
    bench = ActorBench()
    actor = bench.create(name="n", info=b"methods")
    home = bench.settle()
    bench.join(OTHER, hello("client"))
    assert find(bench, "n", OTHER) == actor
    bench.drop(actor)
    assert bench.stopped_actors(home) == []
    bench.drop(actor, peer=OTHER)
    assert bench.stopped_actors(home) == [actor]
    assert "KeyError" in str(find(bench, "n"))


def test_a_name_that_is_taken() -> None:
    bench = ActorBench()
    first = bench.create(name="n")
    second = bench.create(name="n")
    elsewhere = bench.create(name="n", namespace="elsewhere")
    assert bench.failure(second).kind == "name_taken"
    assert find(bench, "n") == first
    assert find(bench, "n", namespace="elsewhere") == elsewhere
    bench.say(CLIENT, KillRequested(first))
    third = bench.create(name="n")
    assert find(bench, "n") == third


# ---- the rest -------------------------------------------------------------------------------


def test_a_call_that_is_cancelled_before_it_is_sent() -> None:
    bench = ActorBench()
    actor = bench.create()
    first, second = bench.call(actor, 2)
    bench.say(CLIENT, CancelRequested([first]))
    assert bench.failure(first).kind == "cancelled"
    assert bench.ids(bench.settle()) == [second]


def test_a_cancelled_call_that_runs_does_not_kill_its_actor() -> None:
    bench = ActorBench()
    actor = bench.create()
    (call,) = bench.call(actor)
    home = bench.settle()
    (task,) = bench.assigned(home)
    bench.say(CLIENT, CancelRequested([call], force=True, grace_s=0.0))
    assert [m.task for m in bench.heard(home, TaskInterrupted)] == [call]
    bench.wait(10.0)
    assert bench.heard(NODE, EngineUnwanted) == []
    bench.finish(home, task, NONE)
    assert bench.failure(call).kind == "cancelled"


def test_a_cancel_does_not_overtake_a_call_that_was_made_before_it() -> None:
    bench = ActorBench()
    actor = bench.create(ordered=False)
    home = bench.settle()
    (running,) = bench.call(actor)
    bench.said[home].clear()
    spec = TaskSpec(77, bench.method, b"")
    bench.handle(
        Received(CLIENT, CallsSubmitted(1, 0, actor, 1, [spec])),
        Received(CLIENT, CancelRequested([running])),
    )
    assert [type(message) for message in bench.said[home]] == [TasksAssigned, TaskInterrupted]


def test_a_call_that_waits_keeps_its_queue_and_gives_its_cpu_up() -> None:
    bench = ActorBench(cpus=1)
    actor = bench.create(keeps_cpus=True)
    home = bench.settle()
    (call, _) = bench.call(actor, 2)
    bench.submit(TaskSpec(1, bench.template(), b""))
    assert [peer for peer in bench.engines if peer != home and bench.ids(peer)] == []
    bench.say(home, TaskBlocked(call))
    assert [bench.ids(peer) for peer in bench.engines if peer != home] == [[1]]
    assert len(bench.machine.fleet.engines[home - FIRST_ENGINE].queue) == 2


def test_calls_side_by_side_give_the_cpu_up_while_any_of_them_waits() -> None:
    bench = ActorBench(cpus=1)
    actor = bench.create(keeps_cpus=True, ordered=False)
    home = bench.settle()
    node = bench.machine.fleet.nodes[0]
    first, second = bench.call(actor, 2)
    bench.say(home, TaskBlocked(first), TaskBlocked(second))
    task, _ = bench.assigned(home)
    bench.finish(home, task, NONE)
    assert node.available["CPU"] > 0
    bench.say(home, TaskUnblocked(second))
    assert node.available["CPU"] == 0


def test_a_call_of_an_actor_that_nobody_knows() -> None:
    bench = ActorBench()
    (call,) = bench.call(123456)
    assert bench.failure(call).kind == "actor_died"


def test_an_actor_that_is_sent_twice_is_made_once() -> None:
    bench = ActorBench(cpus=2)
    template = bench.template(role=1)
    message = ActorCreated(1, 0, TaskSpec(70, template, b""))
    bench.say(CLIENT, message, message)
    bench.settle()
    bench.say(CLIENT, message)
    assert len(bench.machine.actors.rows) == 1
    assert all(not bench.ids(peer) for peer in bench.engines)


@pytest.mark.parametrize(
    "message",
    [
        lambda bench: ActorCreated(1, 0, TaskSpec(9, bench.method, b"")),
        lambda bench: CallsSubmitted(1, 0, 3, 0, [TaskSpec(9, bench.template(), b"")]),
        lambda bench: CallsSubmitted(1, 0, 9, 0, [TaskSpec(9, bench.method, b"")]),
    ],
)
def test_the_wrong_template(message: object) -> None:
    bench = ActorBench()
    bench.say(CLIENT, message(bench))  # type: ignore[operator]
    assert CLIENT in bench.dropped


def test_a_task_of_the_wrong_template() -> None:
    bench = ActorBench()
    bench.submit(TaskSpec(9, bench.method, b""))
    assert CLIENT in bench.dropped


def test_engines_of_actors_do_not_count_among_those_of_the_node() -> None:
    bench = ActorBench(cpus=1)
    for _ in range(5):
        bench.create()
        bench.settle()
    assert len(bench.engines) == 6
    assert bench.heard(NODE, EnginesWanted) == []


# ---- circles --------------------------------------------------------------------------------


def test_a_call_that_waits_for_its_own_actor_is_told_so() -> None:
    bench = ActorBench()
    actor = bench.create()
    home = bench.settle()
    (outer,) = bench.call(actor)
    (inner,) = bench.call(actor, peer=home)
    bench.say(home, TaskBlocked(outer, [inner]))
    failure = bench.failure(inner, home)
    assert failure.kind == "deadlock"
    assert "f → f → f" in failure.message
    assert [m.task for m in bench.heard(home, TaskInterrupted)] == [inner]


def test_a_circle_through_two_actors_and_a_task() -> None:
    bench = ActorBench(cpus=2)
    first = bench.create()
    home = bench.settle()
    second = bench.create()
    other = bench.settle()
    (outer,) = bench.call(first)
    bench.submit(TaskSpec(1, bench.template(), b""))
    worker = next(peer for peer in bench.engines if bench.ids(peer) == [1])
    bench.say(home, TaskBlocked(outer, [1]))
    (middle,) = bench.call(second, peer=worker)
    bench.say(worker, TaskBlocked(1, [middle]))
    (inner,) = bench.call(first, peer=other)
    assert bench.ready(other) == {}
    bench.say(other, TaskBlocked(middle, [inner]))
    assert bench.failure(inner, other).kind == "deadlock"


def test_waits_that_end_are_no_circle() -> None:
    bench = ActorBench(cpus=2)
    first = bench.create()
    home = bench.settle()
    second = bench.create()
    other = bench.settle()
    (outer,) = bench.call(first)
    (middle,) = bench.call(second, peer=home)
    bench.say(home, TaskBlocked(outer, [middle]))
    (inner,) = bench.call(first, peer=other)
    assert bench.ready(other) == {}
    bench.say(home, TaskUnblocked(outer))
    bench.say(other, TaskBlocked(middle, [inner]))
    assert bench.ready(other) == {}


def test_who_reads_a_stream_waits_for_its_next_item_alone() -> None:
    bench = ActorBench(cpus=2)
    first = bench.create()
    home = bench.settle()
    second = bench.create()
    other = bench.settle()
    (outer,) = bench.call(first)
    streaming = bench.template(cpus=0, role=2, method="s", streaming=True, peer=home)
    (items,) = bench.call(second, peer=home, template=streaming)
    bench.say(home, TaskBlocked(outer, [items]))
    (inner,) = bench.call(first, peer=other)
    # The item is on its way to the reader, which goes on: its actor will take the call.
    bench.say(other, ItemYielded(items, 0, 0, other * 1000 + 990, b"item"))
    bench.say(other, TaskBlocked(items, [inner]))
    assert inner not in bench.ready(other)
    bench.say(home, ItemsConsumed(items, 1))
    bench.say(home, TaskUnblocked(outer))
    # Now it waits for the next one, which comes after that call.
    bench.say(home, TaskBlocked(outer, [items]))
    assert bench.failure(inner, other).kind == "deadlock"


def test_a_constructor_that_waits_for_a_call_of_its_actor() -> None:
    bench = ActorBench()
    actor = bench.create(ordered=False)
    home, constructor = bench.begun()
    (inner,) = bench.call(actor, peer=home)
    bench.say(home, TaskBlocked(actor, [inner]))
    assert bench.failure(inner, home).kind == "deadlock"
    bench.finish(home, constructor, NONE)
    assert bench.machine.actors.rows[actor].state is ActorState.ALIVE


def test_actors_that_run_several_calls_may_call_themselves() -> None:
    bench = ActorBench()
    actor = bench.create(ordered=False)
    home = bench.settle()
    (outer,) = bench.call(actor)
    (inner,) = bench.call(actor, peer=home)
    bench.say(home, TaskBlocked(outer, [inner]))
    assert bench.ready(home) == {}


def test_a_cancelled_call_that_runs_on_does_not_keep_an_actor_that_nobody_can_reach() -> None:
    bench = ActorBench()
    actor = bench.create()
    running, waiting = bench.call(actor, 2)
    home = bench.settle()
    bench.say(CLIENT, RefsChanged([], [actor]))
    assert not bench.heard(home, ActorStopped)
    bench.say(CLIENT, CancelRequested([running]))
    assert not bench.heard(home, ActorStopped)  # the other one is still to run
    bench.say(CLIENT, CancelRequested([waiting]))
    assert bench.heard(home, ActorStopped)
    assert bench.failure(running).kind == "cancelled"
    assert not bench.heard(NODE, EngineUnwanted)
    bench.wait(END_GRACE_S)
    assert bench.heard(NODE, EngineUnwanted)


def test_a_call_of_a_lost_client_does_not_keep_the_actor() -> None:
    bench = ActorBench()
    actor = bench.create()
    bench.call(actor)
    home = bench.settle()
    bench.lose(CLIENT)
    assert bench.heard(home, ActorStopped)
    assert not bench.machine.actors.rows


def test_a_name_is_free_as_soon_as_the_last_handle_of_its_owner_has_gone() -> None:
    bench = ActorBench(cpus=2)
    first = bench.create(name="a")
    bench.settle()
    drop = Received(CLIENT, RefsChanged([], [first]))
    spec = TaskSpec(CLIENT * 1000 + 900, bench.template(role=1, max_retries=0), b"")
    bench.handle(drop, Received(CLIENT, ActorCreated(1, 0, spec, name="a")))
    assert bench.machine.actors.names["", "a"].id == spec.id
    assert bench.machine.actors.rows[spec.id].state is ActorState.PENDING
