"""Tab completion of the magics' options and commands."""

from __future__ import annotations

from typing import Any

from parallax.notebook.commands import COMMAND_OPTIONS, COMMANDS
from parallax.notebook.magics import LOOP_OPTIONS


def complete_parallel(shell: Any, event: Any) -> list[str]:
    """What may stand where the cursor is; IPython filters by what is there already.

    Args:
        shell: asks; not needed.
        event: has the line and the word before the cursor.
    """
    line = str(event.line)
    if line.startswith("%%"):
        return _of_cell(line)
    words = line.split()
    if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
        return [f"{command} " for command in COMMANDS]
    options = COMMAND_OPTIONS.get(words[1], ())
    return [flag for option in options for flag in option.flags]


def _of_cell(line: str) -> list[str]:
    words = line.split()
    before = words[-1] if line.endswith(" ") else (words[-2] if len(words) > 1 else "")
    by_flag = {flag: option for option in LOOP_OPTIONS for flag in option.flags}
    if before in by_flag and by_flag[before].choices:
        return list(by_flag[before].choices)
    return [flag for flag in by_flag if flag not in words]
