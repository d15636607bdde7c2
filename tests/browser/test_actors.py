"""The notebook about actors in JupyterLab, by Run All."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.notebook_page import NotebookPage

OpenNotebook = Callable[[str], NotebookPage]


@pytest.mark.timeout(300)
def test_run_all_trains_and_shows_the_board(open_notebook: OpenNotebook) -> None:
    # Given the notebook, just opened
    notebook = open_notebook("actors.ipynb")

    # When it is run as a whole
    notebook.run_all(timeout_s=240)

    # Then no cell has failed but those that show what a failure looks like
    failed = [
        cell["id"]
        for cell in notebook.cells()
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]
    assert failed == ["death", "restart", "edit-old", "end"]
    for cell_id in failed:
        notebook.output_of(cell_id)
        notebook.screenshot(f"actors-{cell_id}")

    # And the board, one table that was updated in place, has come to its end
    board = notebook.output_of("watch").locator("table")
    expect(board).to_have_count(1)
    expect(board).to_contain_text("schedule, weather, others")
    notebook.screenshot("actors-watch")

    # And the plot is drawn
    image = notebook.output_of("plot").locator("img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.naturalWidth") > 500
    notebook.screenshot("actors-plot")
