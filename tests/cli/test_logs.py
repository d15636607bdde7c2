"""`parallax logs`: what the pool's processes wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import parallax
from tests.cli.conftest import Command

pytestmark = pytest.mark.process

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def engine(steady_pool: parallax.Pool) -> Iterator[int]:
    """The number of an engine whose C code has printed three lines."""

    @parallax.remote
    def print_from_c() -> int:
        os.write(1, b"first\nsecond\nthird\n")
        return parallax.get_runtime_context().engine_id

    with parallax.init("steady"):
        yield parallax.get(print_from_c.remote())


def test_last_lines_say_who_wrote_them(engine: int, here: Here) -> None:
    code, out, err = here("logs", "--lines", "2")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if not line.startswith("hub")]
    assert lines == [f"engine {engine}  | second", f"engine {engine}  | third"]


def test_one_engine_for_programs(engine: int, here: Here) -> None:
    code, out, _ = here("logs", "steady", "--engine", str(engine), "--lines", "1", "--json")
    assert code == 0
    assert json.loads(out) == {"source": f"engine {engine}", "line": "third"}


def test_unknown_engine_names_those_there_are(engine: int, here: Here) -> None:
    code, _, err = here("logs", "--engine", "99")
    assert code == 2
    assert f"There are: engine {engine}." in err


def test_reader_that_leaves_early_is_no_failure(engine: int, command: Command) -> None:
    # When what reads the pipe has gone before anything was written
    read, write = os.pipe()
    os.close(read)
    left = subprocess.run(
        [sys.executable, "-m", "parallax", "logs"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(write)
    # Then
    assert (left.returncode, left.stderr) == (0, "")


def test_following_ends_with_the_pool(pool: parallax.Pool) -> None:
    # Given a reader that follows a pool, and has caught up
    with parallax.init("nightly"):
        parallax.get(parallax.remote(os.write).remote(1, b"before\n"))
    follow = [sys.executable, "-m", "parallax", "logs", "nightly", "--follow"]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert "before" in reader.stdout.readline()
        # When more is written, and then the pool ends
        with parallax.init("nightly"):
            parallax.get(parallax.remote(os.write).remote(1, b"after\n"))
        assert "after" in reader.stdout.readline()
        pool.stop()
        # Then the reader has ended too
        assert reader.wait(30) == 0
