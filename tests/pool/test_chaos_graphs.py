"""Graphs of tasks in storms: every result is right, nothing runs after its use, nothing stays."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parallax.sessions.current import current
from parallax.testing import Storm, chaos
from tests.pool.clusters import engines, traces, wait_until
from tests.pool.graph_tasks import NOTE
from tests.pool.graphs import Graph, Run


def _run(graph: Graph, folder: Path, storm: Callable[[], Storm]) -> Run:
    """Run a graph in a storm, and say what came of it."""
    run = Run(graph, folder)
    start = time.perf_counter()
    with storm() as blowing:
        run()
    seconds = time.perf_counter() - start
    begun_at = run.begun_at()
    again = sum(len(times) - 1 for times in begun_at.values())
    print(f"{blowing!r}, {len(begun_at):,} tasks in {seconds:.1f} s, {again:,} runs were repeated")
    assert not run.wrong
    assert begun_at.keys() == set(range(graph.size))
    return run


def _check_at_rest(cluster: str) -> None:
    """Neither hub nor store remember anything, and the pool is whole."""
    gc.collect()

    def left() -> list[object]:
        counts = current().ask("counts")
        held = [(name, counts[name]) for name in ("tasks", "ready", "objects") if counts[name]]
        return [*held, *(path for root in traces(cluster) for path in root.glob("objects/*"))]

    wait_until(lambda: not left())
    # Two, or more that are not needed any more.
    wait_until(lambda: [e["state"] for e in engines()] == ["idle"] * max(2, len(engines())))


@pytest.mark.seeds(20)
def test_every_result_is_right_and_nothing_runs_after_its_use(
    cluster: str, tmp_path: Path, storm_seed: int
) -> None:
    run = _run(
        Graph(storm_seed, 10_000), tmp_path, lambda: chaos(storm_seed, kill_engines_every_s=0.05)
    )
    assert not list(run.runs_too_late())
    _check_at_rest(cluster)


@pytest.mark.seeds(3)
def test_links_that_are_slow_and_break(cluster: str, tmp_path: Path, storm_seed: int) -> None:
    def storm() -> Storm:
        return chaos(storm_seed, kill_engines_every_s=0.1, sever_links_every_s=0.05, delay_s=0.004)

    run = _run(Graph(storm_seed, 5_000), tmp_path, storm)
    assert not list(run.runs_too_late())
    _check_at_rest(cluster)


@pytest.mark.seeds(3)
def test_values_in_shared_memory(cluster: str, tmp_path: Path, storm_seed: int) -> None:
    # A large value may be made anew after its use: that is how it is there for the next one.
    _run(
        Graph(storm_seed, 5_000, large=0.2),
        tmp_path,
        lambda: chaos(storm_seed, kill_engines_every_s=0.05),
    )
    _check_at_rest(cluster)


def test_a_run_after_its_use_would_be_noticed(cluster: str, tmp_path: Path) -> None:
    graph = Graph(1, 200)
    run = Run(graph, tmp_path)()
    assert not list(run.runs_too_late())
    user = next(step for step in graph.steps if step.deps)
    (tmp_path / "late").write_bytes(NOTE.pack(user.deps[0], time.monotonic()))
    late = list(run.runs_too_late())
    assert any("got at" in line for line in late)
    assert any("an argument at" in line for line in late)
    assert all(line.startswith(f"task {user.deps[0]} ") for line in late)
