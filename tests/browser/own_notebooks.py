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
    },
    "loop": {
        "define": "import time\n%load_ext parallax\n%parallel start -n 2",
        "stopped": "%%parallel for x in range(3_000)\ntime.sleep(0.05)\nx",
        "values": "%%parallel for x in range(30)\ntime.sleep(0.06)\nx / 7",
        "failed": "%%parallel for x in range(30)\n\n1 / (x - 17)",
        "kept": "%%parallel for x in range(5) --on-error keep\n1 / (x - 3)",
        "refused": "total = 0\n",
        "refused-cell": "%%parallel for x in range(30)\ntotal += x",
        "typo": "%%parallel for x in range(30) --itno ys\nx",
    },
}
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def write_to(folder: Path) -> None:
    """Write each as ``NAME.ipynb``; cells are found by their ids."""
    for name, cells in _CELLS.items():
        notebook = v4.new_notebook(metadata={"kernelspec": _KERNEL})
        notebook.cells = [v4.new_code_cell(source, id=id_) for id_, source in cells.items()]
        nbformat.write(notebook, folder / f"{name}.ipynb")
