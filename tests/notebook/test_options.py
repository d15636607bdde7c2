from __future__ import annotations

import pytest

from parallax.errors import UsageError
from parallax.notebook.options import Option, help_of, name, parse, positive, whole

KNOWN = (
    Option(("--into",), "assign to", "NAME", name),
    Option(("--chunk", "-c"), "how many", "N", whole(1), default=7),
    Option(("--num-cpus",), "cores", "N", positive),
    Option(("--on-error",), "what then", "HOW", choices=("raise", "keep"), default="raise"),
    Option(("--quiet",), "say nothing", default=False),
)


def test_what_is_not_given_is_as_declared() -> None:
    options, words = parse("", KNOWN, "%%m")
    assert options == {
        "into": None,
        "chunk": 7,
        "num_cpus": None,
        "on_error": "raise",
        "quiet": False,
    }
    assert words == []


@pytest.mark.parametrize("text", ["--chunk 3 --quiet", "--chunk=3 --quiet", "-c 3 --quiet"])
def test_values_follow_or_are_joined(text: str) -> None:
    options, _ = parse(text, KNOWN, "%%m")
    assert (options.chunk, options.quiet) == (3, True)


def test_words_are_kept() -> None:
    assert parse("a --quiet 'b c'", KNOWN, "%%m")[1] == ["a", "b c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--itno ys", r"no option --itno\. Did you mean --into\?"),
        ("--xyzzy", r"no option --xyzzy\. %%m\? lists them"),
        ("--into", "--into needs a value: --into NAME"),
        ("--into 2x", "--into 2x: it must be a variable's name"),
        ("--into class", "a variable's name"),
        ("--chunk 0", "whole number of at least 1"),
        ("--chunk many", "whole number of at least 1"),
        ("--num-cpus -1", "a number above 0"),
        ("--num-cpus nan", "a number above 0"),
        ("--on-error kep", r"choose from raise, keep\. Did you mean 'keep'\?"),
        ("--quiet=yes", "--quiet takes no value"),
        ("--into 'ys", "no closing quotation"),
    ],
)
def test_mistakes_name_the_cure(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text, KNOWN, "%%m")


def test_help_has_a_line_for_each() -> None:
    lines = help_of(KNOWN).splitlines()
    assert [line.split()[0] for line in lines] == [
        "--into",
        "--chunk,",
        "--num-cpus",
        "--on-error",
        "--quiet",
    ]
    assert lines[1].split() == ["--chunk,", "-c", "N", "how", "many"]
