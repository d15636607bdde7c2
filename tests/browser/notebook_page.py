"""What a person does with a notebook in JupyterLab: open it, wait for its kernel, Run All, look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

# The toolbar says "idle" before a session exists, and a Run All clicked then is dropped: ask the
# session itself.
KERNEL_READY = """() => {
  const session = window.jupyterapp?.shell?.currentWidget?.sessionContext;
  const kernel = session?.session?.kernel;
  return session?.isReady && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
KERNEL_INFO = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.info"
CELLS = (
    """() => [...jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.toJSON())"""
)
ALL_RUN = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const code = [...panel.content.model.cells].filter(cell => cell.type === 'code');
  return panel.sessionContext.session.kernel.status === 'idle'
    && code.every(cell => cell.executionCount !== null);
}"""
START_CELL = """index => {
  const content = jupyterapp.shell.currentWidget.content;
  content.deselectAll();
  content.activeCellIndex = index;
  void jupyterapp.commands.execute('notebook:run-cell');
}"""
CELL_ENDED = """index => {
  const panel = jupyterapp.shell.currentWidget;
  return panel.sessionContext.session.kernel.status === 'idle'
    && typeof panel.content.widgets[index].model.executionCount === 'number';
}"""
STOP_BUTTON = '[data-command="notebook:interrupt-kernel"]'
SCROLL = "index => jupyterapp.shell.currentWidget.content.scrollToItem(index, 'center')"


@dataclass(frozen=True)
class NotebookPage:
    """An open notebook in the browser. One thread only, as Playwright's sync API is."""

    page: Page
    screenshots: Path

    def wait_for_kernel(self, timeout_s: float = 60) -> None:
        self.page.wait_for_function(KERNEL_READY, timeout=timeout_s * 1000)
        self.page.evaluate(KERNEL_INFO)

    def run_all(self, timeout_s: float) -> None:
        """Run > Run All Cells; return when every code cell has run, errors or not."""
        self.page.locator(".lm-MenuBar-item", has_text="Run").first.click()
        self.page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
        self.page.wait_for_function(ALL_RUN, timeout=timeout_s * 1000)

    def start(self, cell_id: str) -> None:
        """Run one cell, and do not wait for it."""
        self.page.evaluate(START_CELL, self._index(cell_id))

    def wait_for(self, cell_id: str, timeout_s: float) -> None:
        """Return when a cell has run, error or not."""
        self.page.wait_for_function(CELL_ENDED, arg=self._index(cell_id), timeout=timeout_s * 1000)

    def stop(self) -> None:
        """Press the button that interrupts the kernel."""
        self.page.locator(STOP_BUTTON).first.click()

    def cells(self) -> list[dict[str, Any]]:
        """The notebook's cells as they would be saved, outputs included."""
        cells: list[dict[str, Any]] = self.page.evaluate(CELLS)
        return cells

    def output_of(self, cell_id: str) -> Locator:
        """What is drawn below a cell, scrolled into view."""
        index = self._index(cell_id)
        self.page.evaluate(SCROLL, index)
        cell = self.page.locator(f'.jp-Cell[data-windowed-list-index="{index}"]')
        output = cell.locator(".jp-Cell-outputWrapper .jp-OutputArea-output").last
        output.scroll_into_view_if_needed()
        return cell.locator(".jp-Cell-outputWrapper")

    def _index(self, cell_id: str) -> int:
        return [cell["id"] for cell in self.cells()].index(cell_id)

    def screenshot(self, name: str) -> None:
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.screenshots / f"{name}.png")
