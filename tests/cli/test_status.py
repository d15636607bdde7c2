"""`parallax status`: what runs, for people and for programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

import parallax

pytestmark = pytest.mark.process

Here = Callable[..., tuple[int, str, str]]


def test_nothing_runs(here: Here) -> None:
    assert here("status") == (
        0,
        "no named pool runs. Start one with `parallax start --name NAME`.\n",
        "",
    )
    code, out, _ = here("status", "--json")
    assert (code, json.loads(out)) == (0, {"pools": []})


def test_a_pool_that_ends_as_it_is_asked_is_not_there(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    with parallax.init(num_cpus=1):
        (mine,) = [pool for pool in parallax.pools(embedded=True) if pool.owner_pid == os.getpid()]
    found = iter([[mine]])
    listed = parallax.pools
    monkeypatch.setattr(parallax, "pools", lambda **how: next(found, None) or listed(**how))
    assert here("status", "--json") == (0, '{\n  "pools": []\n}\n', "")


def test_programs_get_all_facts(steady_pool: parallax.Pool, here: Here) -> None:
    # Given a job that has ended and an object
    with parallax.init("steady"), parallax.job("add up"):
        kept = parallax.put(b"x" * (1 << 20))
        assert parallax.get(parallax.remote(sum).remote([1, 2])) == 3
        # When
        code, out, _ = here("status", "--json")
        assert len(parallax.get(kept)) == 1 << 20  # this session went on undisturbed
    # Then
    (facts,) = json.loads(out)["pools"]
    assert code == 0
    assert facts["name"] == "steady"
    assert facts["pid"] == steady_pool.pid
    assert facts["resources"]["CPU"] == facts["available"]["CPU"] == 1
    (engine,) = facts["nodes"][0]["engines"]
    assert engine["state"] == "idle"
    assert psutil.pid_exists(engine["pid"])
    assert facts["object_store"]["memory_objects"] == 1
    assert facts["object_store"]["memory_bytes"] >= 1 << 20
    job = facts["jobs"][0]
    assert (job["name"], job["state"], job["tasks"]["done"]) == ("add up", "done", 1)


@pytest.mark.usefixtures("steady_pool")
def test_people_see_what_an_engine_runs(here: Here) -> None:
    # Given a task that has begun and runs until it is cancelled
    @parallax.remote
    def two_steps() -> Iterator[str]:
        yield "begun"
        threading.Event().wait()

    with parallax.init("steady"):
        steps = two_steps.remote()
        assert parallax.get(next(steps)) == "begun"
        # When
        code, out, err = here("status")
        parallax.cancel(steps)
    # Then the page names the pool, what its engine runs, and the CPU that is taken
    assert (code, err) == (0, "")
    assert out.startswith("steady  up ")
    assert re.search(r"busy +two_steps", out)
    assert "0 of 1" in out


@pytest.mark.usefixtures("steady_pool")
@pytest.mark.parametrize("columns", [20, 40, 80])
def test_narrow_terminals_get_narrow_lines(
    here: Here, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = here("status")
    assert code == 0
    assert max(map(len, out.splitlines())) <= columns


@pytest.mark.usefixtures("steady_pool")
def test_colour_is_a_terminal_s_and_can_be_refused(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in here("status")[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in here("status")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = [part for part in here("status")[1].split("\x1b[")[1:] if part[0] in "349"]
    assert not coloured


@pytest.mark.usefixtures("steady_pool")
def test_wrong_name_shows_the_near_one(here: Here) -> None:
    for what in ("status", "stop", "logs", "timeline"):
        code, out, err = here(what, "stedy")
        assert (code, out) == (1, "")
        assert "Did you mean 'steady'?" in err


def test_embedded_pools_are_listed_with_their_owner(here: Here) -> None:
    # Given a script whose own pool runs
    script = subprocess.Popen(
        [sys.executable, "-c", "import parallax; parallax.init(num_cpus=1); print(1); input()"]
        + ["an argument"] * 50,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert script.stdin is not None
    assert script.stdout is not None
    script.stdout.readline()
    # When
    _, out, _ = here("status", "--all", "--json")
    _, table, _ = here("status", "--all")
    _, named, _ = here("status", "--json")
    script.communicate(b"\n")
    # Then it is there, marked with its owner, and only with --all
    owners = {facts["owner_pid"]: facts for facts in json.loads(out)["pools"]}
    assert owners[script.pid]["name"] == ""
    assert "parallax.init" in owners[script.pid]["owner"]
    (line,) = [line for line in table.splitlines() if f"pid {script.pid}" in line]
    assert "0 of 1" in line or "1 of 1" in line
    assert len(line) <= 100
    assert script.pid not in {facts["owner_pid"] for facts in json.loads(named)["pools"]}


def test_a_pool_of_another_python_is_listed_like_any(
    steady_pool: parallax.Pool, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pool that refuses us
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    # Then a list has it, and nothing has failed
    code, out, _ = here("status", "--all", "--json")
    (facts,) = [pool for pool in json.loads(out)["pools"] if pool["name"] == "steady"]
    assert facts["state"] == "other version"
    assert facts["pid"] == steady_pool.pid
    assert code == 0
    # And the pool itself says why it tells no more, and how to end it
    code, out, _ = here("status", "steady")
    assert "it runs Python 3.99.0, this cluster" in out
    assert "To end it: parallax stop steady" in out
    assert code == 0
