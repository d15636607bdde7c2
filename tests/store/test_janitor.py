"""The janitor removes what dead clusters left, and nothing else."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from parallax.store import flock, janitor
from parallax.store.janitor import hold_lease, remove_if_last, sweep
from parallax.store.shared import SharedStore
from tests.store.conftest import MIB

UID = os.getuid()


def test_a_lease_makes_a_private_directory(root: Path) -> None:
    fd = hold_lease(root / "c1")
    assert stat.S_IMODE((root / "c1").stat().st_mode) == 0o700
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_directory_that_others_may_enter_is_closed(root: Path) -> None:
    (root / "c1").mkdir(mode=0o755)
    os.close(hold_lease(root / "c1"))
    assert stat.S_IMODE((root / "c1").stat().st_mode) == 0o700


def test_a_link_or_a_file_is_refused(root: Path) -> None:
    (root / "elsewhere").mkdir()
    (root / "c1").symlink_to(root / "elsewhere")
    with pytest.raises(NotADirectoryError, match="c1"):
        hold_lease(root / "c1")
    (root / "c2").write_text("")
    with pytest.raises(NotADirectoryError, match="c2"):
        hold_lease(root / "c2")


@pytest.mark.skipif(UID != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(root: Path) -> None:
    (root / "c1").mkdir()
    os.chown(root / "c1", 12345, 12345)
    with pytest.raises(PermissionError, match="12345"):
        hold_lease(root / "c1")


def test_the_living_stay_and_the_dead_go(root: Path) -> None:
    living, dead = hold_lease(root / "c-living"), hold_lease(root / "c-dead")
    other = hold_lease(root / "x-dead")
    os.close(dead)
    os.close(other)
    assert sweep(root, "c-", UID) == [root / "c-dead"]
    assert sorted(path.name for path in root.iterdir()) == ["c-living", "x-dead"]
    os.close(living)


def test_other_users_directories_stay(root: Path) -> None:
    os.close(hold_lease(root / "c1"))
    assert sweep(root, "c", UID + 1) == []
    assert (root / "c1").exists()


def test_what_was_killed_while_it_started_or_swept_goes(root: Path) -> None:
    (root / "c-no-lease").mkdir()
    (root / "c-half").mkdir()
    (root / "c-half" / "objects").mkdir()
    (root / "c-file").write_text("")
    sweep(root, "c-", UID)
    assert [path.name for path in root.iterdir()] == ["c-file"]


def test_a_store_goes_with_what_it_spilled(root: Path, tmp_path: Path) -> None:
    spill_dir = tmp_path / "elsewhere" / "spill"
    fd = hold_lease(root / "c1")
    with SharedStore(root / "c1", limit_bytes=MIB, spill_dir=spill_dir) as store:
        store["a"] = np.zeros(3 * MIB, "u1")
        assert os.listdir(spill_dir) == ["a"]
        view = store["a"]
    assert remove_if_last(root / "c1", fd)
    assert not spill_dir.exists()
    assert list(root.iterdir()) == []
    assert not view.any()


def test_the_last_one_removes_the_directory(root: Path) -> None:
    first, second = hold_lease(root / "c1"), hold_lease(root / "c1")
    assert not remove_if_last(root / "c1", first)
    assert (root / "c1").exists()
    assert remove_if_last(root / "c1", second)
    assert not (root / "c1").exists()


def test_a_cluster_that_starts_under_a_janitor_starts_over(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a cluster that has opened the lease, when a janitor comes before it is locked
    real = flock.share

    def share(fd: int) -> None:
        monkeypatch.setattr(flock, "share", real)
        assert sweep(root, "c", UID) == [root / "c1"]
        real(fd)

    monkeypatch.setattr(flock, "share", share)
    # Then the cluster makes its directory again, and holds it
    fd = hold_lease(root / "c1")
    assert (root / "c1").is_dir()
    assert sweep(root, "c", UID) == []
    os.close(fd)


def test_a_directory_that_goes_between_its_making_and_its_lease(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = janitor._open_lease

    def open_lease(path: Path) -> int:
        monkeypatch.setattr(janitor, "_open_lease", real)
        path.rmdir()
        return real(path)

    monkeypatch.setattr(janitor, "_open_lease", open_lease)
    os.close(hold_lease(root / "c1"))
    assert (root / "c1" / "lease").exists()


def test_clusters_that_start_and_janitors_that_sweep_at_once(root: Path) -> None:
    stop = threading.Event()

    def sweep_on() -> None:
        while not stop.is_set():
            sweep(root, "c", UID)

    def start_and_end(number: int) -> None:
        for _ in range(50):
            fd = hold_lease(root / f"c{number}")
            probe = root / f"c{number}" / "probe"
            probe.write_text("here")
            assert probe.read_text() == "here"
            remove_if_last(root / f"c{number}", fd)

    with ThreadPoolExecutor(4) as threads:
        sweepers = [threads.submit(sweep_on) for _ in range(2)]
        clusters = [threads.submit(start_and_end, number) for number in range(2)]
        wait(clusters, timeout=60)
        stop.set()
        for cluster in clusters:
            cluster.result(0)
        for sweeper in sweepers:
            sweeper.result(60)
    sweep(root, "c", UID)
    assert list(root.iterdir()) == []
