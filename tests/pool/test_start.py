"""Pools that do not start leave an error that says why, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

import parallax as px
from parallax.errors import ClusterLostError
from parallax.pool import local
from parallax.pool.config import PoolConfig
from parallax.pool.paths import clusters_folder
from tests.pool import tasks
from tests.pool.clusters import SHM, Driver, patch_pools, wait_until


def _clusters() -> set[str]:
    """Folders and stores of pools, but for those of other processes that run meanwhile."""
    names = {path.name for path in clusters_folder().iterdir() if not _is_foreign(path)}
    stores = {path.name for path in SHM.glob("parallax-*")}
    return names | {name for name in stores if not _is_foreign(clusters_folder() / name[-12:])}


def _is_foreign(folder: Path) -> bool:
    try:
        owner = PoolConfig.load(str(folder / "config.json")).owner_pid
    except (OSError, msgspec.DecodeError):  # it is being written, or was never
        return False
    return owner != os.getpid()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('no such luck')", "no such luck"),
        ("import os; os._exit(7)", "exit code 7"),
        ("import parallax.pool.hub as h\n"
         "def announce(*a): raise OSError('taken')\n"
         "h.Hub.announce = announce", "OSError: taken"),
        # What engines do first; the hub gives up after a few of them
        ("import parallax.pool.engine as e\n"
         "def offer(): raise RuntimeError('bad luck')\n"
         "e.offer_to_oom_killer = offer", "engines cannot start.*RuntimeError: bad luck"),
        ("import parallax.pool.engine as e, os\n"
         "e.offer_to_oom_killer = lambda: os._exit(9)", "engines cannot start.*exit code 9"),
    ],
)  # fmt: skip
def test_a_pool_that_cannot_start_says_why_and_leaves_nothing(
    code: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    px.shutdown()
    before = _clusters()
    patch_pools(monkeypatch, code)
    same = px.remote(tasks.same)
    with pytest.raises(ClusterLostError, match=f"(?s){words}"):
        px.get(same.remote(1))
    monkeypatch.undo()
    px.shutdown()
    wait_until(lambda: _clusters() <= before)
    assert px.get(same.remote(1)) == 1
    px.shutdown()


def test_an_interrupted_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    px.shutdown()
    before = _clusters()
    patch_pools(monkeypatch, "import time; time.sleep(600)")
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        px.init(num_cpus=1)
    assert time.monotonic() - began < 2
    assert _clusters() <= before
    assert not px.is_initialized()


def test_folders_of_pools_that_never_came_to_be_are_swept() -> None:
    stale = clusters_folder() / "0123456789ab"
    fresh = clusters_folder() / "ba9876543210"
    for folder in (stale, fresh):
        folder.mkdir()
        (folder / "hub.log").write_text("killed")
    long_ago = time.time() - 1000
    os.utime(stale, (long_ago, long_ago))
    local.sweep_dead()
    assert not stale.exists()
    assert fresh.exists()
    (fresh / "hub.log").unlink()
    fresh.rmdir()


def test_many_pools_in_a_row_leave_no_thread_and_no_descriptor() -> None:
    same = px.remote(tasks.same)

    def cycle() -> None:
        with px.init(num_cpus=1):
            ref = same.remote(1)
            assert ref.future().result(timeout=10) == 1

    cycle()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(12):
        cycle()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert threading.active_count() == threads


def test_a_file_in_the_current_folder_stands_in_for_no_module(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise RuntimeError('not the real one')")
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('not the real one')")
    path = tmp_path / "elsewhere" / "script.py"
    path.parent.mkdir()
    path.write_text(
        "import json\nimport parallax as px\n"
        "print(json.dumps(px.get(px.remote(abs).remote(-3))), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_few_descriptors_are_enough_for_many_clients() -> None:
    """The pool raises its own limit; a driver below a low one can still work."""
    script = """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        px.init(num_cpus=2)
        @px.remote
        def limit():
            import resource
            return resource.getrlimit(resource.RLIMIT_NOFILE)
        say(limit=px.get(limit.remote()), hard=hard)
    """
    with Driver(script) as driver:
        facts = driver.hear()
        assert facts["limit"] == [facts["hard"], facts["hard"]]
