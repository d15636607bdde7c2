"""Tracebacks from engines name this notebook's cells as IPython does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from parallax.serial.cell_names import name_cells
from parallax.serial.failures import dump_error, load_error


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    config = Config({"HistoryManager": {"enabled": False}})
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


def test_a_cell_is_called_by_its_number(shell: InteractiveShell) -> None:
    # Given an error from the second cell, as an engine packs it
    shell.run_cell("'the first cell'", store_history=True)
    shell.run_cell("def ratio(x):\n    return 1 / x", store_history=True)
    try:
        shell.user_ns["ratio"](0)
    except ZeroDivisionError as error:
        packed = dump_error(error, task_name="ratio")
    # When it arrives
    arrived = load_error(packed)
    # Then
    assert "  Cell In[2], line 2, in ratio\n    return 1 / x\n" in str(arrived)


def test_other_files_keep_their_names(shell: InteractiveShell) -> None:
    text = 'File "/home/ada/helpers.py", line 3 in area'
    assert name_cells(text) == text
