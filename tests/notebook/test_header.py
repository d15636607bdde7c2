from __future__ import annotations

import pytest

from parallax.notebook.header import split_header


@pytest.mark.parametrize(
    ("line", "clauses", "options"),
    [
        ("for x in xs", "for x in xs", ""),
        ("for x in xs --into ys", "for x in xs", "--into ys"),
        ("for x in xs   --into=ys --quiet ", "for x in xs", "--into=ys --quiet"),
        ("for x in f('--into', \"--b\") --into ys", "for x in f('--into', \"--b\")", "--into ys"),
        ("for x in (a --b) --into ys", "for x in (a --b)", "--into ys"),
        ("for x in xs if x - -1", "for x in xs if x - -1", ""),
        ("for x in xs if x -y", "for x in xs if x -y", ""),
        ("for x in [i--1 for i in xs] --quiet", "for x in [i--1 for i in xs]", "--quiet"),
        ("for x in '''a --b''' --quiet", "for x in '''a --b'''", "--quiet"),
        (r"for x in 'it\'s --b' --quiet", r"for x in 'it\'s --b'", "--quiet"),
        ("for x in 'never --closed", "for x in 'never --closed", ""),
        ("--quiet", "", "--quiet"),
        ("", "", ""),
    ],
)
def test_clauses_and_options_are_told_apart(line: str, clauses: str, options: str) -> None:
    assert split_header(line) == (clauses, options)
