"""Run a notebook from top to bottom on a kernel of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

CELL_TIMEOUT_S = 300


def execute(
    notebook: nbformat.NotebookNode,
    folder: Path,
    on_cell_start: Callable[[nbformat.NotebookNode, int], None] | None = None,
) -> None:
    """Run all cells in place, with `folder` as the working directory. Blocks.

    Raises:
        CellExecutionError: a cell failed that is not tagged `raises-exception`.
    """
    with tempfile.TemporaryDirectory() as sockets:
        # ipc: no port, and nothing to encrypt. Its sockets lie beside the connection file.
        kernel = AsyncKernelManager(transport="ipc", connection_file=f"{sockets}/kernel.json")
        NotebookClient(
            notebook,
            km=kernel,
            timeout=CELL_TIMEOUT_S,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
            on_cell_start=on_cell_start,
        ).execute(cleanup_kc=True)
