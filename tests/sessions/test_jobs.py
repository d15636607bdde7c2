"""Which job a submission belongs to, in a real IPython."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from parallax.sessions.jobs import JobChooser


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    config = Config({"HistoryManager": {"enabled": False}})
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


def test_each_run_of_a_cell_is_a_job_with_its_number_and_source(shell: InteractiveShell) -> None:
    # Given
    opened: list[tuple[str, str]] = []

    def open_job(name: str, cell: str, source: str) -> int:
        opened.append((name, source))
        return len(opened)

    shell.user_ns["submit"] = JobChooser("cluster", open_job).current

    # When two cells run, the second twice, and each submits twice
    cells = ["first = submit(), submit()", "second = submit(), submit()"]
    for cell in [*cells, cells[1]]:
        shell.run_cell(cell, store_history=True).raise_error()

    # Then
    assert opened == [("cell [1]", cells[0]), ("cell [2]", cells[1]), ("cell [3]", cells[1])]
    assert shell.user_ns["first"] == (1, 1)
    assert shell.user_ns["second"] == (3, 3)
