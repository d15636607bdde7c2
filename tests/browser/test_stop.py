"""The stop button of JupyterLab, while a cell waits for its task."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.notebook_page import NotebookPage

OpenNotebook = Callable[[str], NotebookPage]


@pytest.mark.timeout(120)
def test_it_stops_the_cell_and_the_next_one_works(open_notebook: OpenNotebook) -> None:
    # Given a cell that waits for a task of ten minutes, which has begun
    notebook = open_notebook("stop.ipynb")
    notebook.start("define")
    notebook.wait_for("define", timeout_s=30)
    notebook.start("wait")
    expect(notebook.output_of("wait")).to_contain_text("asleep", timeout=30_000)

    # When the stop button is pressed
    notebook.stop()
    notebook.wait_for("wait", timeout_s=30)

    # Then the cell shows the line that waited, and nothing of ours
    (error,) = [
        output
        for cell in notebook.cells()
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]
    assert error["ename"] == "KeyboardInterrupt"
    text = "\n".join(error["traceback"])
    assert "px.get" in text
    assert "verbs.py" not in text
    notebook.screenshot("stop-stopped")

    # And the task is cancelled, and the next cell works, by the numbers that the notebook shows
    notebook.start("next")
    notebook.wait_for("next", timeout_s=30)
    output = notebook.output_of("next")
    expect(output).to_contain_text("awake")
    expect(output).to_contain_text("'cell [2]' cancelled")
    notebook.screenshot("stop-next")
