"""`init`, `shutdown`, and what a session tells of its cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.conformance.tasks import same, stop_at

ADDRESSES: list[Any] = [
    pytest.param(None, id="pool"),
    pytest.param("inline", id="inline"),
]
each_session = pytest.mark.parametrize("address", ADDRESSES)


@pytest.fixture(autouse=True)
def _no_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("PARALLAX_ADDRESS", raising=False)
    px.shutdown()
    yield
    px.shutdown()


@px.remote
def environment(name: str) -> str | None:
    return os.environ.get(name)


def run(code: str, **env: str) -> str:
    """What a script of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- init and shutdown --------------------------------------------------------------------


def test_the_first_use_of_a_verb_starts_the_embedded_pool() -> None:
    assert not px.is_initialized()
    assert px.get(same.remote(1)) == 1
    assert px.is_initialized()
    assert px.cluster_resources()["CPU"] == len(os.sched_getaffinity(0))


def test_importing_and_decorating_starts_nothing() -> None:
    code = """
        import parallax as px
        @px.remote
        def f(): pass
        print(px.is_initialized())
        """
    assert run(code) == "False\n"


@each_session
def test_init_and_shutdown(address: str | None) -> None:
    session = px.init(address, num_cpus=1)
    assert isinstance(session, px.Session)
    assert px.is_initialized()
    assert not session.closed
    assert "1 CPUs" in repr(session)
    px.shutdown()
    assert not px.is_initialized()
    assert session.closed
    assert "closed" in repr(session)
    px.shutdown()


@each_session
def test_a_session_is_a_context_manager(address: str | None) -> None:
    with px.init(address, num_cpus=1) as session:
        assert px.get(same.remote(1)) == 1
    assert session.closed
    assert not px.is_initialized()
    session.shutdown()


@each_session
def test_a_session_ends_with_its_block_when_that_raises(address: str | None) -> None:
    with pytest.raises(KeyError), px.init(address, num_cpus=1):
        raise KeyError
    assert not px.is_initialized()


@each_session
def test_functions_work_in_the_next_session(address: str | None) -> None:
    big = list(range(10))

    @px.remote
    def use(x: int) -> int:
        return x + len(big)

    values = []
    for _ in range(2):
        with px.init(address, num_cpus=1):
            values += px.get([use.remote(1), use.options(num_cpus=0).remote(2)])
    assert values == [11, 12] * 2


@each_session
def test_functions_work_across_kinds_of_sessions(address: str | None) -> None:
    with px.init(address, num_cpus=1):
        assert px.get(same.remote(1)) == 1
    with px.init("inline" if address is None else None, num_cpus=1):
        assert px.get(same.remote(2)) == 2


@each_session
def test_a_second_init_raises(address: str | None) -> None:
    session = px.init(address, num_cpus=2)
    with pytest.raises(px.errors.UsageError, match=r"ignore_reinit_error"):
        px.init(address, num_cpus=1)
    assert not session.closed
    assert px.cluster_resources()["CPU"] == 2


@each_session
def test_a_second_init_that_agrees_or_ignores_keeps_the_session(address: str | None) -> None:
    session = px.init(address, num_cpus=2)
    for again in (
        px.init(address, num_cpus=2),
        px.init(address, num_cpus=1, ignore_reinit_error=True),
        px.init(),
    ):
        assert again.cluster == session.cluster


@pytest.mark.parametrize(
    "options",
    [
        {"num_cpus": 0},
        {"num_cpus": -1},
        {"num_gpus": -1},
        {"memory": -5},
        {"resources": {"crane": -1}},
        {"object_store_memory": 10},
        {"address": "inline", "name": "both"},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(px.errors.UsageError):
        px.init(**options)
    assert not px.is_initialized()


@pytest.mark.parametrize("address", ["no-such-pool", "/no/such/file.json"])
def test_an_address_where_nothing_runs(address: str) -> None:
    with pytest.raises(px.errors.UsageError, match=r"no pool runs.*Start one"):
        px.init(address)
    assert not px.is_initialized()


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_ADDRESS", "inline")
    assert px.init().name == "inline"
    px.shutdown()
    assert px.get(same.remote(1)) == 1
    assert px.nodes()[0]["engines"][0]["pid"] == os.getpid()


@each_session
def test_stale_refs_after_shutdown(address: str | None) -> None:
    px.init(address, num_cpus=1)
    refs = [px.put(1), same.remote(2)]
    future = same.remote(3).future()
    assert future.result(30) == 3
    px.shutdown()
    for use in (
        lambda: px.get(refs[0]),
        lambda: px.get(refs),
        lambda: px.wait(refs),
        lambda: px.cancel(refs[1]),
        lambda: list(px.as_completed(refs)),
    ):
        with pytest.raises(px.errors.UsageError, match="shut down"):
            use()
    # None of these has started a pool.
    assert not px.is_initialized()
    # A new session takes them neither.
    px.init(address, num_cpus=1)
    for use in (
        lambda: px.get(refs[0]),
        lambda: same.remote(refs[0]),
        lambda: same.remote([refs[0]]),
        lambda: px.put([refs[1]]),
    ):
        with pytest.raises(px.errors.UsageError, match="shut down"):
            use()
    assert px.get(same.remote(4)) == 4


def test_shutdown_wakes_those_who_wait(gate: Gate) -> None:
    px.init(num_cpus=1)
    ref = stop_at.remote(gate)
    gate.wait_for(1)
    future = ref.future()
    px.shutdown()
    with pytest.raises(px.errors.ClusterLostError):
        future.result(30)


# ---- what it tells ------------------------------------------------------------------------


@each_session
def test_resources_and_nodes(address: str | None) -> None:
    px.init(address, num_cpus=3, num_gpus=1, resources={"crane": 0.5}, memory=1e9)
    resources = {"CPU": 3.0, "GPU": 1.0, "memory": 1e9, "crane": 0.5}
    assert px.cluster_resources() == resources
    px.get(same.remote(1))
    wait_until(lambda: px.available_resources() == resources)
    (node,) = px.nodes()
    assert node["resources"] == resources
    assert node["alive"]
    assert all({"engine", "pid", "state"} <= set(engine) for engine in node["engines"])


@each_session
def test_env_vars_and_namespace(address: str | None) -> None:
    session = px.init(address, num_cpus=1, env_vars={"COLOUR": "green"}, namespace="mine")
    assert session.namespace == "mine"
    assert px.get_runtime_context().namespace == "mine"
    if address is None:
        assert px.get(environment.remote("COLOUR")) == "green"


@each_session
def test_timeline(address: str | None, tmp_path: Path) -> None:
    px.init(address, num_cpus=1)
    refs = [same.remote(i) for i in range(3)]
    px.get(refs)
    wait_until(lambda: len(px.timeline()) == 3)
    events = px.timeline(tmp_path / "trace.json")
    assert {event["args"]["task"] for event in events} == {ref.hex() for ref in refs}
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"] == events


def test_log_to_driver_false_keeps_silent(capfd: pytest.CaptureFixture[str]) -> None:
    px.init(num_cpus=1, log_to_driver=False)

    @px.remote
    def talk() -> None:
        print("into the void")

    with px.job("quiet") as job:
        px.get(talk.remote())
    wait_until(lambda: "into the void" in job.output())
    assert "void" not in capfd.readouterr().out


# ---- seeds --------------------------------------------------------------------------------

DRAWS = """
    import random, sys
    import numpy as np
    import parallax as px

    @px.remote
    def draw(depth):
        numbers = [random.random(), float(np.random.rand())]
        return numbers + (px.get([draw.remote(0), draw.remote(0)]) if depth else [])

    @px.remote
    def stream():
        for _ in range(2):
            yield random.random()

    px.init({address}, num_cpus={num_cpus}, seed={seed})
    random.seed(99)
    values = px.get([draw.remote(1) for _ in range(3)])
    values += px.get(draw.map([0] * 5, chunk={chunk}))
    values += [px.get(ref) for ref in stream.remote()]
    values.append(random.random())
    print(values)
    px.shutdown()
    """


def draws(address: str | None = None, num_cpus: int = 1, seed: Any = 7, chunk: Any = 1) -> str:
    code = textwrap.dedent(DRAWS)
    return run(code.format(address=repr(address), num_cpus=num_cpus, seed=seed, chunk=repr(chunk)))


def test_seeds_depend_on_the_order_of_submission_alone() -> None:
    one = draws(num_cpus=1)
    assert draws(num_cpus=2, chunk="auto") == one
    assert draws("inline") == one
    assert draws("inline", seed=8) != one


def test_tasks_of_a_seeded_session_draw_different_numbers() -> None:
    values = json.loads(draws("inline"))
    flat = json.dumps(values).replace("[", "").replace("]", "").split(", ")
    assert len(set(flat)) == len(flat)


def test_without_a_seed_nothing_is_seeded() -> None:
    assert draws("inline", seed=None) != draws("inline", seed=None)


# ---- named pools --------------------------------------------------------------------------


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a pool that is stopped afterwards."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield "conformance"
    px.shutdown()
    for pool in px.pools():
        if pool.name == "conformance":
            pool.stop()


def test_a_named_pool_outlives_its_session_and_is_found_again(name: str) -> None:
    first = px.init(name=name, num_cpus=1)
    pid = px.get(px.remote(os.getpid).remote())
    cluster = first.cluster
    px.shutdown()
    # From the same process, by name as address or by `name=` again,
    for again in ({"address": name}, {"name": name}):
        with px.init(**again) as session:
            assert (session.cluster, session.name) == (cluster, name)
            assert px.get(px.remote(os.getpid).remote()) == pid
    # and from another one.
    code = f"""
        import os
        import parallax as px
        print(px.init({name!r}).cluster, px.get(px.remote(os.getpid).remote()))
        """
    assert run(code) == f"{cluster} {pid}\n"


def test_two_sessions_on_one_pool_do_not_see_each_others_refs(name: str) -> None:
    px.init(name=name, num_cpus=2)
    ref = same.remote(1)
    code = f"""
        import parallax as px
        px.init({name!r})
        values = px.get([px.remote(lambda x: x + 1).remote(i) for i in range(50)])
        print(values == list(range(1, 51)))
        """
    assert run(code) == "True\n"
    assert px.get(ref) == 1


# ---- forks --------------------------------------------------------------------------------

FORK = """
    import os, sys, traceback
    import parallax as px

    @px.remote
    def double(x):
        return 2 * x

    px.init({address}, num_cpus=1)
    ref = double.remote(1)
    assert px.get(ref) == 2
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert not px.is_initialized()
            try:
                px.get(ref)
            except px.errors.UsageError as error:
                assert "shut down" in str(error) or "fork" in str(error), error
            # A session of its own works, and ends with it.
            with px.init({address}, num_cpus=1):
                assert px.get(double.remote(4)) == 8
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    # The parent goes on as if nothing had happened.
    print(os.waitstatus_to_exitcode(status), px.get(double.remote(ref)))
    """


@each_session
def test_a_fork_of_the_driver_starts_clean(address: str | None) -> None:
    assert run(FORK.format(address=repr(address))) == "0 4\n"


MULTIPROCESSING = """
    import multiprocessing
    import parallax as px

    def work(x):
        return x + 1

    if __name__ == "__main__":
        px.init(num_cpus=1)
        ref = px.put(1)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(work, range(4)))
        print(px.get(ref))
    """


def test_multiprocessing_beside_a_session() -> None:
    assert run(MULTIPROCESSING) == "[1, 2, 3, 4]\n1\n"


# ---- inside tasks -------------------------------------------------------------------------


@each_session
def test_a_task_shares_the_session_and_cannot_end_it(address: str | None) -> None:
    session = px.init(address, num_cpus=1)

    @px.remote
    def use_as_a_script_does() -> tuple[str, int]:
        with px.init() as inner:
            value = px.get(same.remote(5))
        px.shutdown()
        return inner.cluster, value

    assert px.get(use_as_a_script_does.remote()) == (session.cluster, 5)
    assert px.is_initialized()
    assert px.get(same.remote(6)) == 6


@each_session
def test_a_job_of_an_old_session_is_over(address: str | None) -> None:
    px.init(address, num_cpus=1)
    with px.job("old") as job:
        assert px.get(same.remote(1)) == 1
        px.shutdown()
        px.init(address, num_cpus=1)
        ref = same.remote(2)
    assert px.get(ref) == 2
    assert px.job_of(ref).name != "old"
    assert "closed" in repr(job)


# ---- the object store ---------------------------------------------------------------------


def test_a_store_over_its_limit_loses_nothing() -> None:
    size = 4 << 20
    px.init(num_cpus=1, object_store_memory=4 * size)
    refs = [px.put(np.full(size, i, np.uint8)) for i in range(12)]
    for i, ref in enumerate(refs):
        assert (px.get(ref) == i).all()
    sums = px.remote(lambda array: int(array[0])).map(refs, chunk=1)
    assert px.get(sums) == list(range(12))


# ---- Ctrl-C -------------------------------------------------------------------------------

INTERRUPT = """
    import os, signal, threading
    import parallax as px
    from tests.conformance.gates import Gate

    gate = Gate({folder!r})

    @px.remote
    def stop():
        gate.pass_through()

    px.init(num_cpus=2)
    waited_for, other = stop.remote(), stop.remote()

    def interrupt():
        gate.wait_for(2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        px.get(waited_for)
    except KeyboardInterrupt:
        print("interrupted")
    try:
        px.get(waited_for)
    except px.errors.TaskCancelledError:
        print("cancelled")
    print(px.get(px.remote(len).remote("abc")))
    gate.open()
    print(px.get(other))
    """


def test_an_interrupted_get_cancels_what_it_waited_for(tmp_path: Path) -> None:
    output = run(INTERRUPT.format(folder=str(tmp_path)))
    assert output.split() == ["interrupted", "cancelled", "3", "None"]
