from __future__ import annotations

import pytest

from parallax.notebook.progress import Snapshot


@pytest.mark.parametrize(
    ("snapshot", "text"),
    [
        (Snapshot("f", 0, 0, 10, 0.0), f"f  [{'.' * 24}]  0 of 10 items"),
        (
            Snapshot("f", 5, 1, 10, 20.0),
            f"f  [{'#' * 12}{'.' * 12}]  5 of 10 items, 1 failed, 0.2/s, 20.0 s left",
        ),
        (Snapshot("f", 4000, 0, None, 2.0), f"f  [{'.' * 24}]  4,000 items, 2,000/s"),
        (
            Snapshot("f", 10, 0, 10, 100.0, "done"),
            f"f  [{'#' * 24}]  10 of 10 items, 0.1/s, done in 1 min 40 s",
        ),
        (
            Snapshot("f", 1, 0, 4, 0.5, "stopped"),
            f"f  [{'#' * 6}{'.' * 18}]  1 of 4 items, 2.0/s, stopped after 500 ms",
        ),
        (Snapshot("f", 0, 0, 0, 1.0, "done"), f"f  [{'#' * 24}]  0 of 0 items, done in 1.0 s"),
    ],
)
def test_a_snapshot_says_how_far_it_is(snapshot: Snapshot, text: str) -> None:
    assert repr(snapshot) == text


def test_html_shows_the_same_and_escapes_the_label() -> None:
    shown = Snapshot("for x in a<b>", 1, 0, 4, 0.5)._repr_html_()
    assert "for x in a&lt;b&gt;" in shown
    assert "width:25.0%" in shown
    assert "1 of 4 items, 2.0/s, 1.5 s left" in shown
