"""`init`, `shutdown`, and what a session tells of its cluster."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.conformance.scripts import run
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
    assert "1 CPU, " in repr(session)
    px.get(same.remote(1))
    assert "1 CPU, 1 engine>" in repr(session)
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
    with pytest.raises(px.errors.UsageError, match=r"num_cpus=2 instead of 1.*ignore_reinit"):
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
        {"num_cpus": "2"},
        {"num_gpus": "1"},
        {"memory": "1G"},
        {"object_store_memory": "1G"},
        {"resources": ["crane"]},
        {"resources": {"crane": "2"}},
        {"resources": {"CPU": 2}},
        {"resources": {5: 2}},
        {"env_vars": ["A"]},
        {"env_vars": {"A": 1}},
        {"env_vars": {"A=B": "1"}},
        {"env_vars": {"": "1"}},
        {"seed": "x"},
        {"seed": 1.5},
        {"name": 5},
        {"name": ""},
        {"namespace": 5},
        {"address": 5},
        {"address": "inline", "name": "both"},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(px.errors.UsageError, match=next(iter(options))):
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
        lambda: px.job_of(refs[1]),
    ):
        with pytest.raises(px.errors.UsageError, match="shut down"):
            use()
    for use in (lambda: refs[1].future(), lambda: asyncio.run(_await(refs[1]))):
        with pytest.raises(px.errors.ClusterLostError, match="shut down"):
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


async def _await(ref: px.ObjectRef[Any]) -> Any:
    return await ref


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
    assert node["pid"] > 0
    assert all({"engine", "pid", "state"} <= set(engine) for engine in node["engines"])


@each_session
def test_env_vars_and_namespace(address: str | None) -> None:
    session = px.init(address, num_cpus=1, env_vars={"COLOUR": "green"}, namespace="mine")
    assert session.namespace == "mine"
    assert px.get_runtime_context().namespace == "mine"
    assert px.get(environment.remote("COLOUR")) == "green"
    px.shutdown()
    assert "COLOUR" not in os.environ


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
