"""Run the quickstart notebook as a newcomer would and show what came of it.

Executes `notebooks/quickstart.ipynb` on a fresh kernel, prints both times and the speed-up as the
notebook itself reports them, and saves it under `out/` as a notebook, a web page and its plot.
"""

from __future__ import annotations

import base64
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbconvert import HTMLExporter

from tools.execution import execute

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
OUT = ROOT / "out"
RESULT_CELL, PLOT_CELL = "compare", "plot"
BUSY_PERCENT = 15
"""Of all cores, before anything runs: from here on it shows in the speed-up."""


def main() -> int:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    print(
        f"running {NOTEBOOK.relative_to(ROOT)}, {len(notebook.cells)} cells, on a new kernel",
        flush=True,
    )
    busy_percent = psutil.cpu_percent(interval=0.5)
    started = time.perf_counter()
    execute(notebook, NOTEBOOK.parent, on_cell_start=print_heading)
    print(f"done in {time.perf_counter() - started:.0f} s; the notebook reports:\n")
    for line in stream_of(notebook, RESULT_CELL).splitlines():
        print(f"    {line}")
    if busy_percent > BUSY_PERCENT:
        print(f"\nother programs took {busy_percent:.0f} % of the cores before it began: on idle")
        print("cores the speed-up is higher.")
    print("\nsaved:")
    for path in save(notebook):
        print(f"    {path.relative_to(ROOT)}")
    print("\nto work in it yourself: make lab")
    return 0


def print_heading(cell: nbformat.NotebookNode, cell_index: int) -> None:
    """Say which section is being computed, as its heading goes by."""
    heading = re.match(r"## (.*)", cell.source)
    if cell.cell_type == "markdown" and heading:
        print(f"  · {heading[1]}", flush=True)


def stream_of(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    """What the named cell printed."""
    return "".join(output.text for output in outputs_of(notebook, cell_id) if "text" in output)


def outputs_of(notebook: nbformat.NotebookNode, cell_id: str) -> list[Any]:
    return next(cell.outputs for cell in notebook.cells if cell.id == cell_id)


def save(notebook: nbformat.NotebookNode) -> list[Path]:
    """Write the executed notebook, its web page and its plot; return where."""
    OUT.mkdir(exist_ok=True)
    paths = [OUT / "quickstart.html", OUT / "quickstart.ipynb", OUT / "quickstart.png"]
    page, _ = HTMLExporter().from_notebook_node(notebook)
    paths[0].write_text(page)
    nbformat.write(notebook, paths[1])
    plots = [
        output.data["image/png"]
        for output in outputs_of(notebook, PLOT_CELL)
        if "image/png" in output.get("data", {})
    ]
    paths[2].write_bytes(base64.b64decode(plots[-1]))
    return paths


if __name__ == "__main__":
    sys.exit(main())
