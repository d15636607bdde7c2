"""Notebooks that only these tests need. Not files, for nbval would run them from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import v4

_CELLS = {
    "stop": {
        "define": """\
import time

import parallax as px


@px.remote
def nap(seconds):
    print("asleep", flush=True)
    time.sleep(seconds)
    return "awake"
""",
        "wait": "px.get(nap.remote(600))",
        "next": "px.get(nap.remote(0)), px.jobs()",
    }
}
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def write_to(folder: Path) -> None:
    """Write each as ``NAME.ipynb``; cells are found by their ids."""
    for name, cells in _CELLS.items():
        notebook = v4.new_notebook(metadata={"kernelspec": _KERNEL})
        notebook.cells = [v4.new_code_cell(source, id=id_) for id_, source in cells.items()]
        nbformat.write(notebook, folder / f"{name}.ipynb")
