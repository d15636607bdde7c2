"""Which job a submission belongs to: a named one, the running cell, or the script."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from array import array
from collections.abc import Callable
from typing import Any

named_job: contextvars.ContextVar[tuple[str, int]] = contextvars.ContextVar(
    "parallax_job", default=("", 0)
)
"""The job that `with parallax.job(...)` made, and its cluster."""
MAX_JOBS = 1000
"""Jobs of which it is known what belongs to them: the newest."""


class JobChooser:
    """The current job of one session.

    In a notebook each run of a cell is a job, opened at its first submission.

    Args:
        cluster: of the session.
        open_job: makes a job from a name, a cell id and its source.
    """

    def __init__(self, cluster: str, open_job: Callable[[str, str, str], int]) -> None:
        self._cluster = cluster
        self._open = open_job
        self._script = 0
        self._cell = (-1, 0)
        self._lock = threading.Lock()

    def current(self) -> int:
        """The id of the job of a submission made here and now."""
        cluster, job = named_job.get()
        if job and cluster == self._cluster:
            return job
        shell = _shell()
        if shell is not None:
            return self._cell_job(shell)
        if not self._script:
            with self._lock:
                if not self._script:
                    self._script = self._open(_script_name(), "", "")
        return self._script

    def _cell_job(self, shell: Any) -> int:
        # It differs from run to run. It is not the cell's number: while a cell runs, newer
        # IPythons have counted it already, older ones have not. All have noted its source last.
        count = shell.execution_count
        if self._cell[0] == count:
            return self._cell[1]
        with self._lock:
            if self._cell[0] != count:
                sources = shell.history_manager.input_hist_parsed
                name = f"cell [{len(sources) - 1}]"
                self._cell = (count, self._open(name, _cell_id(shell), sources[-1]))
        return self._cell[1]


class Submissions:
    """The objects that this process has asked for, by job, in the order of submission.

    Kept as runs of consecutive ids, so that a million tasks cost next to nothing, and 16 bytes each
    if something else gets an id between any two of them. Thread-safe.
    """

    def __init__(self) -> None:
        self._runs: dict[int, array[int]] = {}
        """The first id of each run and the one after its last, in turns."""
        self._last = (0, array("Q", [0]))
        """The job of the latest one, and its runs."""
        self._renamed: dict[int, int] = {}
        self._lock = threading.Lock()

    def add(self, job: int, first: int, count: int) -> None:
        """So many objects from this one on. Costs 0.3 µs."""
        with self._lock:
            last_job, runs = self._last
            if job != last_job:
                runs = self._of(job)
                self._last = (job, runs)
            if runs and runs[-1] == first:
                runs[-1] = first + count
            else:
                runs.append(first)
                runs.append(first + count)

    def _of(self, job: int) -> array[int]:
        runs = self._runs.get(job)
        if runs is None:
            runs = self._runs[job] = array("Q")
            if len(self._runs) > MAX_JOBS:
                del self._runs[next(iter(self._runs))]
        return runs

    def rename(self, old: int, new: int) -> None:
        """The task behind an object was submitted anew, under another id."""
        self._renamed[old] = new

    def of(self, job: int) -> list[int]:
        """The objects of one job."""
        with self._lock:
            runs = self._runs.get(job, array("Q"))[:]
        pairs = zip(runs[::2], runs[1::2], strict=True)
        return [self.now(i) for first, end in pairs for i in range(first, end)]

    def now(self, object_id: int) -> int:
        """What became of an object that was renamed, perhaps several times."""
        while object_id in self._renamed:
            object_id = self._renamed[object_id]
        return object_id


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _cell_id(shell: Any) -> str:
    """The id of the cell that runs, as the frontend calls it."""
    get_parent = getattr(shell, "get_parent", None)
    if get_parent is None:
        return ""
    parent = get_parent() or {}
    metadata = parent.get("metadata") or {}
    return str(metadata.get("cellId") or parent.get("header", {}).get("msg_id", ""))


def _script_name() -> str:
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "interactive"
