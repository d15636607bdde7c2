"""The journal on disk: what it survives, and what it says of damage."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parallax.core.journal import (
    Enlist,
    Entry,
    Forget,
    Journalled,
    Keep,
    Muster,
    Promise,
    Recall,
    Recipe,
    Strike,
)
from parallax.core.outbox import Journal as Order
from parallax.messages import Failure, Stored, TemplateDefined
from parallax.pool import kept_values
from parallax.pool.journal import Journal
from parallax.pool.kept_values import read_kept
from parallax.pool.paths import JOURNAL_FILE as FILE
from parallax.serial.values import Packed, pack, unpack

_tickets = itertools.count(1)
LARGE = Stored("large", 1 << 20, 1)


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


def journal_in(folder: Path, store: FakeStore | None = None) -> Journal:
    return Journal(folder, store or FakeStore(), lasting=True)


def do(journal: Journal, *entries: Entry) -> list[Journalled]:
    return journal.apply([Order(next(_tickets), entry) for entry in entries])


def recall(journal: Journal, name: str) -> Any:
    (done,) = do(journal, Recall(name))
    return done.failure or done.answer


def test_what_was_kept_is_there_for_the_next_hub(tmp_path: Path) -> None:
    first = journal_in(tmp_path / "j")
    failure = Failure("task", "ValueError: no", b"data", 7)
    done = do(
        first,
        Keep("a", "job", b"v"),
        Keep("b", "", LARGE),
        Keep("c", "", failure),
        Promise("d", ""),
    )
    assert [one.failure for one in done] == [None] * 4
    assert recall(first, "") != []
    first.close()
    second = journal_in(tmp_path / "j")
    assert recall(second, "a") == {"value": b"v"}
    assert read_kept(recall(second, "b")["file"]) == bytes(1 << 20)
    assert recall(second, "c") == failure
    assert "the pool ended before that" in recall(second, "d").message
    rows = {row["name"]: row for row in recall(second, "")}
    assert list(rows) == ["a", "b", "c", "d"]
    assert [row["state"] for row in rows.values()] == ["kept", "kept", "failed", "lost"]
    assert (rows["a"]["job"], rows["a"]["size_bytes"]) == ("job", 1)
    second.close()


def test_large_values_are_files_that_go_with_their_names(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    do(journal, Keep("a", "", LARGE), Keep("b", "", LARGE), Keep("c", "", LARGE))
    assert len(list((tmp_path / "values").iterdir())) == 3
    assert (tmp_path / FILE).stat().st_size < 1 << 20
    do(journal, Forget("a"), Keep("b", "", b"small"))
    (file,) = (tmp_path / "values").iterdir()
    assert recall(journal, "c") == {"file": str(file)}
    journal.close()


def test_questions_make_no_folder(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "j")
    assert recall(journal, "") == []
    assert "Nothing is kept here" in recall(journal, "x").message
    (done,) = do(journal, Forget("x"))
    assert done.failure is not None
    assert not (tmp_path / "j").exists()


def test_an_unknown_name_is_told_what_is_near(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    do(journal, Keep("forest", "", b"v"))
    assert "Did you mean 'forest'?" in recall(journal, "forrest").message
    assert "parallax.recall() lists" in recall(journal, "xyz").message
    journal.close()


def test_one_journal_is_one_hubs(tmp_path: Path) -> None:
    first, second = journal_in(tmp_path), journal_in(tmp_path)
    do(first, Keep("a", "", b"v"))
    (done,) = do(second, Keep("a", "", b"other"))
    assert done.failure is not None
    assert done.failure.kind == "journal"
    assert "in use by another pool" in done.failure.message
    assert recall(first, "a") == {"value": b"v"}
    first.close()
    assert recall(second, "a") == {"value": b"v"}
    second.close()


def test_a_write_that_was_not_acknowledged_leaves_nothing(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    do(first, Keep("a", "", LARGE))
    first.close()
    half = tmp_path / "values" / "half-written"
    half.write_bytes(b"PLX")
    second = journal_in(tmp_path)
    assert read_kept(recall(second, "a")["file"]) == bytes(1 << 20)
    assert not half.exists()
    second.close()


def test_a_journal_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("PRAGMA user_version = 99")
    before = (tmp_path / FILE).read_bytes()
    journal = journal_in(tmp_path)
    for entry in (Keep("a", "", b"v"), Recall("a"), Recall("")):
        (done,) = do(journal, entry)
        assert done.failure is not None
        assert "is of version 99, and this parallax reads version 2" in done.failure.message
    assert (tmp_path / FILE).read_bytes() == before
    journal.close()


def test_of_a_damaged_journal_what_can_be_read_is_there(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    do(first, *(Keep(f"n{i}", "", bytes([i]) * 3000) for i in range(100)), Keep("f", "", LARGE))
    first.close()
    data = bytearray((tmp_path / FILE).read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 8192] = b"\xff" * 8192
    (tmp_path / FILE).write_bytes(data)
    second = journal_in(tmp_path)
    rows = recall(second, "")
    assert 50 < len(rows) < 101
    for row in rows:
        if row["name"] != "f":
            number = int(row["name"][1:])
            assert recall(second, row["name"]) == {"value": bytes([number]) * 3000}
    assert "could be read" in second.notes[0]
    assert (tmp_path / "damaged-1" / FILE).read_bytes() == data
    do(second, Keep("new", "", b"v"))
    second.close()
    third = journal_in(tmp_path)
    assert len(recall(third, "")) == len(rows) + 1
    assert third.notes == []
    third.close()


@pytest.mark.parametrize(
    "rubbish", [b"no database at all" * 500, b"SQLite format 3\0" + b"\1" * 9000]
)
def test_rubbish_in_place_of_a_journal_is_put_aside_with_the_values(
    tmp_path: Path, rubbish: bytes
) -> None:
    first = journal_in(tmp_path)
    do(first, Keep("a", "", LARGE))
    (file,) = (tmp_path / "values").iterdir()
    first.close()
    (tmp_path / FILE).write_bytes(rubbish)
    second = journal_in(tmp_path)
    assert recall(second, "") == []
    assert {path.name for path in (tmp_path / "damaged-1").iterdir()} >= {FILE, file.name}
    do(second, Keep("b", "", b"v"))
    assert recall(second, "b") == {"value": b"v"}
    second.close()


@pytest.mark.parametrize("cut", [True, False])
def test_a_value_whose_file_is_damaged_is_lost_alone(tmp_path: Path, cut: bool) -> None:
    journal = journal_in(tmp_path)
    do(journal, Keep("a", "", LARGE), Keep("b", "", b"v"))
    (file,) = (tmp_path / "values").iterdir()
    file.write_bytes(b"PLX") if cut else file.unlink()
    lost = recall(journal, "a")
    assert lost.kind == "object_lost"
    assert ("has 3 bytes" if cut else "is gone") in lost.message
    assert recall(journal, "b") == {"value": b"v"}
    journal.close()


def test_a_value_that_left_the_store_is_reported_as_lost(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    done = do(journal, Keep("a", "", Stored("gone", 1, 1)), Keep("b", "", b"v"))
    assert [one.lost for one in done] == [True, False]
    assert recall(journal, "b") == {"value": b"v"}
    journal.close()


def test_a_full_disk_costs_one_value_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_in(tmp_path)
    do(journal, Keep("a", "", b"old"))

    def full(fd: int, pieces: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_values, "write_all", full)
    done = do(journal, Keep("a", "", LARGE), Keep("b", "", b"v"))
    assert done[0].failure is not None
    assert "No space left" in done[0].failure.message
    assert done[1].failure is None
    assert recall(journal, "a") == {"value": b"old"}
    assert list((tmp_path / "values").iterdir()) == []
    journal.close()


def test_a_folder_that_cannot_be_made_is_an_error_for_whoever_keeps(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = journal_in(tmp_path / "file" / "j")
    (done,) = do(journal, Keep("a", "", b"v"))
    assert done.failure is not None
    assert "NotADirectoryError" in done.failure.message


def test_failures_come_back_as_they_were(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    failure = Failure("task", "ümlaut", bytes(range(256)), 5)
    do(journal, Keep("a", "", failure))
    assert msgspec.structs.astuple(recall(journal, "a")) == msgspec.structs.astuple(failure)
    journal.close()


def recipe(name: str, args: bytes | Stored = b"args", **fields: Any) -> Recipe:
    """An actor's, of large values and small ones."""
    template = TemplateDefined(7, "Model", b"key", captured=[5])
    values: dict[str, Any] = {"deps": [b"dep", LARGE], "captured": [LARGE], **fields}
    return Recipe(
        name, "space", template, [(b"key", b"code")], args, values["deps"], values["captured"],
        -1, True, False, b"info",
    )  # fmt: skip


def muster(journal: Journal) -> list[Recipe]:
    (done,) = do(journal, Muster())
    assert done.failure is None
    found: list[Recipe] = done.answer
    return found


def test_recipes_come_back_with_their_values_in_the_new_store(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    do(first, Enlist(recipe("a", LARGE)), Enlist(recipe("b")), Enlist(recipe("c")))
    do(first, Strike("space", "c"), Strike("space", "nobody"))
    assert len(list((tmp_path / "values").iterdir())) == 5
    first.close()
    store = FakeStore()
    second = journal_in(tmp_path, store)
    found = muster(second)
    assert [one.name for one in found] == ["a", "b"]
    assert found[1].args == b"args"
    assert found[0].template == recipe("a").template
    for value in (found[0].args, *found[0].deps[1:], *found[0].captured):
        assert isinstance(value, Stored)
        assert store.written[value.name] == bytes(1 << 20)
    assert len(store.written) == 5
    assert second.notes == []
    second.close()


def test_a_newer_recipe_of_the_same_name_replaces_the_older(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    do(journal, Enlist(recipe("a", LARGE)), Keep("a", "", b"a result of that name"))
    do(journal, Enlist(recipe("a", b"new", deps=[], captured=[])))
    (found,) = muster(journal)
    assert (found.args, found.deps) == (b"new", [])
    assert list((tmp_path / "values").iterdir()) == []
    assert recall(journal, "a") == {"value": b"a result of that name"}
    journal.close()


def test_a_recipe_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    do(first, Enlist(recipe("gone", LARGE, deps=[], captured=[])))
    (file,) = (tmp_path / "values").iterdir()
    do(first, Enlist(recipe("bad", deps=[], captured=[])), Enlist(recipe("good")))
    first.close()
    file.unlink()
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE actors SET recipe = x'00' WHERE name = 'bad'")
    second = journal_in(tmp_path)
    assert [one.name for one in muster(second)] == ["good"]
    assert "'gone' is not started anew: FileNotFoundError" in second.notes[0]
    assert "'bad' is not started anew" in second.notes[1]
    second.close()


def test_a_recipe_whose_value_left_the_store_is_reported_as_lost(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    (done,) = do(journal, Enlist(recipe("a", deps=[Stored("gone", 1, 1)])))
    assert done.lost
    assert muster(journal) == []
    journal.close()
