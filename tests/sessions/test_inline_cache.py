"""Kept results where tasks run in this process, with what it has loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import parallax as px


@pytest.fixture(autouse=True)
def _session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PARALLAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("parallax.pool.cached_call._noted", set())
    monkeypatch.syspath_prepend(str(tmp_path))
    px.init("inline")
    yield
    px.shutdown()
    sys.modules.pop("inline_helpers", None)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A local module, as old as a file that was there before this process."""
    path = tmp_path / "inline_helpers.py"
    path.write_text("def h(x): return x + 1\n")
    os.utime(path, (1e9, 1e9))
    return path


@px.remote(cache=True)
def f(x: int) -> Any:
    import inline_helpers  # type: ignore[import-not-found]

    return inline_helpers.h(x)


def test_functions_of_local_modules_are_kept(module: Path) -> None:
    assert px.get(f.remote(1)) == 2
    assert px.get(f.remote(1)) == 2
    assert f.cache_info().hits == 1


def test_what_an_edited_module_returns_is_not_kept(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert px.get(f.remote(1)) == 2
    module.write_text("def h(x): return x + 1000\n")
    for _ in range(2):
        assert px.get(f.remote(1)) == 2  # as ever in an inline session: what is loaded runs
    assert f.cache_info().entries == 0
    said = capsys.readouterr().err
    assert said.count("inline session cannot tell which version of it runs") == 1


def test_globals_count_down_to_the_last_item() -> None:
    samples = list(range(1000))
    namespace: dict[str, Any] = {"samples": samples, "__name__": "__main__"}
    exec("def g(): return samples[-1]", namespace)
    g = px.remote(cache=True)(namespace["g"])
    assert px.get(g.remote()) == 999
    samples[-1] = -1
    assert px.get(g.remote()) == -1
