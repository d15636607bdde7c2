"""Named pools outlive who started them, are found again, and there is one of each name."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import parallax as px
from parallax.errors import AuthenticationError, ProtocolError, UsageError
from parallax.net.connection import Connection, read_connection, write_connection
from parallax.pool import local
from parallax.pool.client import Client
from parallax.pool.paths import connection_file
from parallax.sessions.current import current
from tests.pool import tasks
from tests.pool.clusters import Driver, alive, engines, process, traces, wait_gone, wait_until

same = px.remote(tasks.same)


@pytest.fixture(autouse=True)
def _own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names of these tests meet nobody else's; pools that are left are ended."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    px.shutdown()
    yield
    px.shutdown()
    for path in (tmp_path / "runtime").glob("parallax-*.json"):
        connection = read_connection(path)
        if connection.host == platform.node():
            with suppress(ProcessLookupError):
                os.kill(connection.pid, signal.SIGTERM)
            wait_gone(connection.cluster)


def test_a_named_pool_outlives_its_starter_and_is_found_by_name() -> None:
    script = """
        px.init(name="nightly", num_cpus=1)
        say(cluster=cluster(), engine=px.get(px.remote(os.getpid).remote()))
    """
    with Driver(script) as driver:
        facts = driver.hear()
        assert driver.end() == (0, "")
    for join in ({"address": "nightly"}, {"name": "nightly", "num_cpus": 1}):
        with px.init(**join):  # type: ignore[arg-type]
            assert current().cluster == facts["cluster"]
            assert px.get(px.remote(os.getpid).remote()) == facts["engine"]
    path = connection_file("nightly")
    assert path.stat().st_mode & 0o777 == 0o600
    with px.init(str(path)):
        assert px.get(same.remote(3)) == 3


def test_a_process_that_ends_before_the_pool_that_it_has_started_warns_of_nothing() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"}
    with Driver('px.init(name="nightly", num_cpus=1)', env=environment) as driver:
        assert driver.end() == (0, "")


def test_what_was_called_just_before_the_interpreter_ends_reaches_the_pool() -> None:
    px.init(name="nightly", num_cpus=1)
    counter = px.remote(Counter).options(name="counter", lifetime="detached").remote()
    script = """
        px.init("nightly")
        counter = px.get_actor("counter")
        counter.add.remote(1)
        counter.add.remote(2)
    """
    with Driver(script) as driver:
        assert driver.end() == (0, "")
    wait_until(lambda: px.get(counter.add.remote(0)) == 3)


class Counter:
    """An actor that adds up."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, number: int) -> int:
        """What it has then."""
        self.value += number
        return self.value


def test_leaving_a_named_pool_ends_the_leavers_work_and_not_the_pool() -> None:
    px.init(name="kept", num_cpus=1)
    name, running = current().cluster, px.remote(tasks.sleep).remote(600)
    wait_until(lambda: engines() and px.available_resources().get("CPU", 0) == 0)
    assert running
    px.shutdown()
    px.init("kept")
    assert current().cluster == name
    wait_until(lambda: px.available_resources().get("CPU") == 1)
    assert px.get(same.remote(1), timeout=10) == 1


def test_a_killed_client_takes_its_work_and_values_along_and_nothing_else() -> None:
    px.init(name="common", num_cpus=2)
    mine = px.put(bytearray(1 << 21))
    script = """
        px.init("common")
        held = [px.put(bytearray(1 << 21)) for _ in range(3)]
        @px.remote
        def sleep():
            time.sleep(600)
        refs = [sleep.remote() for _ in range(5)]
        while px.available_resources().get("CPU", 0):
            time.sleep(0.01)
        say(holds=True)
        px.get(refs)
    """
    with Driver(script) as driver:
        driver.hear()
        assert _objects() == 4
        driver.process.kill()
    wait_until(lambda: px.available_resources().get("CPU") == 2)
    wait_until(lambda: _objects() == 1)
    assert px.get([same.remote(i) for i in range(20)], timeout=10) == list(range(20))
    assert len(px.get(mine)) == 1 << 21


def _objects() -> int:
    """Segments with an object in them."""
    return sum(len(list(root.glob("objects/*"))) for root in traces(current().cluster))


def test_two_processes_that_start_one_name_share_one_pool() -> None:
    script = """
        sys.stdin.readline()
        px.init(name="shared", num_cpus=1)
        say(cluster=cluster())
    """
    drivers = [Driver(script, stdin=-1) for _ in range(3)]
    try:
        for driver in drivers:
            assert driver.process.stdin is not None
            driver.process.stdin.write("go\n")
            driver.process.stdin.flush()
        assert len({driver.hear()["cluster"] for driver in drivers}) == 1
    finally:
        for driver in drivers:
            driver.__exit__()


def test_a_killed_named_pool_is_started_anew() -> None:
    px.init(name="phoenix", num_cpus=1)
    first = current().cluster
    process(first, "parallax-hub").kill()
    wait_until(lambda: not px.is_initialized())
    wait_gone(first)
    px.init(name="phoenix", num_cpus=1)
    assert current().cluster != first
    assert px.get(same.remote(1)) == 1


def test_a_connection_file_that_nobody_stands_behind_any_more() -> None:
    path = connection_file("stale")
    gone = Connection(
        cluster="c", endpoint="ipc:///nowhere", token="t", pid=os.getpid(), host=platform.node(),
        version="1", name="stale", started_at=time.time() - 10**9,  # the pid was given out anew
    )  # fmt: skip
    write_connection(path, gone)
    with pytest.raises(UsageError, match="no pool runs at 'stale'"):
        px.init("stale")
    assert not path.exists()
    write_connection(path, gone)
    px.init(name="stale", num_cpus=1)
    assert read_connection(path).cluster == current().cluster != "c"


def test_a_pool_of_another_host_is_left_alone() -> None:
    path = connection_file("far")
    write_connection(
        path,
        Connection(
            cluster="c", endpoint="ipc:///x", token="t", pid=1, host="elsewhere", version="1"
        ),
    )
    for join in ({"address": "far"}, {"name": "far"}):
        with pytest.raises(UsageError, match="belongs to a pool on elsewhere"):
            px.init(**join)  # type: ignore[arg-type]
    assert path.exists()
    assert local.running_names() == []


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "über/", "x\0"])
def test_a_name_that_cannot_be_one(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a pool"):
        connection_file(name)


def test_a_file_that_is_no_connection_file() -> None:
    path = connection_file("broken")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    with pytest.raises(UsageError, match=str(path)):
        px.init("broken")
    path.unlink()


def test_who_may_not_join_is_told_why(cluster: str) -> None:
    connection = current().client.connection
    stranger = Connection(**{**_fields(connection), "token": "guess"})
    with pytest.raises(AuthenticationError, match="key"):
        Client(stranger, "client").connect()
    with pytest.raises(ProtocolError, match="king"):
        Client(connection, "king").connect()
    assert px.get(same.remote(1)) == 1


def test_a_pool_that_ends_leaves_the_file_of_its_successor() -> None:
    px.init(name="throne", num_cpus=1)
    hub = process(current().cluster, "parallax-hub")
    path = connection_file("throne")
    successor = Connection(**{**_fields(read_connection(path)), "cluster": "next", "pid": 1})
    write_connection(path, successor)
    hub.send_signal(signal.SIGTERM)
    psutil.wait_procs([hub], timeout=5)
    wait_until(lambda: not px.is_initialized())
    assert read_connection(path) == successor
    path.unlink()


def _fields(connection: Connection) -> dict[str, object]:
    return {name: getattr(connection, name) for name in connection.__struct_fields__}


def test_a_busy_actor_does_not_outlive_a_driver_that_was_killed() -> None:
    """Nobody could end it any more, for nobody has a handle."""
    with px.init(name="shared", num_cpus=1):
        script = """
            px.init("shared")

            @px.remote
            class Endless:
                def pid(self):
                    return os.getpid()

                def run(self):
                    while True:
                        time.sleep(60)

            actor = Endless.remote()
            say(pid=px.get(actor.pid.remote()))
            px.get(actor.run.remote())
        """
        with Driver(script) as driver:
            pid = driver.hear()["pid"]
        wait_until(lambda: not alive(pid))
        assert px.get(same.remote(1)) == 1
