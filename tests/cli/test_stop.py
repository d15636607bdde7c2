"""`parallax stop`: it returns when nothing is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import parallax
from parallax.errors import ClusterLostError
from tests.cli.conftest import Command, ended, processes_of

pytestmark = pytest.mark.process

Here = Callable[..., tuple[int, str, str]]


def test_nothing_is_left(pool: parallax.Pool, command: Command) -> None:
    # Given a pool with an object in shared memory, and all its processes
    with parallax.init("nightly"):
        parallax.get(parallax.remote(os.urandom).remote(1 << 20))
    store = Path(pool.snapshot()["object_store"]["directory"])
    family = processes_of(pool)
    assert len(family) == 4  # hub, node agent, zygote, engine
    # When
    stopped = command("stop", "--json")
    # Then
    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(stopped.stdout) == {
        "stopped": [{"name": "nightly", "pid": pool.pid, "killed": False}]
    }
    assert ended(family)
    assert not store.exists()
    assert not pool.directory.exists()
    assert command("stop", "nightly").returncode == 1


def test_hub_that_hangs_is_killed_with_all_its_engines(pool: parallax.Pool, here: Here) -> None:
    # Given a hub that does nothing any more
    family = processes_of(pool)
    os.kill(pool.pid, signal.SIGSTOP)
    with pytest.raises(ClusterLostError, match="does not answer"):
        pool.snapshot(0.3)
    # When
    code, out, _ = here("stop", "--timeout", "0.2")
    # Then
    assert code == 0
    assert "did not end within 0.2 s and was killed" in out
    assert ended(family)
    assert not pool.directory.exists()
    assert parallax.pools() == []


@pytest.mark.usefixtures("pool")
def test_one_of_several_must_be_named(here: Here, command: Command) -> None:
    # Given two pools
    assert command("start", "--name", "weekly", "-n", "1").returncode == 0
    # Then they are listed, and neither is stopped by chance
    code, out, _ = here("status")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["pool", "nightly", "weekly"]
    code, _, err = here("stop")
    assert code == 2
    assert "nightly, weekly" in err
    # When all are to stop
    code, out, _ = here("stop", "--all")
    # Then all do, and once more is fine
    assert code == 0
    assert out.count("has ended") == 2
    assert here("stop", "--all")[:2] == (0, "no named pool runs.\n")


def test_name_and_all_contradict_each_other(here: Here) -> None:
    for what in ("status", "stop"):
        code, _, err = here(what, "nightly", "--all")
        assert code == 2
        assert "not both" in err


def test_what_it_kept_goes_with_it_unless_told_otherwise(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given pools that keep a result
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path))
    folder = tmp_path / "pools" / "keeping"
    for arguments, said in ((["--keep"], f"What it kept is in {folder}."), ([], "is gone, too")):
        with parallax.init(name="keeping", num_cpus=1):
            assert [kept.name for kept in parallax.recall()] == (["x"] if folder.exists() else [])
            parallax.keep(parallax.put(1), "x")
        # When
        code, out, _ = here("stop", "keeping", *arguments)
        # Then
        assert code == 0
        assert said in " ".join(out.split())
        assert folder.exists() == bool(arguments)
