from __future__ import annotations

import pickle

import numpy as np

from parallax.errors import ParallaxError
from parallax.notebook.results import MAX_ROWS, Results, mark_failed, preview, summary


def test_results_are_a_list_and_pickle_as_one() -> None:
    values = Results([1, 2], ["x"], [(10,), (20,)])
    assert values == [1, 2]
    assert type(pickle.loads(pickle.dumps(values))) is list


def test_a_table_has_the_items_beside_their_values() -> None:
    shown = Results(["<b>", 2], ["x", "y"], [(10, "a"), (20, "b")])._repr_html_()
    assert "<th>x</th><th>y</th><th>value</th>" in shown
    assert "<td>0</td><td>10</td><td>&#x27;a&#x27;</td><td>&#x27;&lt;b&gt;&#x27;</td>" in shown


def test_a_long_list_is_cut_and_says_so() -> None:
    values = Results(range(1000), ["x"], [(i,) for i in range(MAX_ROWS)])
    assert values._repr_html_().count("<tr>") == MAX_ROWS + 1
    assert "and 980 more" in values._repr_html_()


def test_failures_stand_out_and_are_summed_up() -> None:
    first, second = ParallaxError("one\ntwo"), ParallaxError("three")
    mark_failed(first, 3, "x = 7")
    mark_failed(second, 5, "x = 9")
    assert first.__notes__ == ["item 3: x = 7"]
    assert "color:" in Results([first])._repr_html_()
    assert "color:" not in Results([ParallaxError("a value like any")])._repr_html_()
    assert summary([first, second], 1000) == (
        "2 of 1,000 items failed: 2 ParallaxError; the first was item 3: ParallaxError: one"
    )


def test_previews_are_one_short_line() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise OSError

    assert preview(np.zeros((3, 4))) == "ndarray 3x4 float64"
    assert preview("line\nline") == repr("line\nline")
    assert len(preview("x" * 1000)) <= 80
    assert len(preview([["x" * 100] * 100] * 100)) <= 80
    assert preview(Odd()).startswith("<Odd instance at")
    assert preview(np.float64(1.5)) in ("1.5", "np.float64(1.5)")
