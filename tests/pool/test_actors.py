"""Actors on real processes: what survives what, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate
from tests.pool import actors
from tests.pool.actors import lines
from tests.pool.clusters import Driver, alive, engines, process, wait_gone, wait_until

Diary = px.remote(actors.Diary)
Loop = px.remote(actors.Loop)
Speakers = px.remote(actors.Speakers)


def test_a_killed_process_fails_what_ran_and_runs_what_waited(cluster: str, tmp_path: Path) -> None:
    diary, gate = tmp_path / "diary", tmp_path / "gate"
    actor = Diary.options(max_restarts=1).remote(str(diary))
    pid = px.get(actor.pid.remote())
    running = actor.wait_for.remote(str(gate))
    waiting = [actor.write.remote(f"{number}") for number in range(5)]
    wait_until(lambda: "waits" in lines(diary))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(px.errors.ActorUnavailableError, match="SIGKILL"):
        px.get(running)
    assert px.get(waiting) == ["0", "1", "2", "3", "4"]
    assert lines(diary) == ["made", "waits", "made", "0", "1", "2", "3", "4"]


def test_calls_run_at_most_once_however_often_it_crashes(cluster: str, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    actor = Diary.options(max_restarts=-1).remote(str(diary))
    refs = [
        actor.write_and_die.remote(f"{n}") if n % 10 == 5 else actor.write.remote(f"{n}")
        for n in range(50)
    ]
    done, failed = 0, 0
    for ref in refs:
        try:
            px.get(ref)
            done += 1
        except px.errors.ActorUnavailableError:
            failed += 1
    assert done + failed == 50
    assert failed >= 5
    numbers = [int(line) for line in lines(diary) if line.isdigit()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= done


def test_calls_with_retries_all_complete_in_order(cluster: str, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    actor = Diary.options(max_restarts=-1, max_task_retries=-1).remote(str(diary))
    refs = [actor.write.remote(f"{number}") for number in range(300)]
    pid = px.get(actor.pid.remote())
    for _ in range(3):
        refs += [actor.write.remote(f"{len(refs) + number}") for number in range(300)]
        os.kill(pid, signal.SIGKILL)
        pid = px.get(actor.pid.remote())
    assert px.get(refs) == [str(number) for number in range(1200)]
    numbers = [int(line) for line in lines(diary) if line.isdigit()]
    firsts = list(dict.fromkeys(numbers))
    assert firsts == list(range(1200))


def test_an_actor_that_ends_cleans_up_after_itself(cluster: str, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    actor = Diary.remote(str(diary))
    pid = px.get(actor.pid.remote())
    del actor
    gc.collect()
    wait_until(lambda: not alive(pid))
    assert lines(diary) == ["made", "ended"]
    wait_until(lambda: [e["state"] for e in engines()] == ["idle", "idle"])


@pytest.mark.parametrize("kind", ["plain", "loop", "threads"])
def test_the_driver_ends_and_so_do_its_actors(kind: str, tmp_path: Path) -> None:
    options = {"plain": "", "loop": "", "threads": "max_concurrency=2"}[kind]
    asynchronous = "async " if kind == "loop" else ""
    script = f"""
    @px.remote({options})
    class Actor:
        {asynchronous}def pid(self):
            return os.getpid()
        {asynchronous}def stay(self):
            time.sleep(600)
    px.init(num_cpus=2)
    actor = Actor.options(lifetime="detached", name="a").remote()
    say(cluster=cluster(), pid=px.get(actor.pid.remote()))
    actor.stay.remote()
    """
    with Driver(script) as driver:
        heard = driver.hear()
        driver.end(timeout_s=8)
        wait_gone(heard["cluster"])
    assert not alive(heard["pid"])


def test_what_calls_print_is_told_apart(cluster: str, capfd: Any) -> None:
    """Two calls speak in turns; each piece belongs to the call that has printed it."""
    actor = Speakers.options(max_concurrency=2).remote()
    with px.job("speech") as job:
        refs = [actor.say.remote("a a a"), actor.say.remote("b b b")]
        px.get(refs)
    wait_until(lambda: job.output().count("\n") == 6)
    assert sorted(job.output().split()) == ["a"] * 3 + ["b"] * 3


def test_an_actor_prints_into_the_job_that_calls_it(cluster: str, tmp_path: Path) -> None:
    actor = Diary.remote(str(tmp_path / "diary"))
    loop = Loop.remote()
    for number, handle in enumerate((actor, loop)):
        with px.job(f"job {number}") as job:
            px.get(handle.say.remote(f"word{number}"))
        wait_until(lambda job=job: "word" in job.output())
        assert job.output() == f"word{number}\n"


def test_a_call_that_blocks_the_event_loop_is_named(cluster: str) -> None:
    loop = Loop.remote()
    px.get(loop.pid.remote())
    with px.job("blocking") as job:
        ref = loop.block.remote(2.0)
        wait_until(lambda: "has blocked the event loop" in job.output(), timeout_s=20)
    assert "Loop.block" in job.output()
    px.get(ref)


def test_many_actors_come_and_go(cluster: str, tmp_path: Path) -> None:
    for _ in range(3):
        several = [Diary.remote(str(tmp_path / f"{number}")) for number in range(10)]
        pids = px.get([actor.pid.remote() for actor in several])
        assert len(set(pids)) == 10
        del several
        gc.collect()
        wait_until(lambda pids=pids: not any(map(alive, pids)))
    wait_until(lambda: [e["state"] for e in engines()] == ["idle", "idle"])


def test_a_handle_of_an_old_session_is_out_of_reach(cluster: str, tmp_path: Path) -> None:
    actor = Diary.remote(str(tmp_path / "diary"))
    px.get(actor.ready())
    px.shutdown()
    with pytest.raises(px.errors.UsageError, match="shut down"):
        actor.pid.remote()
    assert not px.is_initialized()
    px.init(num_cpus=1)
    with pytest.raises(px.errors.UsageError, match="out of reach"):
        actor.pid.remote()
    again = Diary.remote(str(tmp_path / "diary"))
    assert px.get(again.write.remote("later")) == "later"


def test_a_handle_of_a_lost_cluster(cluster: str, tmp_path: Path) -> None:
    actor = Diary.remote(str(tmp_path / "diary"))
    ref = actor.wait_for.remote(str(tmp_path / "gate"))
    os.kill(process(cluster, "parallax-hub").pid, signal.SIGKILL)
    with pytest.raises(px.errors.ClusterLostError):
        px.get(ref)
    with pytest.raises(px.errors.ClusterLostError):
        actor.pid.remote()


def test_names_in_tasks_are_those_of_their_drivers_namespace() -> None:
    px.shutdown()
    px.init(num_cpus=1, namespace="ours")
    actor = Speakers.options(name="a").remote()

    @px.remote
    def find() -> Any:
        other = Speakers.options(name="b").remote()
        px.get(other.ready())
        here = px.get_runtime_context().namespace
        return px.get_actor("a"), other, px.list_named_actors(), here

    found, other, names, namespace = px.get(find.remote())
    assert found == actor
    assert namespace == px.get_runtime_context().namespace == "ours"
    assert px.get(actor.call(lambda self: px.get_runtime_context().namespace)) == "ours"
    assert names == ["a", "b"]
    assert px.get_actor("b", namespace="ours") == other
    px.shutdown()


def test_gpus_of_an_actor_are_its_own_while_it_lives() -> None:
    px.shutdown()
    px.init(num_cpus=2, num_gpus=2)

    @px.remote(num_gpus=1)
    class Trainer:
        def __init__(self) -> None:
            self.first = self.visible()

        def visible(self) -> str:
            return os.environ["CUDA_VISIBLE_DEVICES"]

        def both(self) -> list[str]:
            return [self.first, self.visible()]

    trainers = [Trainer.remote() for _ in range(2)]
    both = px.get([trainer.both.remote() for trainer in trainers])
    assert sorted(first for first, _ in both) == ["0", "1"]
    assert all(first == then for first, then in both)
    assert px.available_resources()["GPU"] == 0
    px.shutdown()


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_a_crash_loses_no_call_that_had_not_begun(cluster: str, kind: str, tmp_path: Path) -> None:
    """Of calls side by side, too, only those that had begun may have had their effect."""

    gate = Gate(str(tmp_path / "gate"))

    class Base:
        @px.method(concurrency_group="io")
        def io(self, gate: Gate) -> None:
            gate.pass_through("io")

    if kind == "threads":

        class Kind(Base):
            def stop(self, gate: Gate) -> int:
                gate.pass_through("stop")
                return 1

    else:

        class Kind(Base):  # type: ignore[no-redef]
            async def stop(self, gate: Gate) -> int:
                gate.note("stop")
                while not gate.is_open():
                    await asyncio.sleep(0.001)
                return 1

    options: dict[str, Any] = {"max_concurrency": 2, "concurrency_groups": {"io": 1}}
    actor = px.remote(**options)(Kind).options(max_restarts=1).remote()
    pid = px.get(actor.call(lambda self: os.getpid()))
    refs = [actor.stop.remote(gate) for _ in range(5)]
    gate.wait_for(2, "stop")
    os.kill(pid, signal.SIGKILL)
    for ref in refs[:2]:
        with pytest.raises(px.errors.ActorUnavailableError):
            px.get(ref)
    gate.open()
    assert px.get(refs[2:]) == [1, 1, 1]
    assert gate.count("stop") == 5
