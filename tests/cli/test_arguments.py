"""Arguments and what is written, without any pool."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

import parallax
from parallax.cli.arguments import bytes_of, resource, variable
from parallax.cli.output import duration, size

Here = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512m", 512 << 20),
        ("1.5G", 3 << 29),
        ("4 GiB", 4 << 30),
        ("2tb", 2 << 40),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert bytes_of(text) == expected


@pytest.mark.parametrize("text", ["", "g", "-1g", "1e9", "1x", "4 gigs"])
def test_what_is_no_size_says_how_to_write_one(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="512m or 4g"):
        bytes_of(text)


def test_pairs() -> None:
    assert variable("PATH=/a=b") == ("PATH", "/a=b")
    assert variable("EMPTY=") == ("EMPTY", "")
    assert resource("licence=0.5") == ("licence", 0.5)
    for wrong in ("licence", "=1"):
        with pytest.raises(argparse.ArgumentTypeError, match="NAME=VALUE"):
            resource(wrong)
    with pytest.raises(argparse.ArgumentTypeError, match="no number"):
        resource("licence=many")


def test_sizes_and_times_as_people_read_them() -> None:
    assert [size(n) for n in (0, 1023, 1024, 3 << 29, 5 << 50)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.5 GiB", "5120.0 TiB")
    ]
    assert [duration(s) for s in (-1, 0.9, 119, 120, 7200, 172800)] == [
        *("0 s", "0 s", "119 s", "2 min", "2 h", "2 d")
    ]


def test_version_and_help(here: Here) -> None:
    assert here("--version") == (0, f"parallax {parallax.__version__}\n", "")
    code, out, _ = here("--help")
    assert code == 0
    assert all(f"\n    {name}" in out for name in ("start", "status", "stop", "logs", "timeline"))


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("strat",),
        ("start",),
        ("start", "--name", "n", "-n", "two"),
        ("start", "--name", "a b"),
        ("logs", "--lines", "-1"),
    ],
)
def test_wrong_calls_exit_with_2(here: Here, wrong: tuple[str, ...]) -> None:
    code, out, err = here(*wrong)
    assert (code, out) == (2, "")
    assert err


def test_without_a_command_it_says_what_there_is(here: Here) -> None:
    code, out, err = here()
    assert (code, out) == (2, "")
    assert "write a trace of what ran" in err
