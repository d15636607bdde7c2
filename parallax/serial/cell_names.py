"""Call a notebook's cells by their numbers in tracebacks that come from engines.

A cell is a file to Python, named after a hash of its source, and so an engine calls it. Which cell
that is, only the notebook's own IPython knows.
"""

from __future__ import annotations

import re
import sys

_FILE = re.compile(r'File "([^"\n]+)", line')


def name_cells(text: str) -> str:
    """The text, with ``Cell In[5], line 2`` where it has the file of a cell of this process.

    Args:
        text: a traceback, of Python or of `faulthandler`; without IPython it stays as it is.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    label_of = getattr(getattr(shell, "compile", None), "format_code_name", None)
    if label_of is None:
        return text

    def named(found: re.Match[str]) -> str:
        label = label_of(found[1])
        return f"{' '.join(label)}, line" if label else found[0]

    return _FILE.sub(named, text)
