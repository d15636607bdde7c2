"""Run the tasks of an inline session, in the thread that calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from parallax.pool.failures import from_error
from parallax.sessions.frames import user_frames
from parallax.sessions.inline.actors import InlineCall
from parallax.sessions.inline.book import InlineBook
from parallax.sessions.inline.output import OutputRecorder
from parallax.sessions.inline.tasks import InlineStream, InlineTask, running


class InlineRunner:
    """Runs tasks and enters in the book how they end. Thread-safe."""

    def __init__(self, book: InlineBook) -> None:
        self._book = book
        self._output = OutputRecorder(_keep_output)

    def run(self, task: InlineTask) -> None:
        """Run a task to its end.

        Raises:
            KeyboardInterrupt, bdb.BdbQuit: the user's, for the user; the task is cancelled.
        """
        with self._timed(task):
            again = True
            while again:
                try:
                    values = task.results()
                except BaseException as error:  # noqa: BLE001 - it is the task's result
                    again = self._retry(task, error)
                else:
                    again = False
                    if task.cancelled:
                        self._book.cancelled(task)
                    self._book.finish(task, values)
        # What an actor has begun to read in one call it may go on reading in the next.
        if not isinstance(task.call, InlineCall):
            for stream in list(self._book.streams.values()):
                if stream.parent == task.id:
                    self.drop_stream(stream.id)

    def advance(self, stream: InlineStream) -> None:
        """Let a streaming task go on to its next item, or to its end. Raises what `run` raises."""
        with self._timed(stream):
            try:
                packed = stream.next_item()
            except BaseException as error:  # noqa: BLE001 - it is the task's result
                self._retry(stream, error)
                return
            if stream.cancelled:
                stream.close()
                self._book.cancelled(stream)
            elif packed is None:
                self._book.finish(stream, [])
            else:
                stream.item_ids.append(self._book.new_object(packed, stream.job.id))

    def drain(self, stream: InlineStream) -> None:
        """Let a streaming task come to its end, for those who wait for that."""
        with stream.turn:
            while stream.id in self._book.tasks:
                self.advance(stream)

    def cancel(self, task: InlineTask) -> None:
        """End a stream that does not run just now; any other task when it comes to its end."""
        task.cancelled = True
        if isinstance(task, InlineStream) and task.turn.acquire(blocking=False):
            try:
                task.close()
                self._book.cancelled(task)
            finally:
                task.turn.release()

    def drop_stream(self, task_id: int) -> None:
        """Nobody reads this stream any more."""
        stream = self._book.streams.pop(task_id, None)
        if stream is not None:
            self.cancel(stream)
            with self._book.changed:
                for object_id in stream.item_ids[stream.taken :]:
                    self._book.objects.drop(object_id)

    def _retry(self, task: InlineTask, error: BaseException) -> bool:
        """Whether the task is to run again after this error; else it has failed by it."""
        if _is_for_the_user(error):
            self._book.cancelled(task)
            raise error
        if task.retry(error):
            task.counts.retried += 1
            return True
        failure = from_error(error, task_name=task.call.name, task=task.id)
        self._book.fail(task, failure, user_frames(error.__traceback__))
        return False

    @contextmanager
    def _timed(self, task: InlineTask) -> Iterator[None]:
        started_at, clock = time.time(), time.perf_counter()
        try:
            with self._output.recording():
                yield
        finally:
            self._book.note_time(task, started_at, time.perf_counter() - clock)


def _keep_output(stream: str, text: str) -> None:
    task = running.get()
    if task is not None:
        task.job.print(task.id, stream, text)


def _is_for_the_user(error: BaseException) -> bool:
    bdb = sys.modules.get("bdb")
    return isinstance(error, KeyboardInterrupt) or (
        bdb is not None and isinstance(error, bdb.BdbQuit)
    )
