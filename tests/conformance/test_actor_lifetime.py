"""How actors come, are found, and go."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import parallax as px
from tests.conformance.actors import Counter
from tests.conformance.gates import Gate, wait_until
from tests.conformance.tasks import same

pytestmark = pytest.mark.usefixtures("session")


def ended(pid: int) -> bool:
    """Has this process ended?"""
    return not Path(f"/proc/{pid}").exists()


# ---- handles --------------------------------------------------------------------------------


@pytest.mark.needs("processes")
def test_the_last_handle_ends_the_actor() -> None:
    counter = Counter.remote()
    pid = px.get(counter.pid.remote())
    del counter
    gc.collect()
    wait_until(lambda: ended(pid))


@pytest.mark.needs("processes")
def test_it_finishes_its_calls_first(gate: Gate) -> None:
    counter = Counter.remote()
    refs = [counter.stop_at.remote(gate), counter.add.remote(), counter.pid.remote()]
    gate.wait_for(1, "call")
    del counter
    gc.collect()
    gate.open()
    *counts, pid = px.get(refs)
    assert counts == [1, 2]
    wait_until(lambda: ended(pid))


def test_a_handle_in_a_value_keeps_the_actor() -> None:
    counter = Counter.remote()
    px.get(counter.add.remote())
    ref = px.put([counter])
    del counter
    gc.collect()
    px.get(same.remote(1))
    (again,) = px.get(ref)
    assert px.get(again.add.remote()) == 2


def test_resources_come_back_when_it_goes() -> None:
    counter = Counter.options(resources={"crane": 2}).remote()
    px.get(counter.ready())
    del counter
    gc.collect()
    free = lambda: px.get(px.remote(lambda: 1).options(resources={"crane": 2}).remote())  # noqa: E731
    assert free() == 1


# ---- kill and exit --------------------------------------------------------------------------


def test_kill() -> None:
    counter = Counter.remote()
    px.get(counter.ready())
    px.kill(counter)
    with pytest.raises(px.errors.ActorDiedError, match=r"kill\(\)"):
        px.get(counter.add.remote())
    px.kill(counter)


@pytest.mark.needs("concurrency")
def test_kill_ends_what_runs_and_what_waits(gate: Gate) -> None:
    counter = Counter.remote()
    refs = [counter.stop_at.remote(gate), counter.add.remote()]
    gate.wait_for(1, "call")
    px.kill(counter)
    for ref in refs:
        with pytest.raises(px.errors.ActorDiedError):
            px.get(ref)


def test_kill_takes_handles_alone() -> None:
    with pytest.raises((TypeError, ValueError)):
        px.kill(same.remote(1))  # type: ignore[arg-type]


def test_exit_actor() -> None:
    counter = Counter.options(max_restarts=5).remote()
    with pytest.raises(px.errors.ActorDiedError, match="exit_actor"):
        px.get(counter.leave.remote())
    with pytest.raises(px.errors.ActorDiedError):
        px.get(counter.add.remote())


@pytest.mark.needs("parallax")
def test_exit_actor_outside_of_one() -> None:
    with pytest.raises(px.errors.UsageError, match="exit_actor"):
        px.exit_actor()


# ---- constructors ---------------------------------------------------------------------------


@px.remote
class Broken:
    def __init__(self) -> None:
        raise ZeroDivisionError("broken")

    def f(self) -> None: ...


def test_a_constructor_that_raises() -> None:
    broken = Broken.remote()
    for ref in (broken.f.remote(), broken.f.remote(), broken.ready()):
        with pytest.raises(px.errors.ActorDiedError, match="ZeroDivisionError: broken") as caught:
            px.get(ref)
        assert isinstance(caught.value.cause, ZeroDivisionError)


def test_arguments_of_the_constructor_that_failed() -> None:
    @px.remote
    def fail() -> int:
        raise ZeroDivisionError("early")

    with pytest.raises((px.errors.ActorDiedError, ZeroDivisionError)):
        px.get(Counter.remote(fail.remote()).add.remote())


def test_the_wrong_arguments_for_a_constructor() -> None:
    with pytest.raises(TypeError, match="too many positional"):
        Counter.remote(1, 2, 3)


def test_the_wrong_arguments_for_a_method() -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError):
        px.get(counter.add.remote(1, 2, 3))
    assert px.get(counter.add.remote()) == 1


def test_an_actor_that_no_node_can_hold() -> None:
    with pytest.raises(px.errors.ActorDiedError, match="num_cpus=4000"):
        px.get(Counter.options(num_cpus=4000).remote().add.remote())


# ---- names ----------------------------------------------------------------------------------


def test_a_named_actor_is_found() -> None:
    counter = Counter.options(name="found").remote(5)
    again = px.get_actor("found")
    assert again == counter
    assert px.get(again.add.remote()) == 6
    assert "found" in px.list_named_actors()


def test_a_task_finds_a_named_actor() -> None:
    counter = Counter.options(name="known").remote()

    @px.remote
    def add() -> int:
        return int(px.get(px.get_actor("known").add.remote()))

    assert px.get(add.remote()) == 1
    assert px.get(counter.read.remote()) == 1


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(ValueError, match="nobody"):
        px.get_actor("nobody")


def test_two_actors_of_one_name() -> None:
    first = Counter.options(name="twice").remote(1)
    with pytest.raises(ValueError, match="twice"):
        Counter.options(name="twice").remote(2)
    assert px.get(first.read.remote()) == 1


def test_get_if_exists() -> None:
    options: dict[str, Any] = {"name": "maybe", "get_if_exists": True}
    first = Counter.options(**options).remote(1)
    second = Counter.options(**options).remote(2)
    assert first == second
    assert px.get(second.read.remote()) == 1


def test_a_name_whose_last_handle_has_just_gone() -> None:
    for _ in range(50):
        counter = Counter.options(name="brief", get_if_exists=True).remote()
        assert px.get(counter.add.remote()) >= 1
        del counter


def test_namespaces() -> None:
    here = Counter.options(name="spaced").remote(1)
    there = Counter.options(name="spaced", namespace="elsewhere").remote(2)
    assert px.get(px.get_actor("spaced").read.remote()) == 1
    assert px.get(px.get_actor("spaced", namespace="elsewhere").read.remote()) == 2
    assert {"name": "spaced", "namespace": "elsewhere"} in px.list_named_actors(True)
    del here, there


def test_a_name_is_free_again_when_its_actor_is_gone() -> None:
    counter = Counter.options(name="again").remote()
    px.get(counter.ready())
    px.kill(counter)
    wait_until(lambda: "again" not in px.list_named_actors())
    assert px.get(Counter.options(name="again").remote(7).read.remote()) == 7


def test_a_detached_actor_needs_no_handle() -> None:
    counter = Counter.options(name="detached", lifetime="detached").remote()
    px.get(counter.add.remote())
    del counter
    gc.collect()
    px.get(same.remote(1))
    counter = px.get_actor("detached")
    assert px.get(counter.add.remote()) == 2
    px.kill(counter)


# ---- crashes --------------------------------------------------------------------------------


@pytest.mark.needs("processes")
def test_a_crash_is_the_end_without_restarts() -> None:
    counter = Counter.remote()
    with pytest.raises(px.errors.ActorDiedError, match="exit code 3"):
        px.get(counter.crash.remote())
    with pytest.raises(px.errors.ActorDiedError):
        px.get(counter.add.remote())


@pytest.mark.needs("processes")
def test_a_restart_runs_the_constructor_again() -> None:
    counter = Counter.options(max_restarts=1).remote(5)
    px.get(counter.add.remote())
    crash = counter.crash.remote()
    after = counter.add.remote()
    with pytest.raises(px.errors.ActorUnavailableError, match="max_task_retries"):
        px.get(crash)
    assert px.get(after) == 6
    with pytest.raises(px.errors.ActorDiedError):
        px.get(counter.crash.remote())


@px.remote
def make_of(value: int) -> int:
    return value


@pytest.mark.needs("processes")
def test_a_restart_has_the_arguments_of_the_first_time() -> None:
    counter = Counter.options(max_restarts=1).remote(make_of.remote(5))
    px.get(counter.ready())
    gc.collect()
    with pytest.raises(px.errors.ActorUnavailableError):
        px.get(counter.crash.remote())
    assert px.get(counter.read.remote()) == 5


@pytest.mark.needs("processes")
def test_calls_with_retries_run_again(gate: Gate) -> None:
    @px.remote(max_restarts=2, max_task_retries=2)
    class Fragile:
        def crash_twice(self, gate: Gate) -> int:
            import os

            gate.note()
            if gate.count() < 3:
                os._exit(1)
            return gate.count()

    assert px.get(Fragile.remote().crash_twice.remote(gate)) == 3


def test_retries_for_exceptions(gate: Gate) -> None:
    @px.remote
    class Moody:
        @px.method(max_task_retries=2, retry_exceptions=[ZeroDivisionError])
        def fail_once(self, gate: Gate) -> int:
            gate.note()
            if gate.count() < 2:
                raise ZeroDivisionError
            return gate.count()

        def fail_once_for_good(self, gate: Gate) -> int:
            gate.note("good")
            raise ZeroDivisionError

    moody = Moody.remote()
    assert px.get(moody.fail_once.remote(gate)) == 2
    with pytest.raises(ZeroDivisionError):
        px.get(moody.fail_once_for_good.remote(gate))
    assert gate.count("good") == 1


@pytest.mark.needs("processes")
def test_kill_with_restart() -> None:
    counter = Counter.options(max_restarts=1).remote(5)
    pid = px.get(counter.pid.remote())
    px.kill(counter, no_restart=False)
    wait_until(lambda: ended(pid))
    assert px.get(counter.add.remote()) == 6


# ---- cancel and limits ----------------------------------------------------------------------


@pytest.mark.needs("concurrency")
def test_a_call_that_waits_is_cancelled(gate: Gate) -> None:
    counter = Counter.remote()
    first = counter.stop_at.remote(gate)
    second = counter.add.remote()
    gate.wait_for(1, "call")
    px.cancel(second)
    with pytest.raises(px.errors.TaskCancelledError):
        px.get(second)
    gate.open()
    assert px.get([first, counter.read.remote()]) == [1, 1]


@pytest.mark.needs("concurrency")
def test_a_call_that_runs_sees_that_it_was_cancelled(gate: Gate) -> None:
    @px.remote
    class Patient:
        def wait(self, gate: Gate) -> None:
            gate.note("begun")
            context = px.get_runtime_context()
            while not context.is_canceled():
                pass
            gate.note("seen")

        def works(self) -> bool:
            return not px.get_runtime_context().is_canceled()

    patient = Patient.remote()
    ref = patient.wait.remote(gate)
    gate.wait_for(1, "begun")
    px.cancel(ref)
    with pytest.raises(px.errors.TaskCancelledError):
        px.get(ref)
    gate.wait_for(1, "seen")
    assert px.get(patient.works.remote())


@pytest.mark.needs("concurrency")
def test_force_would_kill_the_actor_and_is_refused(gate: Gate) -> None:
    counter = Counter.remote()
    ref = counter.stop_at.remote(gate)
    with pytest.raises(ValueError, match="force"):
        px.cancel(ref, force=True)
    gate.open()
    assert px.get(ref) == 1


@pytest.mark.needs("concurrency")
def test_max_pending_calls(gate: Gate) -> None:
    counter = Counter.options(max_pending_calls=2).remote()
    refs = [counter.stop_at.remote(gate), counter.add.remote()]
    with pytest.raises(px.errors.PendingCallsLimitExceeded, match="max_pending_calls is 2"):
        counter.add.remote()
    gate.open()
    px.get(refs)
    assert px.get(counter.add.remote()) == 3


@pytest.mark.needs("concurrency")
def test_calls_without_results_count_as_pending(gate: Gate) -> None:
    @px.remote(max_pending_calls=2)
    class Quiet:
        def lock(self, gate: Gate) -> Any:
            gate.pass_through("call")
            return threading.Lock()  # cannot be pickled, and need not

        def stream(self, gate: Gate) -> Iterator[int]:
            yield 1
            gate.pass_through("call")

    quiet = Quiet.remote()
    unheard = quiet.lock.options(num_returns=0)
    assert unheard.remote(gate) is None
    generator = quiet.stream.remote(gate)
    for call in (unheard.remote, quiet.stream.remote, quiet.lock.remote):
        with pytest.raises(px.errors.PendingCallsLimitExceeded, match="max_pending_calls is 2"):
            call(gate)
    gate.open()
    assert [px.get(ref) for ref in generator] == [1]
    assert px.get(quiet.ready())
    unheard.remote(gate)
    generator = quiet.stream.remote(gate)
    del generator  # nobody reads it, so that it is as good as over
    gc.collect()
    wait_until(lambda: not refused(lambda: unheard.remote(gate)))


def refused(call: Callable[[], object]) -> bool:
    """Are there too many calls?"""
    try:
        call()
    except px.errors.PendingCallsLimitExceeded:
        return True
    return False


@pytest.mark.parametrize("limit", [1, 2])
def test_retries_are_counted(limit: int) -> None:
    @px.remote(max_concurrency=limit)
    class Shaky:
        runs = 0

        @px.method(max_task_retries=2, retry_exceptions=[ZeroDivisionError])
        def run(self) -> int:
            self.runs += 1
            if self.runs < 3:
                raise ZeroDivisionError
            return px.get_runtime_context().attempt_number

    with px.job("shaky") as job:
        shaky = Shaky.remote()
        assert px.get(shaky.run.remote()) == 2
    assert job.counts["retried"] == 2


@px.remote
class Caller:
    """Calls whom it is told to."""

    def call(self, actor: Any, *others: Any) -> Any:
        return px.get(actor.call.remote(*others)) if others else px.get(actor.name.remote())

    def name(self) -> str:
        return "name"


@pytest.mark.needs("parallax", "processes")
def test_an_actor_that_waits_for_itself_is_told_so() -> None:
    caller = Caller.remote()
    with pytest.raises(
        px.errors.DeadlockError, match=r"Caller\.call → Caller\.name → Caller\.call"
    ):
        px.get(caller.call.remote(caller))
    assert px.get(caller.name.remote()) == "name"


@pytest.mark.needs("parallax", "processes")
def test_actors_that_wait_for_each_other_are_told_so() -> None:
    first, second = Caller.remote(), Caller.remote()
    with pytest.raises(px.errors.DeadlockError):
        px.get(first.call.remote(second, first))
    assert px.get(first.call.remote(second, Caller.remote())) == "name"


@pytest.mark.needs("parallax", "processes")
@pytest.mark.parametrize("how", ["wait", "stream"])
def test_waiting_for_oneself_by_other_ways_than_get(how: str) -> None:
    @px.remote
    class Waiter:
        def run(self, me: Any) -> Any:
            if how == "wait":
                (ref,), _ = px.wait([me.one.remote()])
            else:
                ref = next(me.items.remote())
            return px.get(ref)

        def one(self) -> int:
            return 1

        def items(self) -> Iterator[int]:
            yield 1

    waiter = Waiter.remote()
    with pytest.raises(px.errors.DeadlockError, match=r"Waiter\.run"):
        px.get(waiter.run.remote(waiter), timeout=20)
    assert px.get(waiter.one.remote()) == 1


@pytest.mark.needs("parallax", "processes")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_constructor_that_waits_for_its_own_actor(threads: int) -> None:
    @px.remote(max_concurrency=threads)
    class Early:
        def __init__(self) -> None:
            px.get(px.get_actor("early").one.remote())

        def one(self) -> int:
            return 1

    early = Early.options(name="early").remote()
    with pytest.raises(px.errors.ActorDiedError, match=r"Early → Early\.one → Early"):
        px.get(early.ready(), timeout=20)


def test_a_name_can_be_used_again_at_once() -> None:
    for round in range(20):
        counter = Counter.options(name="again").remote(round)
        assert px.get(counter.read.remote()) == round
        del counter
        gc.collect()


@pytest.mark.needs("concurrency")
def test_a_name_that_many_fight_for_is_somebodys() -> None:
    """Actors of this name come and go all the time; whoever asks for one gets one that lives."""

    @px.remote
    def read() -> int:
        counter = Counter.options(name="short", get_if_exists=True).remote(7)
        return int(px.get(counter.read.remote()))

    assert px.get([read.remote() for _ in range(100)]) == [7] * 100
