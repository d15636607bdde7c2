"""`parallax start`: a pool that outlives the command."""

from __future__ import annotations

import json

import pytest

import parallax
from tests.cli.conftest import Command

pytestmark = pytest.mark.process


def test_started_pool_is_ready_and_says_how_to_join(command: Command) -> None:
    # When a pool is started with resources, an environment and a small store
    started = command(
        *("start", "--name", "fresh", "-n", "2", "--memory", "1g", "--object-store", "64m"),
        *("--resources", "licence=3", "--env", "GREETING=hello"),
    )
    # Then it runs with these, after the command has ended
    assert started.returncode == 0, started.stderr
    assert 'px.init("fresh")' in started.stdout
    with parallax.init("fresh"):
        greeting = parallax.remote(_greeting).remote()
        assert parallax.get(greeting) == "hello"
        assert parallax.cluster_resources() == {"CPU": 2, "memory": 1 << 30, "licence": 3}
        assert len(parallax.nodes()[0]["engines"]) == 2
    (pool,) = parallax.pools()
    assert pool.snapshot()["object_store"]["limit_bytes"] == 64 << 20
    assert pool.stop()


def _greeting() -> str:
    import os

    return os.environ["GREETING"]


def test_second_start_finds_the_running_pool(steady_pool: parallax.Pool, command: Command) -> None:
    # When it is started again, with what it has
    again = command("start", "--name", "steady", "-n", "1")
    # Then nothing has changed, and that is fine
    assert again.returncode == 0
    assert "steady runs already" in again.stdout
    assert [pool.pid for pool in parallax.pools()] == [steady_pool.pid]


def test_second_start_with_other_resources_fails(
    steady_pool: parallax.Pool, command: Command
) -> None:
    again = command("start", "--name", "steady", "-n", "3", "--json")
    assert again.returncode == 1
    assert "it has 1 CPU, not 3" in again.stderr
    assert "parallax stop steady" in again.stderr
    facts = json.loads(again.stdout)
    assert facts["started"] is False
    assert facts["pid"] == steady_pool.pid
    assert facts["differences"]


def test_impossible_pool_is_a_wrong_call(command: Command) -> None:
    refused = command("start", "--name", "tiny", "-n", "0.5")
    assert refused.returncode == 2
    assert refused.stderr.startswith("parallax: num_cpus=0.5")
    assert refused.stdout == ""
