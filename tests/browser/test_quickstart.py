"""The quickstart as a newcomer meets it: in JupyterLab, by Run All."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.notebook_page import NotebookPage

OpenNotebook = Callable[[str], NotebookPage]


@pytest.mark.timeout(300)
def test_run_all_answers_the_question(open_notebook: OpenNotebook) -> None:
    # Given the notebook, just opened
    notebook = open_notebook("quickstart.ipynb")
    notebook.screenshot("quickstart-opened")

    # When it is run as a whole
    notebook.run_all(timeout_s=240)

    # Then no cell has failed but the one that shows what a failure looks like
    failed = [
        cell["id"]
        for cell in notebook.cells()
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]
    assert failed == ["error"]
    notebook.output_of("error")
    notebook.screenshot("quickstart-error")

    # And the plot is drawn
    image = notebook.output_of("plot").locator("img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.naturalWidth") > 500
    notebook.screenshot("quickstart-plot")

    # And both times are told
    expect(notebook.output_of("compare")).to_contain_text("speed-up")
    notebook.screenshot("quickstart-times")
