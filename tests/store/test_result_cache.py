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
from parallax.store.cache_place import cache_folder, cache_limit
from parallax.store.result_cache import ResultCache, TooLargeError
from tests.serial.notebook import ROOT

F, G = b"f" * 16, b"g" * 16
LIMIT = 1 << 20


def call(number: int) -> bytes:
    return number.to_bytes(16, "little")


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    return ResultCache(tmp_path / "cache", LIMIT)


def value(size: int, fill: bytes = b"x") -> list[Packed]:
    return [Packed(b"stream", [memoryview(fill * size)])]


def entry(cache: ResultCache) -> Path:
    (path,) = [p for p in cache.folder.rglob("*") if p.is_file() and p.name != "tally"]
    return path


# ---- what is kept -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.binary(), st.lists(st.binary(max_size=200), max_size=3)), max_size=3))
def test_values_come_back_as_they_were(parts: list[tuple[bytes, list[bytes]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = ResultCache(Path(folder), LIMIT)
        cache.keep(F, call(1), [Packed(data, [*map(memoryview, more)]) for data, more in parts])
        found = cache.read(F, call(1))
        assert found is not None
        assert [(v.data, [bytes(b) for b in v.buffers]) for v in found] == parts


@pytest.mark.parametrize("items", [10, 1_000_000])
def test_arrays_are_views_that_nobody_can_change(cache: ResultCache, items: int) -> None:
    import numpy as np

    cache = ResultCache(cache.folder, 1 << 30)
    array = np.arange(items)
    cache.keep(F, call(1), [pack(array, inline_limit=0)])
    (packed,) = cache.read(F, call(1)) or []
    back = unpack(packed.data, packed.buffers)
    assert (back == array).all()
    assert not back.flags.writeable
    assert back.ctypes.data % 16 == 0


def test_nothing_is_found_where_nothing_was_kept(cache: ResultCache) -> None:
    assert cache.read(F, call(1)) is None
    assert not cache.has(F, call(1))
    assert cache.usage(F) == (0, 0)
    assert cache.lookups(F) == (0, 0)
    cache.clear(F)
    assert not cache.folder.exists()


def test_functions_are_apart(cache: ResultCache) -> None:
    cache.keep(F, call(1), value(10))
    cache.keep(G, call(1), value(10_000))
    assert cache.usage(F) == (1, 4096)
    assert cache.usage(G) == (1, 12288)
    cache.clear(G)
    assert not cache.has(G, call(1))
    assert cache.has(F, call(1))


def test_lookups_are_counted(cache: ResultCache) -> None:
    for found in (True, False, True):
        cache.count(F, found=found)
    assert ResultCache(cache.folder, LIMIT).lookups(F) == (2, 1)
    cache.clear(F)
    assert cache.lookups(F) == (0, 0)


# ---- damage -------------------------------------------------------------------------------


def whole_entry() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        cache = ResultCache(Path(folder), LIMIT)
        cache.keep(F, call(1), value(70))
        return entry(cache).read_bytes()


WHOLE = whole_entry()


def read_damaged(damaged: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        cache = ResultCache(Path(folder), LIMIT)
        cache.keep(F, call(1), value(70))
        path = entry(cache)
        path.write_bytes(damaged)
        found = cache.read(F, call(1))
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


def test_another_calls_entry_under_this_name_is_removed(cache: ResultCache) -> None:
    cache.keep(F, call(1), value(10))
    path = entry(cache)
    path.rename(path.with_name(call(2).hex()))
    assert cache.read(F, call(2)) is None
    assert not cache.has(F, call(2))


# ---- others -------------------------------------------------------------------------------


def test_only_this_user_may_enter(cache: ResultCache) -> None:
    before = os.umask(0)
    try:
        cache.keep(F, call(1), value(10))
    finally:
        os.umask(before)
    assert (cache.folder / "tasks-1").stat().st_mode & 0o777 == 0o700
    assert entry(cache).stat().st_mode & 0o777 == 0o600


def test_a_folder_that_was_open_to_others_is_closed(cache: ResultCache) -> None:
    tree = cache.folder / "tasks-1"
    tree.mkdir(parents=True)
    tree.chmod(0o777)
    cache.keep(F, call(1), value(10))
    assert tree.stat().st_mode & 0o777 == 0o700


def test_another_users_folder_is_refused(
    cache: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.keep(F, call(1), value(10))
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(UsageError, match=f"belongs to user {me} .*PARALLAX_CACHE_DIR"):
        ResultCache(cache.folder, LIMIT)


def test_another_users_entry_is_not_read(
    cache: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.keep(F, call(1), value(10))
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        fields = list(real(fd))
        fields[4] += 1  # st_uid
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", fstat)
    assert cache.read(F, call(1)) is None
    monkeypatch.undo()
    assert cache.read(F, call(1)) is not None


def test_a_link_is_not_followed(cache: ResultCache, tmp_path: Path) -> None:
    cache.keep(F, call(1), value(10))
    path = entry(cache)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.read(F, call(1)) is None


WRITER = """
import sys
from pathlib import Path
from parallax.serial.values import Packed
from parallax.store.result_cache import ResultCache
cache = ResultCache(Path(sys.argv[1]), 200_000)
found = 0
for turn in range(150):
    number = turn % 12
    call = number.to_bytes(16, "little")
    content = bytes([number]) * 9_000
    values = cache.read(b"f" * 16, call)
    cache.count(b"f" * 16, found=values is not None)
    if values is None:
        cache.keep(b"f" * 16, call, [Packed(b"s", [memoryview(content)])])
    else:
        assert bytes(values[0].buffers[0]) == content
        found += 1
    if turn % 50 == 49:
        cache.clear(b"f" * 16)
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
    cache = ResultCache(tmp_path, 100 * 4096)
    for number in range(90):
        cache.keep(F, call(number), value(10))
        os.utime(cache._path(F, call(number)), ns=(0, number * 10**9))
    assert cache.read(F, call(3)) is not None  # used now
    for number in range(90, 110):
        cache.keep(F, call(number), value(10))
    entries, size = cache.usage(F)
    assert entries < 110
    assert size <= 105 * 4096
    assert cache.has(F, call(3))
    assert not cache.has(F, call(0))
    assert cache.has(F, call(109))


def test_what_a_killed_writer_left_is_removed(cache: ResultCache) -> None:
    cache.keep(F, call(1), value(10))
    left = entry(cache).with_name("0.1-1.tmp")
    fresh = left.with_name("0.1-2.tmp")
    left.write_bytes(b"half")
    fresh.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    assert ResultCache(cache.folder, LIMIT).usage(F)[0] == 1
    ResultCache(cache.folder, LIMIT).keep(F, call(2), value(10))  # looks around first
    assert not left.exists()
    assert fresh.exists()


def test_an_entry_that_would_drive_out_all_others_is_refused(cache: ResultCache) -> None:
    with pytest.raises(TooLargeError, match=r"0\.6 MiB, and the cache may take 1\.0 MiB"):
        cache.keep(F, call(1), value(600_000))
    assert cache.usage(F) == (0, 0)


def test_a_full_disk_leaves_nothing_behind(
    cache: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, pieces: Any) -> None:
        os.write(fd, b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("parallax.store.result_cache.write_all", full)
    with pytest.raises(OSError, match="No space left"):
        cache.keep(F, call(1), value(10))
    assert not [path for path in cache.folder.rglob("*") if path.is_file()]
    assert cache.read(F, call(1)) is None


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
