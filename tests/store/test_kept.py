"""Results on disk: whole or not there, whatever happens to the files and whoever else writes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.errors import UsageError
from parallax.serial.values import Packed, pack, unpack
from parallax.store.kept import KeptResults, TooLargeError
from parallax.store.kept_place import cache_folder, cache_limit
from tests.serial.notebook import ROOT

F, G = b"f" * 16, b"g" * 16
LIMIT = 1 << 20


def call(number: int) -> bytes:
    return number.to_bytes(16, "little")


@pytest.fixture
def kept(tmp_path: Path) -> KeptResults:
    return KeptResults(tmp_path / "cache", LIMIT)


def value(size: int, fill: bytes = b"x") -> list[Packed]:
    return [Packed(b"stream", [memoryview(fill * size)])]


def entry(kept: KeptResults) -> Path:
    (path,) = [p for p in kept.folder.rglob("*") if p.is_file() and p.name != "tally"]
    return path


# ---- what is kept -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.binary(), st.lists(st.binary(max_size=200), max_size=3)), max_size=3))
def test_values_come_back_as_they_were(parts: list[tuple[bytes, list[bytes]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptResults(Path(folder), LIMIT)
        kept.keep(F, call(1), [Packed(data, [*map(memoryview, more)]) for data, more in parts])
        found = kept.read(F, call(1))
        assert found is not None
        assert [(v.data, [bytes(b) for b in v.buffers]) for v in found] == parts


@pytest.mark.parametrize("items", [10, 1_000_000])
def test_arrays_are_views_that_nobody_can_change(kept: KeptResults, items: int) -> None:
    import numpy as np

    kept = KeptResults(kept.folder, 1 << 30)
    array = np.arange(items)
    kept.keep(F, call(1), [pack(array, inline_limit=0)])
    (packed,) = kept.read(F, call(1)) or []
    back = unpack(packed.data, packed.buffers)
    assert (back == array).all()
    assert not back.flags.writeable
    assert back.ctypes.data % 16 == 0


def test_nothing_is_found_where_nothing_was_kept(kept: KeptResults) -> None:
    assert kept.read(F, call(1)) is None
    assert not kept.has(F, call(1))
    assert kept.usage(F) == (0, 0)
    assert kept.lookups(F) == (0, 0)
    kept.clear(F)
    assert not kept.folder.exists()


def test_functions_are_apart(kept: KeptResults) -> None:
    kept.keep(F, call(1), value(10))
    kept.keep(G, call(1), value(10_000))
    assert kept.usage(F) == (1, 4096)
    assert kept.usage(G) == (1, 12288)
    kept.clear(G)
    assert not kept.has(G, call(1))
    assert kept.has(F, call(1))


def test_lookups_are_counted(kept: KeptResults) -> None:
    for found in (True, False, True):
        kept.count(F, found=found)
    assert KeptResults(kept.folder, LIMIT).lookups(F) == (2, 1)
    kept.clear(F)
    assert kept.lookups(F) == (0, 0)


# ---- damage -------------------------------------------------------------------------------


def whole_entry() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptResults(Path(folder), LIMIT)
        kept.keep(F, call(1), value(70))
        return entry(kept).read_bytes()


WHOLE = whole_entry()


def read_damaged(damaged: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptResults(Path(folder), LIMIT)
        kept.keep(F, call(1), value(70))
        path = entry(kept)
        path.write_bytes(damaged)
        found = kept.read(F, call(1))
        assert path.exists() == (found is not None)
        return found


def test_the_whole_entry_is_read() -> None:
    assert read_damaged(WHOLE) is not None


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_damage_at_any_byte_is_noticed_and_removed(position: int, flip: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[position] ^= flip
    assert read_damaged(bytes(damaged)) is None


@given(st.integers(0, len(WHOLE) - 1))
def test_an_entry_cut_short_anywhere_is_removed(length: int) -> None:
    assert read_damaged(WHOLE[:length]) is None


@given(st.binary(min_size=1, max_size=100))
def test_an_entry_that_has_grown_is_removed(more: bytes) -> None:
    assert read_damaged(WHOLE + more) is None


def test_another_calls_entry_under_this_name_is_removed(kept: KeptResults) -> None:
    kept.keep(F, call(1), value(10))
    path = entry(kept)
    path.rename(path.with_name(call(2).hex()))
    assert kept.read(F, call(2)) is None
    assert not kept.has(F, call(2))


# ---- others -------------------------------------------------------------------------------


def test_only_this_user_may_enter(kept: KeptResults) -> None:
    before = os.umask(0)
    try:
        kept.keep(F, call(1), value(10))
    finally:
        os.umask(before)
    assert (kept.folder / "tasks-1").stat().st_mode & 0o777 == 0o700
    assert entry(kept).stat().st_mode & 0o777 == 0o600


def test_a_folder_that_was_open_to_others_is_closed(kept: KeptResults) -> None:
    tree = kept.folder / "tasks-1"
    tree.mkdir(parents=True)
    tree.chmod(0o777)
    kept.keep(F, call(1), value(10))
    assert tree.stat().st_mode & 0o777 == 0o700


def test_another_users_folder_is_refused(
    kept: KeptResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep(F, call(1), value(10))
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(UsageError, match=f"belongs to user {me} .*PARALLAX_CACHE_DIR"):
        KeptResults(kept.folder, LIMIT)


def test_another_users_entry_is_not_read(
    kept: KeptResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep(F, call(1), value(10))
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        fields = list(real(fd))
        fields[4] += 1  # st_uid
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", fstat)
    assert kept.read(F, call(1)) is None
    monkeypatch.undo()
    assert kept.read(F, call(1)) is not None


def test_a_link_is_not_followed(kept: KeptResults, tmp_path: Path) -> None:
    kept.keep(F, call(1), value(10))
    path = entry(kept)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert kept.read(F, call(1)) is None


WRITER = """
import sys
from pathlib import Path
from parallax.serial.values import Packed
from parallax.store.kept import KeptResults
kept = KeptResults(Path(sys.argv[1]), 200_000)
found = 0
for turn in range(150):
    number = turn % 12
    call = number.to_bytes(16, "little")
    content = bytes([number]) * 9_000
    values = kept.read(b"f" * 16, call)
    kept.count(b"f" * 16, found=values is not None)
    if values is None:
        kept.keep(b"f" * 16, call, [Packed(b"s", [memoryview(content)])])
    else:
        assert bytes(values[0].buffers[0]) == content
        found += 1
    if turn % 50 == 49:
        kept.clear(b"f" * 16)
print(found)
"""


def test_many_processes_write_read_and_clear_the_same_entries(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITER, str(tmp_path)],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for writer in writers:
        out, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
        assert int(out) > 0
    assert not list(tmp_path.rglob("*.tmp"))


# ---- room ---------------------------------------------------------------------------------


def test_the_least_recently_used_entries_go(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path, 100 * 4096)
    for number in range(90):
        kept.keep(F, call(number), value(10))
        os.utime(kept._path(F, call(number)), ns=(0, number * 10**9))
    assert kept.read(F, call(3)) is not None  # used now
    for number in range(90, 110):
        kept.keep(F, call(number), value(10))
    entries, size = kept.usage(F)
    assert entries < 110
    assert size <= 105 * 4096
    assert kept.has(F, call(3))
    assert not kept.has(F, call(0))
    assert kept.has(F, call(109))


def test_what_a_killed_writer_left_is_removed(kept: KeptResults) -> None:
    kept.keep(F, call(1), value(10))
    left = entry(kept).with_name("0.1-1.tmp")
    fresh = left.with_name("0.1-2.tmp")
    left.write_bytes(b"half")
    fresh.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    assert KeptResults(kept.folder, LIMIT).usage(F)[0] == 1
    KeptResults(kept.folder, LIMIT).keep(F, call(2), value(10))  # looks around first
    assert not left.exists()
    assert fresh.exists()


def test_an_entry_that_would_drive_out_all_others_is_refused(kept: KeptResults) -> None:
    with pytest.raises(TooLargeError, match=r"0\.6 MiB, and the cache may take 1\.0 MiB"):
        kept.keep(F, call(1), value(600_000))
    assert kept.usage(F) == (0, 0)


def test_a_full_disk_leaves_nothing_behind(
    kept: KeptResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, pieces: Any) -> None:
        os.write(fd, b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("parallax.store.kept.write_all", full)
    with pytest.raises(OSError, match="No space left"):
        kept.keep(F, call(1), value(10))
    assert not [path for path in kept.folder.rglob("*") if path.is_file()]
    assert kept.read(F, call(1)) is None


# ---- where --------------------------------------------------------------------------------


def test_the_folder_and_the_limit_follow_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PARALLAX_CACHE_DIR", "PARALLAX_CACHE_LIMIT", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "parallax"
    assert 0 < cache_limit(cache_folder()) <= 10 << 30
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "parallax"
    monkeypatch.setenv("PARALLAX_CACHE_DIR", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("PARALLAX_CACHE_LIMIT", "2e9")
    assert cache_limit(cache_folder()) == 2_000_000_000
    for wrong in ("much", "-1", "inf"):
        monkeypatch.setenv("PARALLAX_CACHE_LIMIT", wrong)
        with pytest.raises(UsageError, match=r"PARALLAX_CACHE_LIMIT='.*' must be a number"):
            cache_limit(cache_folder())
