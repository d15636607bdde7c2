"""Real processes: views across them, forks, and `kill -9` at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parallax.store.janitor import hold_lease, remove_if_last, sweep
from tests.store.conftest import MIB, OpenStore

SIZE = 2 * MIB
LIMIT = 64 * MIB


class Process:
    """A `worker.py` and its answers."""

    def __init__(self, root: Path, spill_dir: Path, limit_bytes: int) -> None:
        script = Path(__file__).with_name("worker.py")
        command = [sys.executable, str(script), str(root), str(spill_dir), str(limit_bytes)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.answer() == "ready"

    def tell(self, *call: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def ask(self, *call: Any) -> Any:
        self.tell(*call)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait()


StartProcess = Callable[..., Process]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[StartProcess]:
    started = []

    def start(limit_bytes: int = LIMIT) -> Process:
        process = Process(root / "store", tmp_path / "spill", limit_bytes)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def test_a_view_in_another_process_stays(open_store: OpenStore, start: StartProcess) -> None:
    store, process = open_store(), start()
    store["a"] = np.full(SIZE, 7, "u1")
    process.ask("view", "a")
    store.free("a")
    for value in range(3):
        store["b"] = np.full(SIZE, value, "u1")
    assert process.ask("values", "a") == [7]
    assert store.trim(0) > 0
    assert process.ask("values", "a") == [7]


def test_a_killed_reader_lets_go(open_store: OpenStore, start: StartProcess) -> None:
    store, process = open_store(), start()
    store["a"] = np.full(SIZE, 7, "u1")
    process.ask("view", "a")
    store.free("a")
    assert store.trim(0) == 0
    process.kill()
    assert store.trim(0) > SIZE
    assert store.usage().warm_segments == 0


def test_a_forked_child_keeps_its_views(open_store: OpenStore, start: StartProcess) -> None:
    store, process = open_store(), start()
    store["a"] = np.full(SIZE, 7, "u1")
    process.ask("view", "a")
    child = process.ask("fork")
    process.ask("forget", "a")
    store.free("a")
    # The child alone holds the view now.
    assert store.trim(0) == 0
    fd = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
    os.kill(child, signal.SIGKILL)
    if fd is None:
        pytest.skip("cannot wait for the end of somebody else's child")
    process.kill()  # init reaps the orphan
    _wait_for_end(fd)
    assert store.trim(0) > SIZE


def test_a_forked_child_is_a_process_of_its_own(open_store: OpenStore, start: StartProcess) -> None:
    store, process = open_store(), start()
    # Given a process with a warm segment, which a child inherits with its mapping
    for value in range(3):
        process.ask("put", "a", SIZE, value)
        process.ask("free", "a")
    process.ask("put", "b", SIZE, 7)
    process.ask("view", "b")
    process.ask("put", "c", SIZE, 8)
    process.ask("free", "c")
    # When both write
    assert process.ask("fork_and_use") == [7, 9]
    process.ask("put", "d", SIZE, 10)
    # Then neither has written into the other's object
    assert (store["child"] == 9).all()
    assert (store["d"] == 10).all()
    assert process.ask("values", "b") == [7]


def test_a_killed_writer_loses_nothing_but_its_own(
    open_store: OpenStore, start: StartProcess
) -> None:
    store, process = open_store(), start()
    store["a"] = np.full(SIZE, 7, "u1")
    process.tell("die_while_writing", SIZE)
    assert process.wait() == -signal.SIGKILL
    assert list(store) == ["a"]
    assert store.usage().warm_segments == 1
    assert store.trim(0) > SIZE
    assert store.usage().warm_segments == 0
    store["b"] = np.full(SIZE, 8, "u1")
    assert (store["a"] == 7).all()
    assert (store["b"] == 8).all()


def test_a_writer_killed_over_a_warm_segment(open_store: OpenStore, start: StartProcess) -> None:
    store, process = open_store(), start()
    store["a"] = np.full(SIZE, 7, "u1")
    store.free("a")
    process.tell("die_while_writing", SIZE)
    process.wait()
    # The segment is as good as before: its lock went with its writer.
    store["b"] = np.full(SIZE, 8, "u1")
    assert (store["b"] == 8).all()
    assert store.usage().warm_segments == 0


def test_processes_at_random_and_kills(open_store: OpenStore, start: StartProcess) -> None:
    # Given a store that is too small for what goes on
    limit = 12 * MIB
    store = open_store(limit)
    processes = [start(limit) for _ in range(4)]
    # When all work at once, and two are killed in the middle of it
    for seed, process in enumerate(processes):
        process.tell("hammer", seed, 400)
    for process in processes[:2]:
        store["shared-0"] = np.full(3_000_000, 5, "u1")
        process.kill()
    # Then the others see no view change, and no byte is lost from the books for long
    assert all(process.answer() > 0 for process in processes[2:])
    for process in processes:
        process.kill()
    for name in list(store):
        assert np.unique(store[name]).size == 1
        store.free(name)
    store.trim(0)
    usage = store.usage()
    assert (usage.memory_objects, usage.spilled_objects, usage.warm_segments) == (0, 0, 0)


def test_the_lease_of_a_killed_cluster_is_free(start: StartProcess, root: Path) -> None:
    # Given a cluster whose only process holds the lease, and its child with it
    process = start()
    process.ask("lease")
    child = process.ask("fork")
    mine = hold_lease(root / "store")
    assert not remove_if_last(root / "store", mine)
    # When the parent is killed, the child still holds it
    fd = os.pidfd_open(child)
    process.kill()
    assert sweep(root, "store", os.getuid()) == []
    # And when the child is gone nobody does
    os.kill(child, signal.SIGKILL)
    _wait_for_end(fd)
    assert sweep(root, "store", os.getuid()) == [root / "store"]
    assert list(root.iterdir()) == []


def _wait_for_end(pidfd: int) -> None:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(30_000)
    os.close(pidfd)
