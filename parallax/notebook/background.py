"""A loop that runs while the notebook goes on."""

from __future__ import annotations

import contextvars
import threading

from parallax.errors import GetTimeoutError, TaskCancelledError
from parallax.notebook.loop_run import LoopRun
from parallax.notebook.results import Results


class BackgroundLoop:
    """A handle of a loop that was started with ``--no-wait``.

    What its tasks print appears under the cell that has started it. Thread-safe.
    """

    def __init__(self, run: LoopRun) -> None:
        self._run = run
        self._values: Results | None = None
        self._error: BaseException | None = None
        # The context says which cell output belongs to.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._work,), name="parallax-loop", daemon=True
        )
        self._thread.start()

    @property
    def state(self) -> str:
        """``running``, then ``done``, ``failed`` or ``cancelled``."""
        if self._thread.is_alive():
            return "running"
        if self._error is None:
            return "done"
        cancelled = isinstance(self._error, TaskCancelledError)
        return "cancelled" if cancelled else "failed"

    def results(self, timeout: float | None = None) -> Results:
        """The values, in order; waits for them.

        Args:
            timeout: seconds to wait at most.

        Raises:
            TaskError: an item raised, and errors are not to be kept or skipped.
            GetTimeoutError: not all were there in time. The loop goes on.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise GetTimeoutError(f"{self!r}: not done within {timeout:g} s.")
        if self._error is not None:
            raise self._error
        assert self._values is not None
        return self._values

    def cancel(self) -> None:
        """Stop what has not ended. Returns at once."""
        self._run.cancel()

    def __repr__(self) -> str:
        run = self._run
        total = "" if run.total is None else f" of {run.total:,}"
        failed = f", {len(run.errors):,} failed" if run.errors else ""
        return f"<parallel loop {self.state}: {run.done:,}{total} items done{failed}>"

    def _work(self) -> None:
        try:
            self._values = self._run.run()
        except BaseException as error:  # noqa: BLE001 - it is raised where results are asked for
            self._error = error
