"""Run the notebooks of the gallery and store what their cells put out, without machine paths."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat

from tools.execution import execute

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "notebooks"


def main() -> int:
    for path in sorted(GALLERY.glob("*.ipynb")):
        print(f"running {path.relative_to(ROOT)}", flush=True)
        notebook = nbformat.read(path, as_version=4)
        execute(notebook, GALLERY)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    output.evalue = without_paths(output.evalue)
                    output.traceback = [without_paths(line) for line in output.traceback]
        nbformat.write(notebook, path)
    return 0


def without_paths(text: str) -> str:
    """The text with paths as seen from the repository."""
    return text.replace(f"{ROOT}/", "")


if __name__ == "__main__":
    sys.exit(main())
