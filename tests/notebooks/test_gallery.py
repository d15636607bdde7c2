"""What the gallery's notebooks hold as files. Their cells run under nbval, from `make test`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def cells(request: pytest.FixtureRequest) -> list[Any]:
    notebook = nbformat.read(request.param, as_version=4)
    nbformat.validate(notebook)
    return list(notebook.cells)


@pytest.mark.parametrize("name", ["actors.ipynb", "parallel.ipynb", "quickstart.ipynb"])
def test_the_gallery_is_whole_and_can_be_found(name: str) -> None:
    assert name in [path.name for path in NOTEBOOKS]
    assert f"notebooks/{name}" in (ROOT / "README.md").read_text()


def test_stored_outputs_come_from_one_run_top_to_bottom(cells: list[Any]) -> None:
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_only_cells_that_announce_an_error_have_one(cells: list[Any]) -> None:
    for cell in cells:
        kinds = [output.output_type for output in cell.get("outputs", [])]
        announced = "raises-exception" in cell.metadata.get("tags", [])
        assert ("error" in kinds) == announced, cell.source


def test_outputs_say_nothing_about_the_machine(cells: list[Any]) -> None:
    for cell in cells:
        stored = str(cell.get("outputs", ""))
        for place in (str(ROOT), str(Path.home()), "site-packages", "/tmp/"):
            assert place not in stored, cell.source


def test_outputs_hold_no_warning(cells: list[Any]) -> None:
    for cell in cells:
        streams = [output.get("name") for output in cell.get("outputs", [])]
        assert "stderr" not in streams, cell.source
