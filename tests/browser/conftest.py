"""One Chromium and one JupyterLab server for all browser tests; a fresh page for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, ConsoleMessage, sync_playwright

from tests.browser import own_notebooks
from tests.browser.lab import running_lab
from tests.browser.notebook_page import NotebookPage
from tools.browser import find_chromium

ROOT = Path(__file__).parents[2]
SWITCHES = [
    "--no-sandbox",  # containers run as root, where the sandbox refuses to start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine; `apt-get install chromium` brings one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address pattern of a JupyterLab with the gallery, outputs removed, and our own."""
    folder = tmp_path_factory.mktemp("gallery")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / path.name)
    own_notebooks.write_to(folder)
    with running_lab(folder, tmp_path_factory.mktemp("lab-home")) as pattern:
        yield pattern


@pytest.fixture
def open_notebook(chromium: Browser, lab: str) -> Iterator[Callable[[str], NotebookPage]]:
    """Opens a notebook; at the end, the browser must not have logged an error."""
    page = chromium.new_page(viewport={"width": 1280, "height": 960})
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_(name: str) -> NotebookPage:
        page.goto(lab.format(path=name))
        notebook = NotebookPage(page, ROOT / "out" / "screenshots")
        notebook.wait_for_kernel()
        return notebook

    yield open_
    page.close()
    assert complaints == []
