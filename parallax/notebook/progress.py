"""How far a loop has come, shown under its cell while the cell waits.

One display, refreshed a few times a second by a thread, and left as a truthful last state. A loop
that is over within `PATIENCE_S` shows nothing.
"""

from __future__ import annotations

import contextvars
import html
import os
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

PATIENCE_S = 0.5
STEP_S = 0.25
_BAR_CHARS = 24


class Counted(Protocol):
    """What can be shown."""

    total: int | None

    @property
    def done(self) -> int: ...

    @property
    def failed(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far it was at one moment.

    Attributes:
        label: what runs.
        done: items that have ended, those that failed among them.
        failed: items.
        total: of items; None where it is not known.
        elapsed_s: since the start.
        state: ``running``, ``done``, ``failed`` or ``stopped``.
    """

    label: str
    done: int
    failed: int
    total: int | None
    elapsed_s: float
    state: str = "running"

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.done / self.total if self.total else float(self.state == "done")

    def words(self) -> str:
        """Such as ``312 of 1,000 items, 2 failed, 45/s, 15 s left``."""
        total = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{self.done:,}{total} items"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        rate = self.done / self.elapsed_s if self.elapsed_s else 0.0
        if rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if self.state != "running":
            word = "in" if self.state == "done" else "after"
            parts.append(f"{self.state} {word} {_duration(self.elapsed_s)}")
        elif rate and self.total is not None:
            parts.append(f"{_duration((self.total - self.done) / rate)} left")
        return ", ".join(parts)

    def __repr__(self) -> str:
        filled = round(self.share * _BAR_CHARS)
        return f"{self.label}  [{'#' * filled}{'.' * (_BAR_CHARS - filled)}]  {self.words()}"

    def _repr_html_(self) -> str:
        color = {
            "failed": "var(--jp-error-color1, #c62828)",
            "stopped": "var(--jp-warn-color1, #b26a00)",
        }.get(self.state, "var(--jp-brand-color1, #1976d2)")
        filled = f"width:{100 * self.share:.1f}%;height:100%;background:{color}"
        bar = (
            '<div style="width:16em;height:.6em;border-radius:.3em;overflow:hidden;'
            'background:var(--jp-layout-color3, rgba(128,128,128,.35))">'
            f'<div style="{filled}"></div></div>'
        )
        return (
            '<div style="display:flex;align-items:center;gap:.8em;flex-wrap:wrap">'
            f"<code>{html.escape(self.label)}</code>{bar}"
            f"<span>{html.escape(self.words())}</span></div>"
        )


class Progress:
    """A block whose progress is shown.

    Args:
        what: is counted.
        label: of the display.
        hidden: show nothing at all.
    """

    def __init__(self, what: Counted, label: str, *, hidden: bool = False) -> None:
        self._what = what
        self._label = label
        self._hidden = hidden or bool(os.environ.get("PARALLAX_NONINTERACTIVE"))
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._view: View | None = None
        self._started_at = 0.0

    def __enter__(self) -> Progress:
        self._started_at = time.monotonic()
        if not self._hidden:
            # The context says which cell a display belongs to.
            run = contextvars.copy_context().run
            self._thread = threading.Thread(
                target=run, args=(self._refresh,), name="parallax-progress", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is None:
            return
        self._thread.join()
        if self._view is not None:
            stopped = isinstance(error, KeyboardInterrupt)
            state = "stopped" if stopped else "done" if error is None else "failed"
            self._view.show(self._snapshot(state))
            self._view.close()

    def _refresh(self) -> None:
        if self._over.wait(PATIENCE_S):
            return
        self._view = _view_here()
        while not self._over.is_set():
            self._view.show(self._snapshot())
            self._over.wait(STEP_S)

    def _snapshot(self, state: str = "running") -> Snapshot:
        what = self._what
        elapsed_s = time.monotonic() - self._started_at
        return Snapshot(self._label, what.done, what.failed, what.total, elapsed_s, state)


class View(Protocol):
    """Where snapshots are shown, each in place of the one before."""

    def show(self, snapshot: Snapshot) -> None: ...

    def close(self) -> None: ...


class NotebookView:
    """A display under the cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, snapshot: Snapshot) -> None:
        """Show the first, replace it by the others."""
        from IPython.display import display

        if self._handle is None:
            self._handle = display(snapshot, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(snapshot)

    def close(self) -> None:
        """The last one stays."""


class TerminalView:
    """A line of standard error that is written over."""

    def show(self, snapshot: Snapshot) -> None:
        """Write over the line."""
        sys.stderr.write(f"\r\x1b[K{snapshot!r}")
        sys.stderr.flush()

    def close(self) -> None:
        """End the line."""
        sys.stderr.write("\n")


def _view_here() -> View:
    from IPython import get_ipython

    return NotebookView() if hasattr(get_ipython(), "kernel") else TerminalView()


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
