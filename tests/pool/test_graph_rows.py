"""Durable tasks in the journal on disk."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from parallax.core.journal import (
    DurableTask,
    DurableTemplate,
    Entry,
    Graph,
    GraphChanged,
    Journalled,
    Keep,
    Promise,
    Recall,
    Resume,
    TaskEnd,
)
from parallax.core.outbox import Journal as Order
from parallax.messages import Failure, Stored, TemplateDefined
from parallax.pool import kept_values
from parallax.pool.journal import Journal
from parallax.pool.paths import JOURNAL_FILE as FILE
from parallax.serial.values import Packed, pack, unpack

_tickets = itertools.count(1)
LARGE = Stored("large", 1 << 20, 1)
GONE = Stored("gone", 1 << 20, 1)
TEMPLATE = DurableTemplate(
    "c-1", TemplateDefined(1, "f", b"key", durable=True), [(b"key", b"code")], ["c-9"]
)


class FakeStore:
    """A store of one value, that takes others."""

    def __init__(self) -> None:
        self.written: dict[str, object] = {}

    def read_parts(self, name: str) -> tuple[memoryview, list[memoryview]]:
        if name != LARGE.name:
            raise KeyError(name)
        packed = pack(bytes(1 << 20))
        return memoryview(packed.data), packed.buffers

    def write(self, name: str, packed: Packed) -> int:
        self.written[name] = unpack(packed.data, packed.buffers)
        return packed.size_bytes


def task(key: str, *deps: str, returns: int = 1, large: str = "") -> DurableTask:
    return DurableTask(key, "c-1", returns, b"args", large, list(deps), -1, "job", "space")


def change(**what: Any) -> GraphChanged:
    lists = ("templates", "tasks", "values", "ends", "dropped", "idle")
    return GraphChanged(**{name: what.get(name, []) for name in lists}, afresh="afresh" in what)


def do(journal: Journal, *entries: Entry) -> list[Journalled]:
    done = journal.apply([Order(next(_tickets), entry) for entry in entries])
    assert all(one.failure is None for one in done)
    return done


def resumed(folder: Path, store: FakeStore | None = None) -> tuple[Graph, list[str]]:
    """What the next hub finds, and its notes."""
    journal = Journal(folder, store or FakeStore(), lasting=True)
    (done,) = do(journal, Resume())
    journal.close()
    return done.answer, journal.notes


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, FakeStore(), lasting=True)


def files(folder: Path) -> int:
    return len(list((folder / "values").iterdir()))


def test_what_has_not_ended_is_there_for_the_next_hub(journal: Journal, tmp_path: Path) -> None:
    failure = Failure("task", "no", b"data", 7)
    tasks = [task("c-20"), task("c-3", "c-20", "c-9", returns=2), task("c-5", "c-4", large="c-9")]
    values = [("c-9", LARGE), ("c-a", b"small"), ("c-b", failure)]
    do(journal, change(templates=[TEMPLATE], tasks=tasks, values=values))
    ended = [TaskEnd("c-20", [("c-20", LARGE)])]
    do(journal, change(ends=ended, dropped=["c-b"], tasks=[task("c-6")]))
    journal.close()
    store = FakeStore()
    graph, notes = resumed(tmp_path, store)
    assert graph.templates == [TEMPLATE]
    assert graph.tasks == [*tasks[1:], task("c-6")]
    found = dict(graph.values)
    assert found.pop("c-a") == b"small"
    assert found.keys() == {"c-9", "c-20"}
    for value in found.values():
        assert isinstance(value, Stored)
        assert store.written[value.name] == bytes(1 << 20)
    assert notes == []


def test_values_and_templates_leave_with_their_files(journal: Journal, tmp_path: Path) -> None:
    do(journal, change(templates=[TEMPLATE], tasks=[task("c-2", "c-9")], values=[("c-9", LARGE)]))
    assert files(tmp_path) == 1
    do(journal, change(ends=[TaskEnd("c-2", [])], dropped=["c-9", "unknown"], idle=["c-1"]))
    assert files(tmp_path) == 0
    journal.close()
    assert resumed(tmp_path)[0] == Graph([], [], [], [])


def test_promises_are_kept_while_their_tasks_are_there(journal: Journal, tmp_path: Path) -> None:
    do(
        journal,
        change(tasks=[task("c-2", returns=2), task("c-7")]),
        Promise("second", "job", "c-3"),
        Promise("ended", "job", "c-7"),
        Promise("plain", "job"),
    )
    do(journal, change(ends=[TaskEnd("c-7", [])]))
    journal.close()
    graph, _ = resumed(tmp_path)
    assert graph.promises == [Promise("second", "job", "c-3")]
    again = Journal(tmp_path, FakeStore(), lasting=True)
    (names,) = do(again, Recall(""))
    states = {row["name"]: row["state"] for row in names.answer}
    assert states == {"second": "pending", "ended": "lost", "plain": "lost"}
    again.close()


def test_a_value_that_left_the_store_is_reported_and_its_task_has_not_ended(
    journal: Journal, tmp_path: Path
) -> None:
    do(journal, change(tasks=[task("c-2"), task("c-3"), task("c-4", "c-2", "c-3")]))
    ends = [TaskEnd("c-2", [("c-2", GONE)]), TaskEnd("c-3", [("c-3", b"v")])]
    (done,) = do(journal, change(ends=ends, values=[("c-9", GONE)]))
    assert sorted(done.answer) == ["c-2", "c-9"]
    journal.close()
    graph, _ = resumed(tmp_path)
    assert [one.key for one in graph.tasks] == ["c-2", "c-4"]
    assert graph.values == [("c-3", b"v")]


def test_a_full_disk_changes_nothing_and_leaves_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(journal, change(tasks=[task("c-2")]))
    write = kept_values.write_all
    written: list[int] = []

    def second_is_full(fd: int, pieces: Any) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(fd)
        write(fd, pieces)

    monkeypatch.setattr(kept_values, "write_all", second_is_full)
    entry = change(ends=[TaskEnd("c-2", [])], values=[("c-8", LARGE), ("c-9", LARGE)])
    done = journal.apply([Order(1, entry), Order(2, Keep("a", "", b"v"))])
    assert done[0].failure is not None
    assert "No space left" in done[0].failure.message
    assert done[1].failure is None
    assert files(tmp_path) == 0
    journal.close()
    assert resumed(tmp_path)[0].tasks == [task("c-2")]


def test_what_is_told_afresh_takes_the_place_of_all_before(
    journal: Journal, tmp_path: Path
) -> None:
    do(journal, change(templates=[TEMPLATE], tasks=[task("c-2")], values=[("c-9", LARGE)]))
    do(journal, Keep("kept", "", b"v"))
    do(journal, change(tasks=[task("c-3")], values=[("c-8", LARGE)], afresh=True))
    assert files(tmp_path) == 1
    (kept,) = do(journal, Recall("kept"))
    assert kept.answer == {"value": b"v"}
    journal.close()
    graph, _ = resumed(tmp_path)
    assert (graph.templates, graph.tasks) == ([], [task("c-3")])
    assert [key for key, _ in graph.values] == ["c-8"]


def test_what_cannot_be_read_costs_nothing_else(journal: Journal, tmp_path: Path) -> None:
    do(journal, change(templates=[TEMPLATE], tasks=[task("c-2"), task("c-3")]))
    do(journal, change(values=[("c-9", LARGE), ("c-8", b"v")]))
    journal.close()
    (file,) = (tmp_path / "values").iterdir()
    file.unlink()
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE tasks SET task = x'00' WHERE key = 'c-2'")
    graph, notes = resumed(tmp_path)
    assert (graph.tasks, graph.values) == ([task("c-3")], [("c-8", b"v")])
    assert "c-2 of the journal's tasks cannot be read" in notes[0]
    assert "the value c-9 of a durable task was lost: FileNotFoundError" in notes[1]


def test_a_journal_of_the_version_before_is_used(journal: Journal, tmp_path: Path) -> None:
    do(journal, Keep("kept", "", b"v"), Promise("promised", "job"))
    journal.close()
    with sqlite3.connect(tmp_path / FILE) as database:
        for table in ("tasks", "templates", "graph_values"):
            database.execute(f"DROP TABLE {table}")
        database.execute("PRAGMA user_version = 1")
    again = Journal(tmp_path, FakeStore(), lasting=True)
    kept, graph = do(again, Recall("kept"), Resume())
    assert kept.answer == {"value": b"v"}
    assert graph.answer == Graph([], [], [], [])
    do(again, change(tasks=[task("c-2")]))
    again.close()
    assert resumed(tmp_path)[0].tasks == [task("c-2")]


def test_a_bug_leaves_no_transaction_half_done(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(journal, change(tasks=[task("c-2")]))
    wrong = change(ends=[TaskEnd("c-2", [])], templates=[None])
    with pytest.raises(AttributeError):
        do(journal, Keep("a", "", b"v"), wrong)
    do(journal, Keep("b", "", b"v"))
    journal.close()
    assert resumed(tmp_path)[0].tasks == [task("c-2")]


def test_nothing_is_dropped_when_a_value_was_lost(journal: Journal, tmp_path: Path) -> None:
    do(journal, change(templates=[TEMPLATE], tasks=[task("c-2", "c-9")], values=[("c-9", b"v")]))
    ends = [TaskEnd("c-2", [("c-2", GONE)])]
    do(journal, change(ends=ends, dropped=["c-9"], idle=["c-1"]))
    journal.close()
    graph, _ = resumed(tmp_path)
    assert (graph.templates, graph.tasks) == ([TEMPLATE], [task("c-2", "c-9")])
    assert graph.values == [("c-9", b"v")]
