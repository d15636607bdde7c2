"""Cells of `%%parallel` in JupyterLab: progress, the stop button, values, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.notebook_page import NotebookPage

OpenNotebook = Callable[[str], NotebookPage]


@pytest.mark.timeout(200)
def test_a_loop_shows_progress_stops_and_shows_its_values(open_notebook: OpenNotebook) -> None:
    # Given a loop that takes a minute and a half
    notebook = open_notebook("loop.ipynb")
    notebook.start("define")
    notebook.wait_for("define", timeout_s=60)
    notebook.start("stopped")

    # Then a bar moves under it
    output = notebook.output_of("stopped")
    expect(output).to_contain_text("of 3,000 items", timeout=30_000)
    first = output.inner_text()
    expect(output).not_to_have_text(first, timeout=30_000)
    notebook.screenshot("loop-runs")

    # When the stop button is pressed, then it says how far it was, and nothing of ours
    notebook.stop()
    notebook.wait_for("stopped", timeout_s=30)
    expect(output).to_contain_text("stopped after")
    expect(output).to_contain_text("KeyboardInterrupt")
    expect(output).not_to_contain_text("run_cell_magic")
    notebook.screenshot("loop-stopped")

    # And the next one works, and shows values beside their items
    notebook.start("values")
    notebook.wait_for("values", timeout_s=30)
    output = notebook.output_of("values")
    expect(output).to_contain_text("30 of 30 items")
    expect(output.locator("table tbody tr")).to_have_count(20)
    expect(output).to_contain_text("and 10 more")
    notebook.screenshot("loop-values")


@pytest.mark.timeout(200)
def test_errors_of_a_loop_show_the_line_and_the_item(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook("loop.ipynb")
    cells = ("define", "failed", "kept", "refused", "refused-cell", "typo")
    for cell in cells:
        notebook.start(cell)
        notebook.wait_for(cell, timeout_s=60)
    expect(notebook.output_of("failed")).to_contain_text("line 3, in body")
    expect(notebook.output_of("failed")).to_contain_text("item 17: x = 17")
    notebook.screenshot("loop-failed")
    expect(notebook.output_of("kept")).to_contain_text("1 of 5 items failed")
    notebook.screenshot("loop-kept")
    expect(notebook.output_of("refused-cell")).to_contain_text("each item has a copy of total")
    expect(notebook.output_of("typo")).to_contain_text("Did you mean --into?")
    notebook.screenshot("loop-refused")
