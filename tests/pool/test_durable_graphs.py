"""Durable graphs go on where they stopped, whenever their hub was killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parallax as px
from parallax.errors import ObjectLostError
from parallax.pool.paths import journal_folder
from parallax.sessions.current import current
from tests.conformance.gates import Gate
from tests.pool.clusters import Driver, process, wait_until
from tests.pool.durable_tasks import pass_gate, step
from tests.pool.named import NAME, begin, kill, wait_killed

pytestmark = pytest.mark.usefixtures("own_pools")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(str(tmp_path / "gate"))


def rows(table: str) -> int:
    """How many rows this table of the journal has."""
    path = journal_folder(NAME) / "journal.sqlite"
    if not path.exists() or not path.stat().st_size:
        return 0
    with closing(sqlite3.connect(path, timeout=10)) as journal:
        try:
            return int(journal.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        except sqlite3.OperationalError:  # its tables are just being made
            return 0


def nothing_left() -> bool:
    """Whether the journal knows of no durable task, nor of a value that one needs."""
    return not any(rows(table) for table in ("tasks", "templates", "graph_values"))


def test_what_has_ended_does_not_run_again_and_the_rest_does(gate: Gate) -> None:
    begin()
    large = px.put(np.ones(1 << 17))
    diary = os.path.join(gate.folder, "diary")
    first = step.remote(diary, "first", 1 << 17)
    assert px.get(first) == (1, bytes(1 << 17))
    last = pass_gate.remote(gate, "second", first, large, px.put("small"))
    px.keep(last, "last")
    wait_until(lambda: gate.count("second"))
    kill()
    begin()
    assert [(kept.name, kept.state) for kept in px.recall()] == [("last", "pending")]
    wait_until(lambda: gate.count("second") == 2)
    gate.open()
    name, before, ones, small = px.recall("last")
    assert (name, before, small) == ("second", (1, bytes(1 << 17)), "small")
    assert ones.sum() == 1 << 17
    assert Path(diary).read_text() == "first\n"
    wait_until(nothing_left)
    assert len(list((journal_folder(NAME) / "values").iterdir())) == 1  # what is kept


@pytest.mark.parametrize("victim", ["parallax-node", "parallax-zygote"])
def test_it_goes_on_whichever_process_takes_the_pool_down(gate: Gate, victim: str) -> None:
    cluster = begin()
    px.keep(pass_gate.remote(gate, "task"), "task")
    wait_until(lambda: gate.count("task"))
    process(cluster, victim).kill()
    wait_killed()
    begin()
    gate.open()
    assert px.recall("task") == ["task"]


def test_what_is_not_durable_is_lost_and_says_so(gate: Gate) -> None:
    begin()
    plain = pass_gate.options(durable=False).remote(gate, "plain")
    px.keep(pass_gate.remote(gate, "after", plain), "after")
    kill()
    begin()
    with pytest.raises(ObjectLostError, match="durable=True"):
        px.recall("after")
    wait_until(nothing_left)


def test_it_goes_on_without_any_client_and_shows_as_a_job(gate: Gate) -> None:
    begin()
    script = f"""
        from tests.conformance.gates import Gate
        from tests.pool.durable_tasks import pass_gate
        px.init({NAME!r})
        with px.job("nightly"):
            gate = Gate({gate.folder!r})
            pass_gate.remote(gate, "after", pass_gate.remote(gate, "waits"))
    """
    with Driver(script) as driver:
        assert driver.end() == (0, "")
    wait_until(lambda: gate.count("waits"))
    wait_until(lambda: rows("tasks") == 2)
    kill()
    begin()
    (job,) = px.jobs()
    assert (job.name, job.state) == ("nightly", "running")
    counts = job.counts
    assert counts["pending"] + counts["running"] == 2  # the first may have begun already
    gate.open()
    wait_until(nothing_left)
    assert job.counts["done"] == 2
    assert (gate.count("waits"), gate.count("after")) == (2, 1)


def test_it_can_be_cancelled_in_the_next_pool(gate: Gate) -> None:
    begin()
    px.keep(pass_gate.remote(gate, "never"), "never")
    kill()
    begin()
    (job,) = px.jobs()
    job.cancel()
    with pytest.raises(px.errors.TaskCancelledError):
        px.recall("never")
    wait_until(nothing_left)


def test_an_orderly_end_leaves_it_if_asked_to(gate: Gate) -> None:
    for keep in (True, False):
        begin()
        px.keep(pass_gate.remote(gate, "task"), "task")
        px.shutdown()
        (pool,) = px.pools()
        assert pool.stop(keep=keep)
        begin()
        assert [kept.state for kept in px.recall()] == ["pending"] * keep
        assert len(px.jobs()) == keep
        px.shutdown()
        (pool,) = px.pools()
        assert pool.stop()


class Fire:
    """Durable graphs, submitted while the hub is killed again and again."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.diary = folder / "diary"
        self.diary.touch()
        self.graphs = 0
        self.expected: dict[str, int] = {}
        """What is kept, by name, once that was acknowledged."""
        self.tasks: set[str] = set()
        """Of graphs that were acknowledged."""
        self.seen: dict[str, int] = {}
        """How often those tasks had run of which a result was seen."""
        self.refs: dict[str, px.ObjectRef[Any]] = {}

    def runs(self) -> Counter[str]:
        return Counter(self.diary.read_text().split())

    def submit(self) -> None:
        """A graph of some tasks; the sum that the last one makes is kept."""
        self.graphs += 1
        rng = self.rng
        refs: list[px.ObjectRef[Any]] = []
        sums: list[int] = []
        names: list[str] = []
        for number in range(rng.randint(3, 12)):
            before = rng.sample(range(number), min(number, rng.randint(0, 3)))
            names.append(f"{self.graphs}-{number}")
            size_bytes = rng.choice([0, 100, 1 << 17])
            taken = [refs[i] for i in before]
            refs.append(step.remote(str(self.diary), names[-1], size_bytes, *taken))
            sums.append(1 + sum(sums[i] for i in before))
        self.refs.update(zip(names, refs, strict=True))
        px.keep(refs[-1], f"graph {self.graphs}")
        self.expected[f"graph {self.graphs}"] = sums[-1]
        self.tasks.update(names)

    def look(self) -> None:
        """Note of which tasks the result is there for this client."""
        refs = list(self.refs.values())
        ready = set(px.wait(refs, num_returns=len(refs), timeout=0)[0]) if refs else set()
        runs = self.runs()
        for name, ref in list(self.refs.items()):
            if ref in ready:
                del self.refs[name]
                self.seen[name] = runs[name]

    def kill_at_any_moment(self) -> None:
        """Submit, and kill the hub meanwhile, before or after that."""
        hub = process(current().cluster, "parallax-hub")
        pid, moment_s = hub.pid, self.rng.choice([0.0, 0.05, 0.2, 0.6]) * self.rng.random()
        killer = subprocess.Popen(
            [sys.executable, "-S", "-c", f"import os, time; input(); time.sleep({moment_s}); "
             f"os.kill({pid}, {signal.SIGKILL:d})"], stdin=subprocess.PIPE,
        )  # fmt: skip
        with killer:
            assert killer.stdin is not None
            killer.stdin.write(b"\n")
            killer.stdin.close()
            try:
                while True:
                    self.submit()
                    self.look()
            except px.errors.ClusterLostError:
                self.refs.clear()
        wait_killed()


def test_whenever_the_hub_is_killed_nothing_is_lost_and_nothing_done_is_done_again(
    tmp_path: Path,
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    fire = Fire(seed, tmp_path)
    kills = 20
    for _ in range(kills):
        begin(2)
        fire.kill_at_any_moment()
    begin(2)
    for name, expected in fire.expected.items():
        number, _ = px.recall(name, timeout=60)
        assert (name, number) == (name, expected)
    runs = fire.runs()
    assert fire.tasks <= runs.keys(), "a task of an acknowledged graph never ran"
    again = {name: (count, runs[name]) for name, count in fire.seen.items() if runs[name] != count}
    assert not again, "tasks whose results had been seen ran again"
    wait_until(nothing_left)
    states = Counter(kept.state for kept in px.recall())
    print(f"{kills} kills, {len(fire.expected)} graphs of {len(fire.tasks)} tasks, {states}")
    twice = sum(count > 1 for count in runs.values())
    print(f"{len(fire.seen)} results were seen before; {twice} tasks ran more than once")
