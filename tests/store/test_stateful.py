"""Whatever is stored, freed, reused and spilled: views never change and the books are right."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from parallax.store import free, segment
from parallax.store.shared import SharedStore

# A tenth of the real sizes: what matters is their order.
MAPPED_FROM_BYTES = 100_000
LIMIT_BYTES = 1_500_000
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"])
SIZES = st.sampled_from([0, 10, 5_000, 70_000, 150_000, 170_000, 400_000, 2_000_000])


@dataclass
class View:
    array: np.ndarray[Any, Any]
    content: int

    def check(self) -> None:
        assert (self.array == self.content).all()
        assert not self.array.flags.writeable


class Machine(RuleBasedStateMachine):
    """Three processes' stores (in one process) against a dict."""

    stores = Bundle("stores")
    views = Bundle("views")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, tuple[int, int]] = {}  # size and content
        self.kept: dict[int, View] = {}  # by number: the bundle itself would keep a view alive
        self.opened: list[SharedStore] = []
        self.written = 0
        self.numbers = itertools.count()

    def open(self) -> SharedStore:
        store = SharedStore(
            self.folder / "root", limit_bytes=LIMIT_BYTES, spill_dir=self.folder / "spill"
        )
        self.opened.append(store)
        return store

    @initialize(target=stores)
    def start(self) -> Any:
        return multiple(self.open(), self.open(), self.open())

    @rule(store=stores, name=NAMES, size=SIZES)
    def put(self, store: SharedStore, name: str, size: int) -> None:
        self.written = (self.written + 1) % 256
        store[name] = np.full(size, self.written, "u1")
        self.model[name] = size, self.written

    @rule(target=views, store=stores, name=NAMES)
    def get(self, store: SharedStore, name: str) -> Any:
        if name not in self.model:
            with pytest.raises(KeyError):
                store[name]
            return multiple()
        size, content = self.model[name]
        view = View(store[name], content)
        assert view.array.size == size
        number = next(self.numbers)
        self.kept[number] = view
        return number

    @rule(number=consumes(views))
    def drop(self, number: int) -> None:
        del self.kept[number]

    @rule(store=stores, name=NAMES)
    def free(self, store: SharedStore, name: str) -> None:
        assert store.free(name) == (self.model.pop(name, None) is not None)

    @rule(store=stores)
    def trim(self, store: SharedStore) -> None:
        store.trim(0)

    @rule(old=consumes(stores), target=stores)
    def restart(self, old: SharedStore) -> SharedStore:
        old.close()
        return self.open()

    @rule(store=stores)
    def compare(self, store: SharedStore) -> None:
        assert sorted(store) == sorted(self.model)
        for name, (size, content) in self.model.items():
            array = store[name]
            assert array.size == size
            assert (array == content).all()

    @rule(store=stores)
    def check_usage(self, store: SharedStore) -> None:
        usage = store.usage()
        assert usage.memory_objects + usage.spilled_objects == len(self.model)
        used, warm, spilled = store._space._books.read()
        assert used == usage.memory_bytes + usage.warm_bytes <= LIMIT_BYTES
        assert warm == usage.warm_bytes
        assert spilled == usage.spilled_objects

    @invariant()
    def views_stay(self) -> None:
        for view in self.kept.values():
            view.check()

    def teardown(self) -> None:
        self.kept.clear()
        for store in self.opened:
            store.close()
        shutil.rmtree(self.folder)


def test_views_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (free, segment):
        monkeypatch.setattr(module, "MAPPED_FROM_BYTES", MAPPED_FROM_BYTES)
    options = settings(max_examples=60, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(Machine, settings=options)
