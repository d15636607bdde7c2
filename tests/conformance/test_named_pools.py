"""Named pools outlive their sessions and are found again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import parallax as px
from tests.conformance.scripts import run
from tests.conformance.tasks import same


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


def test_joining_says_which_arguments_have_no_effect(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    px.init(name=name, num_cpus=1, env_vars={"TOKEN": "secret"})
    assert capsys.readouterr().err == ""
    px.shutdown()
    for join in ({"address": name}, {"name": name}):
        with px.init(**join, num_cpus=7, env_vars={"TOKEN": "secret"}):
            assert px.cluster_resources()["CPU"] == 1
        said = capsys.readouterr().err
        assert f"{name} runs already; of no effect on it: num_cpus=7" in said
        assert "secret" not in said
