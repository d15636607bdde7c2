"""Kill any one process of a pool: nobody hangs, and nothing of the pool is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import parallax as px
from parallax.errors import ClusterLostError
from parallax.sessions.current import current
from tests.pool import tasks
from tests.pool.clusters import Driver, alive, engines, patch_pools, process, wait_gone, wait_until

PROCESSES = ("parallax-hub", "parallax-node", "parallax-zygote")


@px.remote
def sleep_with_helpers(folder: str) -> None:
    """Sleep beside two programs, one of which has left the engine's process group."""
    with open(f"{folder}/pids", "a") as file:
        for alone in (False, True):
            helper = subprocess.Popen(["sleep", "600"], start_new_session=alone)
            file.write(f"{helper.pid}\n")
    time.sleep(600)


@px.remote
def yield_and_sleep() -> Iterator[int]:
    yield 1
    time.sleep(600)


@px.remote
def ones() -> Any:
    return np.ones(1 << 20)


def _helpers(folder: Path, count: int) -> list[int]:
    path = folder / "pids"
    wait_until(lambda: path.exists() and path.read_text().count("\n") == count)
    return [int(line) for line in path.read_text().split()]


@pytest.mark.parametrize("name", PROCESSES)
def test_one_that_is_only_stopped_goes_on(cluster: str, name: str) -> None:
    px.get(ones.remote())  # all processes have joined
    stopped = process(cluster, name)
    stopped.suspend()
    wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED)
    result = ones.remote()
    if name != "parallax-hub":
        assert px.nodes()  # the hub has heard that its child was stopped
    stopped.resume()
    assert px.get(result, timeout=10).size == 1 << 20


@pytest.mark.parametrize("name", PROCESSES)
def test_everything_of_the_pool_ends_and_the_driver_hears_of_it(
    cluster: str, name: str, tmp_path: Path
) -> None:
    # Given tasks that run, wait and stream, values in memory, and waits of every kind
    large = ones.remote()
    view = px.get(large)
    small = px.put(3)
    running = sleep_with_helpers.remote(str(tmp_path))
    stream = yield_and_sleep.remote()
    assert px.get(next(stream)) == 1
    queued = ones.options(name="queued").remote()
    helpers = _helpers(tmp_path, 2)

    async def read_all(generator: Any) -> None:
        async for _ in generator:
            pass

    async def result_of(ref: Any) -> Any:
        return await ref

    waits: dict[str, Callable[[], Any]] = {
        "get": lambda: px.get([running, queued]),
        "wait": lambda: px.wait([running]),
        "next": lambda: next(stream),
        "future": lambda: running.future().result(),
        "await": lambda: asyncio.run(result_of(queued)),
        "async for": lambda: asyncio.run(read_all(yield_and_sleep.remote())),
    }
    outcomes: dict[str, Any] = {}

    def wait_in_thread(kind: str, wait: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                outcomes[kind] = wait()
            except BaseException as error:  # noqa: BLE001 - any kind is the outcome
                outcomes[kind] = type(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    threads = [wait_in_thread(kind, wait) for kind, wait in waits.items()]

    # When one process of the pool is killed
    process(cluster, name).kill()

    # Then all waits end, whatever is tried afterwards says why, and nothing is left
    for thread in threads:
        thread.join(10)
    assert outcomes == dict.fromkeys(waits, ClusterLostError)
    later: list[Callable[[], Any]] = [
        lambda: px.get(running),
        lambda: px.put(1),
        lambda: ones.remote(),
        lambda: px.wait([queued]),
        lambda: px.cancel(running),
        lambda: next(stream),
        lambda: running.future().result(timeout=5),
        px.nodes,
    ]
    for call in later:
        with pytest.raises(ClusterLostError, match=r"is gone|out of reach"):
            call()
    assert px.get(small) == 3  # what is here already stays readable
    assert view.sum() == 1 << 20
    wait_gone(cluster)
    with pytest.raises(ClusterLostError, match=r"is gone|out of reach"):
        px.get(large)
    wait_until(lambda: not any(map(alive, helpers)))

    # And a new pool works
    assert not px.is_initialized()
    px.init(num_cpus=1)
    assert px.get(ones.remote()).sum() == 1 << 20


def test_a_killed_driver_takes_its_pool_along(tmp_path: Path) -> None:
    script = """
        import subprocess
        @px.remote
        def hold():
            helper = subprocess.Popen(["sleep", "600"])
            say(helper=helper.pid)
            time.sleep(600)
        px.init(num_cpus=1)
        ref = px.put(bytearray(1 << 22))
        say(cluster=cluster(), pid=os.getpid())
        px.get(hold.remote())
    """
    with Driver(script) as driver:
        facts = driver.hear()
        helper = driver.hear()["helper"]
        driver.process.kill()
        wait_gone(facts["cluster"])
        wait_until(lambda: not alive(helper))


def test_an_engine_that_dies_takes_along_what_it_started(cluster: str, tmp_path: Path) -> None:
    task = sleep_with_helpers.options(max_retries=0).remote(str(tmp_path))
    helpers = _helpers(tmp_path, 2)
    engine = next(e for e in engines() if e["state"] == "busy")
    os.kill(engine["pid"], 9)
    with pytest.raises(px.errors.EngineDiedError, match="SIGKILL"):
        px.get(task)
    wait_until(lambda: not any(map(alive, helpers)))


def test_a_bug_in_the_hub_reaches_the_user_with_its_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_pools(
        monkeypatch,
        "from parallax.core.questions import Questions\n"
        "def asked(self, *message): raise KeyError('a bug')\n"
        "Questions.ask = asked",
    )
    px.init(num_cpus=1)
    name = current().cluster
    running = px.remote(tasks.sleep).remote(600)
    with pytest.raises(ClusterLostError, match=r"(?s)its hub failed.*bug in parallax.*in asked"):
        px.nodes()
    with pytest.raises(ClusterLostError, match="KeyError: 'a bug'"):
        px.get(running)
    wait_gone(name)
    px.shutdown()
