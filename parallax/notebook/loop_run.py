"""One run of a parallel loop: submit its items, some way ahead, and gather their values."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import parallax
from parallax.errors import ClusterLostError, ParallaxError, UsageError
from parallax.notebook.loops import Loop
from parallax.notebook.results import MAX_ROWS, Results, mark_failed, preview, summary
from parallax.notebook.seeding import seeded

AHEAD = 4_000
"""Items that were submitted and not gathered, at most: an endless iterable fills no memory."""
BLOCK_S = 0.02
"""An iterable that takes its time is not waited for longer, before what it gave is submitted."""

OnError = Literal["raise", "keep", "skip"]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How a loop runs.

    Attributes:
        task: options of its tasks, as `parallax.remote` takes them.
        chunk: items that travel together.
        on_error: ``raise`` the first one and cancel the rest; ``keep`` errors in the place of
            values; ``skip`` them.
        seed: of `random` and NumPy, with the item's index; None for none.
        job: the name of a job of its own; empty for the cell's.
    """

    task: dict[str, Any] = field(default_factory=dict)
    chunk: int | Literal["auto"] = "auto"
    on_error: OnError = "raise"
    seed: int | None = None
    job: str = ""


class LoopRun:
    """Runs a loop once. Not thread-safe but for `cancel` and the counters.

    Attributes:
        submitted: items so far.
        gathered: items whose value or error is here.
        ended: whether the iterable is at its end, so that `submitted` is the total.
        total: how many items there are, as far as it is known.
        errors: of items that failed, with ``keep`` and ``skip``.
    """

    def __init__(self, loop: Loop, settings: LoopSettings) -> None:
        self._loop = loop
        self._settings = settings
        function: Any = loop.function
        if settings.seed is not None:
            function = seeded(function, settings.seed)
        self._function = parallax.remote(**settings.task)(function)
        self._waiting: deque[tuple[parallax.ObjectRef[Any], tuple[Any, ...]]] = deque()
        self._shown: list[tuple[Any, ...]] = []
        self.submitted = 0
        self.gathered = 0
        self.ended = False
        self.total: int | None = None
        self.errors: list[BaseException] = []
        self._done_at_end: int | None = None

    def run(self) -> Results:
        """Blocks until all is done. Whatever ends it early cancels what has not ended.

        Raises:
            TaskError: an item raised, and errors are not to be kept or skipped.
            Exception: what the iterable has raised.
        """
        with parallax.job(self._settings.job) if self._settings.job else _no_job():
            values = list(self.iterate(AHEAD // 2))
        return Results(values, self._loop.names, self._shown)

    def iterate(self, step: int = 1) -> Iterator[Any]:
        """The values, as they are asked for; so many are waited for at a time.

        Items are submitted some way ahead. Whoever stops to ask cancels the rest.
        """
        items = self._loop.items()
        self.total = items.total
        try:
            while not self.ended or self._waiting:
                if not self.ended and len(self._waiting) < AHEAD:
                    self._submit(self._take(items, AHEAD - len(self._waiting)))
                else:
                    yield from self._gather(len(self._waiting) if self.ended and step > 1 else step)
        except BaseException as error:
            self._stop_counting(error)
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop the items that have not ended. Safe in any thread."""
        for ref, _ in list(self._waiting):
            # Nothing runs any more where the cluster is lost, or the session over.
            with contextlib.suppress(ClusterLostError, UsageError):
                parallax.cancel(ref)

    def summary(self) -> str:
        """What failed, in one line; empty when nothing has."""
        return summary(self.errors, self.submitted) if self.errors else ""

    @property
    def done(self) -> int:
        """Items that have ended, gathered or not. Looks, and does not wait."""
        if self._done_at_end is not None:
            return self._done_at_end
        refs = [ref for ref, _ in list(self._waiting)]
        ready = parallax.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []
        return self.gathered + len(ready)

    @property
    def failed(self) -> int:
        """Items that failed, among those gathered."""
        return len(self.errors)

    def _stop_counting(self, error: BaseException) -> None:
        """What will be cancelled is not done."""
        self._done_at_end = self.done
        if isinstance(error, KeyboardInterrupt):
            total = "" if self.total is None else f" of {self.total:,}"
            error.add_note(f"stopped when {self.done:,}{total} items were done")

    def _take(self, items: Iterator[tuple[Any, ...]], most: int) -> list[tuple[Any, ...]]:
        until = time.perf_counter() + BLOCK_S
        block: list[tuple[Any, ...]] = []
        for item in islice(items, most):
            block.append(item)
            if time.perf_counter() > until:
                return block
        if len(block) < most:
            self.ended = True
            self.total = self.submitted + len(block)
        return block

    def _submit(self, block: list[tuple[Any, ...]]) -> None:
        if not block:
            return
        room = MAX_ROWS - len(self._shown)
        self._shown += block[: max(0, room)]
        columns: Any = zip(*block, strict=True)
        if self._settings.seed is not None:
            columns = (range(self.submitted, self.submitted + len(block)), *columns)
        refs = self._function.map(*columns, chunk=self._settings.chunk)
        self._waiting.extend(zip(refs, block, strict=True))
        self.submitted += len(block)

    def _gather(self, count: int) -> list[Any]:
        refs = [ref for ref, _ in islice(self._waiting, count)]
        if self._settings.on_error == "raise":
            try:
                values = parallax.get(refs)
            except ParallaxError as error:
                self._say_which(error, refs)
                raise
        else:
            parallax.wait(refs, num_returns=len(refs))
            values = list(self._values_and_errors(refs))
        for _ in refs:
            self._waiting.popleft()
        self.gathered += len(refs)
        return values

    def _values_and_errors(self, refs: list[parallax.ObjectRef[Any]]) -> Iterator[Any]:
        with contextlib.suppress(ParallaxError):
            yield from parallax.get(refs)
            return
        for at, ref in enumerate(refs):
            try:
                yield parallax.get(ref)
            except ClusterLostError:
                raise
            except ParallaxError as error:
                self._mark(error.with_traceback(None), at)
                self.errors.append(error)
                if self._settings.on_error == "keep":
                    yield error

    def _say_which(self, error: ParallaxError, refs: list[parallax.ObjectRef[Any]]) -> None:
        """Find the item that this error is of: one of those that have ended."""
        places = {ref: at for at, ref in enumerate(refs)}
        for ref in parallax.wait(refs, num_returns=len(refs), timeout=0)[0]:
            try:
                parallax.get(ref, timeout=0)
            except ParallaxError as found:
                if type(found) is type(error) and str(found) == str(error):
                    self._mark(error, places[ref])
                    return

    def _mark(self, error: ParallaxError, at: int) -> None:
        values = zip(self._loop.names, self._waiting[at][1], strict=True)
        mark_failed(
            error,
            self.gathered + at,
            ", ".join(f"{name} = {preview(value)}" for name, value in values),
        )


@contextlib.contextmanager
def _no_job() -> Iterator[None]:
    yield
