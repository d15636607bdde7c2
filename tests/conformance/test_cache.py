"""``cache=True``: a result is computed once, and taken from disk ever after."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parallax as px
from parallax.errors import TaskCancelledError, UsageError
from tests.conformance.gates import Gate
from tests.conformance.tasks import same
from tests.serial.notebook import ROOT

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PARALLAX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Runs:
    """Counts, by lines in a file, how often functions have run, wherever that was."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def function(self, **options: Any) -> Any:
        """A cached function: it doubles."""
        path = str(self.path)

        @px.remote(cache=True, **options)
        def double(x: Any, y: Any = None) -> Any:
            with open(path, "a") as file:
                file.write("ran\n")
            return x * 2 if y is None else x * 2 + y

        return double

    @property
    def count(self) -> int:
        return self.path.read_text().count("ran") if self.path.exists() else 0


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


@px.remote
def nested() -> Any:
    """A value that travels, and is too deep to be compared."""
    value: list[Any] = []
    for _ in range(400):
        value = [value]
    return value


# ---- hits and misses ----------------------------------------------------------------------


def test_an_equal_call_is_not_run_again(runs: Runs) -> None:
    double = runs.function()
    assert px.get(double.remote(3)) == 6
    assert px.get(double.remote(3)) == 6
    assert px.get(double.remote(x=3)) == 6
    assert runs.count == 1
    assert px.get(double.remote(4)) == 8
    assert px.get(double.remote(3, y=1)) == 7
    assert runs.count == 3


def test_a_hit_has_the_value_and_not_the_object(runs: Runs) -> None:
    double = runs.function()
    first = px.get(double.remote([1]))
    first.append("changed")
    assert px.get(double.remote([1])) == [1, 1]


def test_another_function_object_of_the_same_code_hits(runs: Runs) -> None:
    px.get(runs.function().remote(3))
    assert px.get(runs.function().remote(3)) == 6
    assert px.get(runs.function(num_cpus=2, name="other").remote(3)) == 6
    assert runs.count == 1


def test_none_is_a_result_like_any_other() -> None:
    @px.remote(cache=True)
    def nothing() -> None:
        return None

    assert px.get(nothing.remote()) is None
    assert px.get(nothing.remote()) is None
    assert nothing.cache_info().hits == 1


def test_without_cache_a_function_runs_each_time(runs: Runs) -> None:
    double = runs.function().options(cache=False)
    px.get([double.remote(3), double.remote(3)])
    assert runs.count == 2


@pytest.mark.parametrize("items", [100, 200_000], ids=["small", "large"])
def test_arrays_count_by_content_and_come_back_read_only(runs: Runs, items: int) -> None:
    double = runs.function()
    array = np.arange(items)
    expected = array * 2
    assert (px.get(double.remote(array)) == expected).all()
    gc.collect()
    again = px.get(double.remote(array.copy()))
    assert (again == expected).all()
    assert not again.flags.writeable
    assert runs.count == 1
    array[-1] += 1
    assert px.get(double.remote(array))[-1] == 2 * array[-1]
    assert runs.count == 2


def test_large_lists_come_back(runs: Runs) -> None:
    double = runs.function()
    for _ in range(2):
        assert px.get(double.remote(["x" * 100] * 2000)) == ["x" * 100] * 4000
        gc.collect()
    assert runs.count == 1


def test_several_returns() -> None:
    @px.remote(cache=True, num_returns=2)
    def pair(x: int) -> tuple[int, Any]:
        return x, np.arange(x)

    for _ in range(2):
        one, other = pair.remote(20_000)
        assert px.get(one) == 20_000
        assert px.get(other).sum() == sum(range(20_000))
        del one, other
        gc.collect()
    assert pair.cache_info().hits == 1
    assert px.get(pair.options(num_returns=1).remote(3))[0] == 3


def test_map_runs_what_is_missing(runs: Runs) -> None:
    double = runs.function()
    px.get(double.map([1, 2]))
    assert px.get(double.map([1, 2, 3])) == [2, 4, 6]
    assert runs.count == 3


def test_a_task_calls_cached_functions(runs: Runs, folder: Path) -> None:
    double = runs.function()

    @px.remote
    def outer(folder: str) -> Any:
        # Pools that start in this environment have it already.
        os.environ["PARALLAX_CACHE_DIR"] = folder
        return px.get(double.remote(5))

    assert px.get(outer.remote(str(folder))) == 10
    assert px.get(double.remote(5)) == 10
    assert runs.count == 1


# ---- references ---------------------------------------------------------------------------


def test_a_reference_counts_by_its_value(runs: Runs) -> None:
    double = runs.function()
    assert px.get(double.remote(px.put([1, 2]))) == [1, 2, 1, 2]
    assert px.get(double.remote(same.remote([1, 2]))) == [1, 2, 1, 2]
    assert px.get(double.remote(x=px.put([1, 2]))) == [1, 2, 1, 2]
    assert px.get(double.remote([1, 2])) == [1, 2, 1, 2]
    assert runs.count == 1
    assert px.get(double.remote(px.put([3]))) == [3, 3]
    assert px.get(double.remote(px.put(3), y=px.put(4))) == 10
    assert runs.count == 3
    assert double.is_cached(px.put([3]))


def test_references_are_told_apart_by_their_names() -> None:
    @px.remote(cache=True)
    def minus(x: int, y: int) -> int:
        return x - y

    one, ten = px.put(1), px.put(10)
    refs = [minus.remote(x=one, y=ten), minus.remote(y=one, x=ten), minus.remote(one, ten)]
    assert px.get(refs) == [-9, 9, -9]


def test_a_failed_argument_fails_its_dependents(runs: Runs) -> None:
    double = runs.function()

    @px.remote
    def broken() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        px.get(double.remote(broken.remote()))
    assert runs.count == 0


def test_references_inside_of_arguments_are_refused(runs: Runs) -> None:
    with pytest.raises(UsageError, match="argument 'x' of double holds a reference"):
        runs.function().remote([px.put(1)])


def test_results_that_hold_references_are_not_kept(runs: Runs) -> None:
    @px.remote(cache=True)
    def put(x: int) -> Any:
        return [px.put(x)]

    (ref,) = px.get(put.remote(1))
    assert px.get(ref) == 1
    assert not put.is_cached(1)


# ---- what counts --------------------------------------------------------------------------


def make(body: str, **names: Any) -> Any:
    """A notebook's function, written anew."""
    namespace = {"__name__": "__main__", **names}
    exec(f"def f(x):\n    return {body}", namespace)
    return px.remote(cache=True)(namespace["f"])


def test_changed_code_and_globals_run_anew() -> None:
    assert px.get(make("x + 1").remote(1)) == 2
    assert px.get(make("x + 2").remote(1)) == 3
    assert px.get(make("x + N", N=10).remote(1)) == 11
    f = make("x + N", N=20)
    assert px.get(f.remote(1)) == 21
    f.function.__globals__["N"] = 30
    assert px.get(f.remote(1)) == 31
    assert make("x + N", N=10).is_cached(1)


def test_a_key_is_of_the_version_that_runs() -> None:
    # Longer than what is noticed when it is changed in place.
    samples = list(range(1000))
    f = make("x + samples[0]", samples=samples)
    px.get(f.options(cache=False).remote(0))
    samples[0] = 5
    found = px.get(f.remote(0))
    samples[0] = 9
    assert px.get(f.options(name="other").remote(0)) in (found, 9)
    assert px.get(make("x + samples[0]", samples=list(samples)).remote(0)) == 9
    samples[0] = 5
    assert px.get(make("x + samples[0]", samples=list(samples)).remote(0)) == 5


def test_errors_are_not_kept(tmp_path: Path) -> None:
    flag = str(tmp_path / "flag")

    @px.remote(cache=True)
    def unsteady() -> int:
        if not os.path.exists(flag):
            raise ValueError("not yet")
        return 1

    with pytest.raises(ValueError, match="not yet"):
        px.get(unsteady.remote())
    Path(flag).touch()
    assert px.get(unsteady.remote()) == 1
    assert px.get(unsteady.remote()) == 1
    assert unsteady.cache_info().entries == 1


def test_arguments_without_content_are_named(runs: Runs) -> None:
    why = "^argument 'x' of double cannot be part of a cache's key: TypeError: cannot pickle"
    with pytest.raises(UsageError, match=why):
        runs.function().remote(threading.Lock())
    with pytest.raises(UsageError, match="argument 'y' of double cannot be part of a cache's key"):
        px.get(runs.function().remote(1, y=nested.remote()))
    assert runs.count == 0


def test_a_wrong_call_is_wrong_all_the_same(runs: Runs) -> None:
    double = runs.function()
    with pytest.raises(TypeError, match="cannot be called"):
        double.remote(1, 2, 3)
    with pytest.raises(TypeError, match="cannot be called"):
        double.is_cached(1, 2, 3)


# ---- asking and clearing ------------------------------------------------------------------


def test_what_there_is_to_know(runs: Runs, folder: Path) -> None:
    double = runs.function()
    assert not double.is_cached(1)
    info = double.cache_info()
    assert (info.hits, info.misses, info.entries, info.bytes) == (0, 0, 0, 0)
    px.get([double.remote(1), double.remote(2)])
    px.get(double.remote(1))
    assert double.is_cached(1)
    assert double.is_cached(x=1)
    assert not double.is_cached(3)
    info = double.cache_info()
    assert (info.hits, info.misses, info.entries) == (1, 2, 2)
    assert info.bytes == 8192
    assert info.limit > 0
    assert info.path == str(folder)


def test_cleared_results_are_computed_anew(runs: Runs) -> None:
    double = runs.function()
    ref = double.remote(1)
    px.get(ref)
    double.cache_clear()
    assert not double.is_cached(1)
    assert double.cache_info().misses == 0
    assert px.get(double.remote(1)) == 2
    assert runs.count == 2


def test_a_damaged_entry_is_computed_anew(runs: Runs, folder: Path) -> None:
    double = runs.function()
    px.get(double.remote(1))
    (entry,) = (p for p in folder.rglob("*") if p.is_file() and p.name != "tally")
    entry.write_bytes(entry.read_bytes()[:-1])
    px.shutdown()
    restart()
    assert px.get(double.remote(1)) == 2
    assert runs.count == 2
    assert px.get(double.remote(1)) == 2
    assert runs.count == 2


def restart() -> None:
    """Go on in a new session of the same kind."""
    px.init(_address, num_cpus=2, resources={"crane": 2})


_address: str | None = None


@pytest.fixture(autouse=True)
def _remember(session: str) -> None:
    global _address
    _address = "inline" if session == "inline" else None


def test_a_new_session_finds_what_was_kept(runs: Runs) -> None:
    double = runs.function()
    array = np.arange(100_000)
    px.get([double.remote(1), double.remote(array)])
    px.shutdown()
    restart()
    assert px.get(double.remote(1)) == 2
    assert px.get(double.remote(px.put(array)))[-1] == 2 * array[-1]
    assert runs.count == 2


def test_the_limit_drives_out_what_was_used_least(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLAX_CACHE_LIMIT", str(40 * 4096))
    double = runs.function()
    px.get([double.remote(i) for i in range(100)])
    assert 0 < double.cache_info().entries <= 50


# ---- what does not go ---------------------------------------------------------------------


def test_what_cannot_be_cached_is_refused_where_it_is_defined() -> None:
    def items() -> Any:
        yield 1

    with pytest.raises(UsageError, match="items streams its results"):
        px.remote(cache=True)(items)
    with pytest.raises(UsageError, match="items streams its results"):
        px.remote(items).options(cache=True)
    with pytest.raises(UsageError, match="streams its results"):
        px.remote(cache=True, num_returns="streaming")(len)
    with pytest.raises(UsageError, match="num_returns=0"):
        px.remote(cache=True, num_returns=0)(len)
    with pytest.raises(UsageError, match="cache='yes' must be True or False"):
        px.remote(cache="yes")
    with pytest.raises(UsageError, match="'cache' is no option of methods"):
        px.method(cache=True)
    with pytest.raises(UsageError, match="'cache' is no option of actors"):

        @px.remote(cache=True)
        class Actor:
            pass


def test_a_function_that_is_not_cached_says_so() -> None:
    for ask in (same.cache_info, same.cache_clear, lambda: same.is_cached(1)):
        with pytest.raises(UsageError, match="same is not cached: make it with @remote"):
            ask()


def test_a_folder_of_another_user_is_refused(
    runs: Runs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tasks-1").mkdir(parents=True)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(UsageError, match="belongs to user"):
        runs.function().remote(1)


def test_a_result_that_cannot_be_kept_arrives_and_is_noted_once(
    tmp_path: Path, session: str
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    script = tmp_path / "script.py"
    script.write_text(
        "import parallax as px\n"
        "if __name__ == '__main__':\n"
        f"    px.init({_address!r}, num_cpus=2)\n"
        "    @px.remote(cache=True)\n"
        "    def f(x): return x + 1\n"
        "    print(px.get([f.remote(i) for i in range(20)]))\n"
        "    px.shutdown()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert str(list(range(1, 21))) in done.stdout
    said = done.stdout + done.stderr
    assert said.count("results of f are not kept in the cache") == 1


# ---- at the same time ---------------------------------------------------------------------


@pytest.mark.needs("concurrency")
def test_equal_calls_in_flight_share_one_run(gate: Gate) -> None:
    @px.remote(cache=True)
    def stop(x: int) -> int:
        gate.pass_through()
        return x

    first, second = stop.remote(1), stop.remote(1)
    gate.wait_for(1)
    by_ref = same.remote(5)
    third, fourth = stop.remote(by_ref), stop.remote(by_ref)
    gate.wait_for(2)
    gate.open()
    assert px.get([first, second, third, fourth]) == [1, 1, 5, 5]
    del first
    gc.collect()
    assert px.get(second) == 1
    assert gate.count() == 2


@pytest.mark.needs("concurrency")
def test_a_call_after_a_cancelled_one_runs(gate: Gate) -> None:
    @px.remote(cache=True)
    def stop() -> int:
        gate.pass_through()
        return 1

    first = stop.remote()
    gate.wait_for(1)
    px.cancel(first)
    gate.open()
    second = stop.remote()
    assert px.get(second) == 1
    with pytest.raises(TaskCancelledError):
        px.get(first)


@pytest.mark.needs("processes")
def test_an_edited_module_runs_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "cache_helpers.py").write_text("def h(x): return x + 1\n")

    @px.remote(cache=True)
    def f(x: int) -> Any:
        import cache_helpers  # type: ignore[import-not-found]

        return cache_helpers.h(x)

    assert px.get(f.remote(1)) == 2
    assert f.is_cached(1)
    (tmp_path / "cache_helpers.py").write_text("def h(x): return x + 1000\n")
    assert px.get(f.remote(1)) == 1001


def test_seeds_do_not_depend_on_what_is_kept() -> None:
    def draw() -> tuple[list[float], int]:
        px.shutdown()
        px.init(_address, num_cpus=2, seed=7)

        @px.remote(cache=True)
        def kept(x: int) -> int:
            return x

        @px.remote
        def number() -> float:
            import random

            return random.random()

        refs = [number.remote(), kept.remote(1), number.remote()]
        found = px.get([refs[0], refs[2]])
        px.get(refs[1])
        return found, kept.cache_info().hits

    try:
        before, after = draw(), draw()
        assert (before[1], after[1]) == (0, 1)
        assert before[0] == after[0]
    finally:
        px.shutdown()
        restart()
