"""A notebook in miniature: cells that run in one `__main__`, with sources in `linecache` alone."""

from __future__ import annotations

import hashlib
import linecache
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


class Notebook:
    """Cells run in one namespace that calls itself `__main__`, as a kernel's does."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}

    def run(self, cell: str) -> None:
        """Run a cell; functions in it are found by value, and their lines by `linecache`."""
        cell = textwrap.dedent(cell)
        digest = hashlib.sha1(cell.encode(), usedforsecurity=False).hexdigest()[:8]
        filename = f"/tmp/ipykernel_1/{digest}.py"
        linecache.cache[filename] = (len(cell), None, cell.splitlines(True), filename)
        exec(compile(cell, filename, "exec"), self.names)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


def run_python(code: str, *, cwd: Path, path: str = "") -> str:
    """Run a script in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={"PYTHONPATH": f"{ROOT}:{path}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
