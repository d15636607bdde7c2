"""Values that are lost are made anew; a store that is full says so and loses nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parallax as px
from parallax.errors import ObjectLostError, ObjectStoreFullError
from parallax.sessions.current import current
from parallax.store.spill import SpillFolder
from tests.pool.clusters import SHM, traces, wait_until

MIB = 1 << 20


def _segments(cluster: str) -> list[Path]:
    return [p for root in traces(cluster) for p in root.glob("objects/*")]


def _lose_all(cluster: str) -> None:
    for segment in wait_until(lambda: _segments(cluster)):
        segment.unlink()


@pytest.fixture
def made() -> Any:
    """A task that makes an array and notes each time it does."""

    @px.remote
    def make(name: str, value: int) -> Any:
        with open(name, "a") as file:
            file.write("x")
        return np.full(MIB // 8, value)

    make.runs = lambda name: len(Path(name).read_text())  # type: ignore[attr-defined]
    return make


def test_a_lost_result_is_made_anew_for_get(cluster: str, made: Any, tmp_path: Path) -> None:
    name = str(tmp_path / "a")
    ref = made.remote(name, 7)
    assert px.get(ref)[0] == 7
    _lose_all(cluster)
    assert px.get(ref)[-1] == 7
    assert made.runs(name) == 2


def test_a_lost_argument_is_made_anew_for_a_task(cluster: str, made: Any, tmp_path: Path) -> None:
    @px.remote
    def total(a: Any, b: Any) -> int:
        return int((a + b).sum())

    names = [str(tmp_path / name) for name in "ab"]
    a, b = made.remote(names[0], 1), made.remote(names[1], 2)
    px.wait([a, b], num_returns=2)
    _lose_all(cluster)
    assert px.get(total.remote(a, b)) == 3 * (MIB // 8)
    assert [made.runs(name) for name in names] == [2, 2]


def test_a_lost_result_is_made_anew_for_a_future(cluster: str, made: Any, tmp_path: Path) -> None:
    ref = made.remote(str(tmp_path / "a"), 5)
    px.wait([ref])
    _lose_all(cluster)
    assert ref.future().result(timeout=10)[0] == 5


def test_what_was_put_cannot_be_made_anew(cluster: str) -> None:
    ref = px.put(np.ones(MIB))
    _lose_all(cluster)
    with pytest.raises(ObjectLostError, match=ref.hex()):
        px.get(ref)


def test_a_view_outlives_the_loss_of_its_segment(cluster: str, made: Any, tmp_path: Path) -> None:
    ref = made.remote(str(tmp_path / "a"), 3)
    view = px.get(ref)
    _lose_all(cluster)
    assert view.sum() == 3 * (MIB // 8)


def test_a_store_over_its_limit_spills() -> None:
    with px.init(num_cpus=2, object_store_memory=16 * MIB):
        make = px.remote(lambda i: np.full(4 * MIB, i, np.uint8))
        refs = [px.put(np.full(4 * MIB, i, np.uint8)) for i in range(6)]
        refs += [make.remote(i) for i in range(6, 12)]
        assert [int(px.get(ref)[-1]) for ref in refs] == list(range(12))
        root = SHM / f"parallax-{os.getuid()}-{current().cluster}"
        if root.exists():
            used = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
            assert used <= 17 * MIB
        assert [int(px.get(ref)[0]) for ref in reversed(refs)] == list(reversed(range(12)))


def _no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_an_error_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with px.init(num_cpus=1, object_store_memory=8 * MIB):
        kept = px.put(np.full(4 * MIB, 9, np.uint8))
        view = px.get(kept)  # in use, so that it cannot give way
        with monkeypatch.context() as disk:
            disk.setattr(SpillFolder, "write", _no_space)
            with pytest.raises(ObjectStoreFullError, match="object_store_memory"):
                px.put(np.ones(8 * MIB, np.uint8))

            @px.remote
            def return_too_much() -> Any:
                from parallax.store.spill import SpillFolder

                def write(*_: Any) -> None:
                    raise OSError(errno.ENOSPC, "No space left on device")

                SpillFolder.write = write  # type: ignore[method-assign,assignment]
                return np.ones(8 * MIB, np.uint8)

            with pytest.raises(ObjectStoreFullError, match="return_too_much"):
                px.get(return_too_much.remote())
        assert px.get(kept)[-1] == view[0] == 9
        assert px.get(px.put(np.ones(16 * MIB, np.uint8))).sum() == 16 * MIB  # on the disk


def test_what_a_killed_engine_had_not_announced_is_freed(cluster: str) -> None:
    # Given an engine that dies between writing a value and sending word of it, and one that is well
    @px.remote(max_retries=0)
    def write_and_die() -> None:
        from parallax.pool.context import engine
        from parallax.serial.values import pack

        assert engine.client is not None
        engine.client.send_value(pack(np.ones(MIB)))
        os.kill(os.getpid(), 9)

    kept = px.remote(np.ones).remote(MIB)
    px.wait([kept])
    with pytest.raises(px.errors.EngineDiedError):
        px.get(write_and_die.remote())
    assert len(_segments(cluster)) == 2
    # Then what nobody can ever refer to goes, and nothing else
    wait_until(lambda: len(_segments(cluster)) == 1)
    assert px.get(kept).sum() == MIB
