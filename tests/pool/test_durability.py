"""What a named pool keeps survives the `kill -9` of its hub."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parallax as px
from parallax.errors import JournalError, ObjectLostError, UsageError
from parallax.pool.paths import connection_file, journal_folder
from parallax.sessions.current import current
from tests.conformance.gates import Gate
from tests.pool.clusters import Driver, process, wait_until
from tests.pool.named import NAME, begin, kill, wait_killed

pytestmark = pytest.mark.usefixtures("own_pools")


def test_acknowledged_results_survive_the_kill_of_the_hub() -> None:
    first = begin()
    px.keep(px.put("small"), "small")
    px.keep(px.put(np.arange(1 << 20)), "large")
    failed = px.remote(divmod).remote(1, 0)
    px.wait([failed])
    px.keep(failed, "failed")
    held = px.recall("large")
    kill()
    assert begin() != first
    assert px.recall("small") == "small"
    assert (px.recall("large") == np.arange(1 << 20)).all()
    with pytest.raises(ZeroDivisionError):
        px.recall("failed")
    assert [kept.state for kept in px.recall()] == ["kept", "kept", "failed"]
    px.forget("large")
    assert (held == np.arange(1 << 20)).all()
    kill()
    begin()
    assert [kept.name for kept in px.recall()] == ["small", "failed"]


def test_every_acknowledged_result_is_there_whenever_the_hub_is_killed() -> None:
    begin()
    script = f"""
        px.init({NAME!r})
        for i in range(10**6):
            px.keep(px.put([i, bytes((1 << 17) * (i % 3 == 0))]), f"n{{i}}")
            say(kept=i)
    """
    with Driver(script) as driver:
        while (last := driver.hear()["kept"]) < 20:
            pass
        process(current().cluster, "parallax-hub").kill()
        rest, _ = driver.process.communicate(timeout=20)
    last += rest.count("kept")
    wait_killed()
    begin()
    names = {kept.name for kept in px.recall()}
    assert {f"n{i}" for i in range(last + 1)} <= names
    assert len(names) <= last + 2
    for i in range(last + 1):
        assert px.recall(f"n{i}") == [i, bytes((1 << 17) * (i % 3 == 0))]


def test_a_result_is_kept_although_the_kernel_that_wanted_it_is_gone(tmp_path: Path) -> None:
    begin()
    gate = Gate(str(tmp_path / "gate"))
    script = f"""
        from tests.conformance.gates import Gate
        from tests.conformance.tasks import same, stop_at
        px.init({NAME!r})
        px.keep(same.remote(stop_at.remote(Gate({gate.folder!r}))), "later")
        say(done=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with Driver(script) as driver:
        driver.hear()
        assert driver.end()[0] == -signal.SIGKILL
    assert px.recall()[0].state == "pending"
    gate.open()
    assert px.recall("later") == 1
    kill()
    begin()
    assert px.recall("later") == 1


def test_what_had_not_ended_is_reported_as_lost(tmp_path: Path) -> None:
    begin()
    gate = Gate(str(tmp_path / "gate"))
    px.keep(px.remote(gate.pass_through).remote(), "never")
    kill()
    begin()
    with pytest.raises(ObjectLostError, match="the pool ended before that"):
        px.recall("never")
    assert px.recall()[0].state == "lost"
    px.keep(px.put(1), "never")
    assert px.recall("never") == 1


def test_a_damaged_journal_does_not_keep_the_pool_from_starting() -> None:
    begin()
    px.keep(px.put(1), "x")
    kill()
    (journal_folder(NAME) / "journal.sqlite").write_bytes(b"rubbish" * 1000)
    begin()
    assert px.recall() == []
    assert "was damaged" in px.pools()[0].logs["hub"].read_text()
    px.keep(px.put(2), "x")
    assert px.recall("x") == 2


def test_a_second_pool_of_the_same_name_cannot_use_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin()
    px.keep(px.put(1), "x")
    px.shutdown()
    # Another runtime folder: the pools do not see each other, but share the journal's folder.
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime2"))
        begin()
        for use in (lambda: px.keep(px.put(2), "x"), lambda: px.recall("x"), px.recall):
            with pytest.raises(JournalError, match="in use by another pool of this name"):
                use()
        px.shutdown()
        (pool,) = px.pools()
        assert pool.stop()
    begin()
    assert px.recall("x") == 1


def test_nothing_is_written_for_what_is_not_kept() -> None:
    begin()
    assert px.get(px.remote(abs).remote(-1)) == 1
    hub = process(current().cluster, "parallax-hub")
    assert hub.num_threads() == 1
    assert "sqlite" not in Path(f"/proc/{hub.pid}/maps").read_text()
    assert px.recall() == []
    with suppress(UsageError):
        px.recall("x")
    assert not journal_folder(NAME).exists()


def test_a_terminated_hub_leaves_the_journal_and_stop_drops_it() -> None:
    cluster = begin()
    px.keep(px.put(1), "x")
    os.kill(process(cluster, "parallax-hub").pid, signal.SIGTERM)
    # As soon as it cannot be found any more, while it may still be ending
    wait_until(lambda: not connection_file(NAME).exists())
    px.shutdown()
    begin()
    assert px.recall("x") == 1
    px.shutdown()
    (pool,) = px.pools()
    assert pool.journal == journal_folder(NAME)
    assert pool.stop(keep=True)
    begin()
    assert px.recall("x") == 1
    px.shutdown()
    (pool,) = px.pools()
    assert pool.stop()
    assert not journal_folder(NAME).exists()
    begin()
    assert px.recall() == []


def test_a_value_that_the_store_has_lost_is_rebuilt_and_kept() -> None:
    cluster = begin()
    ref = px.remote(np.ones).remote(1 << 18)
    px.wait([ref])
    for segment in Path("/dev/shm").glob(f"*{cluster}*/objects/*"):
        segment.unlink()
    px.keep(ref, "again")
    assert px.recall("again").sum() == 1 << 18


# ---- actors ---------------------------------------------------------------------------------


class Model:
    """An actor with all that a recipe may have to carry."""

    def __init__(self, weights: np.ndarray[Any, Any], bias: Any, *, scale: int) -> None:
        self.parameters = int(weights.sum()), int(np.sum(bias)), scale
        self.calls = 0

    def call(self) -> tuple[int, Any]:
        """How often it was called, and what it was made of."""
        self.calls += 1
        return self.calls, self.parameters


def test_detached_actors_are_up_again_after_the_kill_of_the_hub() -> None:
    begin()
    remote = px.remote(max_restarts=2)(Model)
    options = {"lifetime": "detached", "num_cpus": 0.25}
    weights = px.put(np.ones(1 << 18))
    large = remote.options(name="large", **options).remote(weights, np.ones(1 << 17), scale=2)
    small = remote.options(name="small", **options).remote(np.ones(3), px.put(4), scale=3)
    gone = remote.options(name="gone", **options).remote(np.ones(1), 1, scale=1)
    alone = remote.options(name="alone", num_cpus=0).remote(np.ones(1), 1, scale=1)
    for actor in (large, small, gone, alone):
        px.get(actor.call.remote())
    px.kill(gone)
    wait_until(lambda: _actors_on_disk() == {"large", "small"})
    for _ in range(2):  # a second time from what the first recovery has written
        kill()
        begin()
        assert px.list_named_actors() == ["large", "small"]
        found = px.get_actor("large")
        assert px.get(found.call.remote()) == (1, (1 << 18, 1 << 17, 2))
        assert px.get(px.get_actor("small").call.remote()) == (1, (3, 4, 3))
        wait_until(lambda: _actors_on_disk() == {"large", "small"})
    assert px.nodes()[0]["available"]["CPU"] == 0.5
    px.kill(found)
    wait_until(lambda: _actors_on_disk() == {"small"})
    kill()
    begin()
    assert px.list_named_actors() == ["small"]


def _actors_on_disk() -> set[str]:
    path = journal_folder(NAME) / "journal.sqlite"
    if not path.exists() or not path.stat().st_size:
        return set()
    with closing(sqlite3.connect(path)) as journal:
        return {name for (name,) in journal.execute("SELECT name FROM actors")}


def test_an_actor_that_holds_references_says_that_it_will_not_come_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin()
    keeper = px.remote(Holder).options(name="holder", lifetime="detached").remote([px.put(1)])
    px.get(keeper.ready())
    said = ""

    def heard() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "'holder' will not be started anew" in said

    wait_until(heard)
    kill()
    begin()
    assert px.list_named_actors() == []


class Holder:
    """An actor that holds references."""

    def __init__(self, refs: list[Any]) -> None:
        self.refs = refs
