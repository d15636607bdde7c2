"""Pools started by the command line, in a runtime folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import parallax
from parallax.cli import main

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No pool of the user is seen, and none that these tests start is seen by the user."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runtime")
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        patch.setenv("COLUMNS", "100")
        patch.delenv("PARALLAX_ADDRESS", raising=False)
        yield folder
        for pool in parallax.pools():
            pool.stop(1.0)


@pytest.fixture(autouse=True)
def _no_session() -> Iterator[None]:
    """Other files may have started the embedded pool."""
    parallax.shutdown()
    yield
    parallax.shutdown()


@pytest.fixture(scope="session")
def command() -> Command:
    """Run `parallax ...` as users do; returns what it wrote and its exit code."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "parallax", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, which is quicker; returns code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as error:  # argparse, for wrong calls and for help
            code = int(error.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def pool(runtime_folder: Path, command: Command) -> Iterator[parallax.Pool]:
    """A pool with one engine, to be ended by the test or after it."""
    found = _start(command, "nightly")
    yield found
    found.stop(1.0)


@pytest.fixture(scope="module")
def steady_pool(runtime_folder: Path, command: Command) -> Iterator[parallax.Pool]:
    """A pool for the tests of one file that leave it as it is."""
    found = _start(command, "steady")
    yield found
    found.stop()


def _start(command: Command, name: str) -> parallax.Pool:
    started = command("start", "--name", name, "-n", "1", "--json")
    assert started.returncode == 0, started.stderr
    facts: dict[str, Any] = json.loads(started.stdout)
    return next(pool for pool in parallax.pools() if pool.cluster == facts["cluster"])


def processes_of(pool: parallax.Pool) -> list[psutil.Process]:
    """The hub and all that it has started."""
    hub = psutil.Process(pool.pid)
    return [hub, *hub.children(recursive=True)]


def ended(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs; a zombie does not."""
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
