"""The node agent looks for what dead engines left, also where engines die all the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.pool import store_keeper
from parallax.pool.config import PoolConfig
from parallax.pool.store_keeper import LOST_AFTER_S, StoreKeeper
from parallax.serial.values import pack
from parallax.store.shared import SharedStore


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(store_keeper, "time", clock)
    return clock


@pytest.fixture
def keeper(clock: Clock, tmp_path: Path) -> Iterator[StoreKeeper]:
    """Of a store with one value in it."""
    config = PoolConfig(
        cluster="c",
        token="",
        folder=str(tmp_path),
        store=str(tmp_path / "store"),
        spill=str(tmp_path / "spill"),
        store_limit_bytes=1 << 30,
        resources={},
    )
    keeper = StoreKeeper(config)
    with SharedStore(
        tmp_path / "store", limit_bytes=1 << 30, spill_dir=tmp_path / "spill"
    ) as store:
        store.write("7-1", pack(bytes(100)))
    yield keeper
    keeper.close()


def test_it_looks_once_when_all_was_heard_of(clock: Clock, keeper: StoreKeeper) -> None:
    assert keeper.tidy() == []
    keeper.engine_ended()
    clock.now += LOST_AFTER_S - 0.01
    assert keeper.tidy() == []
    clock.now += 0.01
    assert keeper.tidy() == ["7-1"]
    clock.now += 100.0
    assert keeper.tidy() == []


def test_ends_that_never_cease_do_not_put_it_off(clock: Clock, keeper: StoreKeeper) -> None:
    looks = 0
    for _ in range(20):
        keeper.engine_ended()
        clock.now += LOST_AFTER_S / 2
        looks += bool(keeper.tidy())
    assert looks >= 9
    # And of the last one, too, when it is time
    clock.now += LOST_AFTER_S
    assert keeper.tidy() == ["7-1"]
    clock.now += 100.0
    assert keeper.tidy() == []
