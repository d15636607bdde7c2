"""What the store takes for granted about flock, and the lock built on it."""

from __future__ import annotations

import mmap
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parallax.errors import UsageError
from parallax.store import flock
from parallax.store.flock import FileLock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    return path


def is_free(path: Path) -> bool:
    """Whether somebody who opens the file anew could lock it."""
    fd = os.open(path, os.O_RDWR)
    try:
        return flock.try_seize(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("options", [{}, {"trackfd": False}])
def test_a_mapping_keeps_the_lock(file: Path, options: dict[str, bool]) -> None:
    if options and (sys.version_info < (3, 13) or sys.platform != "linux"):
        pytest.skip("Python 3.13 has trackfd; macOS needs the descriptor")
    fd = os.open(file, os.O_RDONLY)
    flock.share(fd)
    mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ, **options)
    os.close(fd)
    view = memoryview(mapped)[10:20]
    del mapped
    assert not is_free(file)
    view.release()
    assert is_free(file)


def test_a_forked_child_keeps_the_lock_of_its_mappings(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    flock.share(fd)
    mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    os.close(fd)
    inner, outer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(outer)
        os.read(inner, 1)  # until the parent closes its end
        os._exit(0)
    os.close(inner)
    mapped.close()
    assert not is_free(file)
    os.close(outer)
    os.waitpid(pid, 0)
    assert is_free(file)


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    # Two locks on one file are what two processes have; each is used by two threads.
    locks = [FileLock(tmp_path / "lock") for _ in range(2)]
    inside = 0

    def enter() -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        os.stat(tmp_path)  # lets other threads run
        inside -= 1

    def work(number: int) -> None:
        for _ in range(300):
            locks[number % 2].run(enter)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    for lock in locks:
        lock.close()


def test_an_error_inside_lets_go_of_the_lock(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    for error in (ZeroDivisionError, KeyboardInterrupt):

        def fail(error: type[BaseException] = error) -> None:
            raise error

        with pytest.raises(error):
            lock.run(fail)
        assert other.run(lambda: 5) == 5
    lock.close()
    other.close()


def test_a_child_of_a_holder_waits_for_its_parent(tmp_path: Path) -> None:
    # Given a process that forks while one of its threads is inside
    lock = FileLock(tmp_path / "lock")
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        entered.set()
        assert leave.wait(30)

    inner, outer = os.pipe()
    with ThreadPoolExecutor(1) as threads:
        staying = threads.submit(lock.run, stay)
        assert entered.wait(30)
        pid = _fork_and_lock(lock, inner, outer)
        # Then the child is not inside, nor stuck: it waits
        os.close(outer)
        assert os.read(inner, 1) == b"w"
        assert not is_free(tmp_path / "lock")
        leave.set()
        staying.result(30)
        assert os.read(inner, 1) == b"d"
    os.close(inner)
    os.waitpid(pid, 0)
    lock.close()


def _fork_and_lock(lock: FileLock, inner: int, outer: int) -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads; that is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(inner)
        lock.after_fork()
        os.write(outer, b"w")
        lock.run(os.write, outer, b"d")
        os._exit(0)
    return pid


def test_a_system_without_flock_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flock, "fcntl", None)
    with pytest.raises(UsageError, match="inline"):
        flock.require_flock()
