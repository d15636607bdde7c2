"""Storms do what they say, to whom they should, and are over when they are."""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path
from typing import Any

import pytest

import parallax as px
from parallax.errors import EngineDiedError, UsageError
from parallax.sessions.current import current
from parallax.testing import chaos
from parallax.testing.strikes import Victim
from tests.pool import tasks
from tests.pool.clusters import Driver, SecondNode, engines, processes, wait_gone, wait_until

same = px.remote(max_retries=-1)(tasks.same)
sleep = px.remote(max_retries=0)(tasks.sleep)


def _relays(cluster: str) -> list[Any]:
    return [p for p in processes(cluster) if any("relay.py" in word for word in p.cmdline())]


def _wait_whole() -> None:
    wait_until(lambda: [e["state"] for e in engines()] == ["idle", "idle"])


# ---- what it strikes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "kind", "words"),
    [
        ("SIGKILL", "killed", "SIGKILL"),
        ("SIGSEGV", "crashed", "SIGSEGV"),
        ("SIGABRT", "crashed", "SIGABRT"),
        ("SIGSTOP", "frozen", "SIGKILL"),
    ],
)
def test_engines_end_as_they_are_told_to(cluster: str, way: str, kind: str, words: str) -> None:
    with chaos(3, kill_engines_every_s=0.02, ways=[way]) as storm:
        with pytest.raises(EngineDiedError, match=words):
            px.get(sleep.remote(600))
        wait_until(lambda: storm.counts.engines > 2)
    counts = storm.counts
    assert getattr(counts, kind) == counts.engines
    assert f"seed=3: {counts.engines} {kind}" in repr(storm)
    # Then it is over
    assert storm.counts == counts
    _wait_whole()
    assert px.get(same.remote(1)) == 1
    assert storm.counts == counts


def test_an_engine_that_was_frozen_does_not_stay_so(cluster: str) -> None:
    with chaos(4, kill_engines_every_s=0.001, ways=["SIGSTOP"]) as storm:
        wait_until(lambda: storm.counts.frozen > 3)
    _wait_whole()


def test_actors_are_struck_like_others(cluster: str) -> None:
    class Life:
        def pid(self) -> int:
            return os.getpid()

    actor = px.remote(max_restarts=-1, max_task_retries=-1)(Life).remote()
    lives = set()
    with chaos(5, kill_engines_every_s=0.02):
        while len(lives) < 4:
            lives.add(px.get(actor.pid.remote(), timeout=30))


def test_a_crash_leaves_no_core_file(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @px.remote
    def limit() -> tuple[int, int]:
        import resource

        return os.getpid(), resource.getrlimit(resource.RLIMIT_CORE)[0]

    import resource

    pid, _ = px.get(limit.remote())
    (number,) = (engine["engine"] for engine in engines() if engine["pid"] == pid)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.prlimit(pid, resource.RLIMIT_CORE, (hard, hard))
    sent: list[int] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, number: sent.append(number))
    victim = Victim(pid, f"parallax-{number}")
    victim.send(signal.SIGSEGV)
    victim.release()
    assert sent == [signal.SIGSEGV]
    assert resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 0


def test_a_process_of_another_name_is_no_victim(cluster: str) -> None:
    px.get(same.remote(1))
    with pytest.raises(ProcessLookupError, match="is not parallax-77 any more"):
        Victim(engines()[0]["pid"], "parallax-77")


def test_nodes_but_for_the_first(cluster: str) -> None:
    # Given a pool of two nodes
    with SecondNode(cluster) as second:
        wait_until(lambda: len(px.nodes()) == 2)
        refs = [same.options(scheduling_strategy="SPREAD").remote(n) for n in range(100)]
        with chaos(6, kill_nodes_every_s=0.01) as storm:
            assert px.get(refs, timeout=30) == list(range(100))
            wait_until(lambda: len(px.nodes()) == 1)
        assert storm.counts.nodes == 1
        assert second.wait() == -signal.SIGKILL
    assert px.nodes()[0]["host"] == platform.node()
    assert px.get(same.remote(2)) == 2


# ---- links ----------------------------------------------------------------------------------


def test_links_break_and_work_goes_on(cluster: str) -> None:
    with chaos(8, sever_links_every_s=0.02) as storm:
        number = 0
        while storm.counts.severed < 5:
            refs = same.map(range(number, number + 100))
            assert px.get(refs, timeout=30) == list(range(number, number + 100))
            number += 100
    assert storm.counts.engines == 0
    _wait_whole()


def test_messages_are_held(cluster: str) -> None:
    with chaos(9, delay_s=0.01) as storm:
        # One by one: messages that are sent together count as one.
        for n in range(12):
            assert px.get(same.remote(n)) == n
        wait_until(lambda: storm.counts.delayed > 10)
        assert f"{storm.counts.delayed} delayed" in repr(storm)
    # Links that pass through the relay go on to do so
    delayed = storm.counts.delayed
    pids = {engine["pid"] for engine in engines()}
    assert px.get(same.map(range(100))) == list(range(100))
    assert {engine["pid"] for engine in engines()} == pids
    assert storm.counts.delayed == delayed
    # And the relay ends with the last of them
    (relay,) = _relays(cluster)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not relay.is_running())
    _wait_whole()


def test_one_storm_after_the_other(cluster: str) -> None:
    for seed in range(3):
        with chaos(seed, delay_s=0.001) as storm:
            assert px.get(same.map(range(20))) == list(range(20))
        assert storm.counts.delayed > 0


def test_two_relays_at_once_are_refused(cluster: str) -> None:
    with chaos(1, delay_s=0.001), pytest.raises(UsageError, match="belongs to another storm"):
        chaos(2, delay_s=0.001).__enter__()
    assert px.get(same.remote(3)) == 3


def test_a_pool_that_is_shut_down_ends_its_storm(cluster: str) -> None:
    with chaos(1, kill_engines_every_s=0.05, delay_s=0.001):
        px.get(same.remote(1))
        px.shutdown()
    wait_gone(cluster)


def test_a_driver_that_dies_leaves_the_pool_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    px.shutdown()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    script = """
    from parallax.testing import chaos
    px.init(name="stormy", num_cpus=1)
    with chaos(1, delay_s=0.001):
        say(cluster=cluster(), x=px.get(px.remote(abs).remote(-1)))
        time.sleep(600)
    """
    with Driver(script) as driver:
        cluster = driver.hear()["cluster"]
        (relay,) = _relays(cluster)
        driver.process.kill()
        wait_until(lambda: not relay.is_running())
    with px.init("stormy"):
        assert px.get(px.remote(abs).remote(-2)) == 2
        assert current().cluster == cluster
    (pool,) = px.pools()
    pool.stop()
    wait_gone(cluster)


# ---- where there is nothing to strike -------------------------------------------------------


def test_the_only_node_is_not_struck(cluster: str) -> None:
    with pytest.raises(UsageError, match="kill_nodes_every_s needs a pool of several nodes"):
        chaos(1, kill_nodes_every_s=1.0).__enter__()


def test_a_storm_blows_once(cluster: str) -> None:
    storm = chaos(1, kill_engines_every_s=60.0)
    with storm:
        pass
    with pytest.raises(UsageError, match="this storm is over"):
        storm.__enter__()


def test_an_inline_session_is_not_struck() -> None:
    px.shutdown()
    with px.init("inline"), pytest.raises(UsageError, match="runs tasks inline"):
        chaos(1, kill_engines_every_s=1.0).__enter__()


def test_a_task_does_not_strike_its_own_pool(cluster: str) -> None:
    @px.remote
    def strike() -> None:
        from parallax.testing import chaos

        chaos(1, kill_engines_every_s=1.0).__enter__()

    with pytest.raises(UsageError, match="is for the driver"):
        px.get(strike.remote())
