"""Chunks: several calls of one function that travel as one task, one return object a call.

Each call is an *item* and ends once, like a task of its own. When an item must go its own way
(its chunk was given back half done, or lost its engine), it is set apart: it becomes a chunk of
one, with the id of its object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.core.records import TaskRecord
from parallax.messages import Chunk, Done, Failure, Value

if TYPE_CHECKING:
    from parallax.core.tasks import TaskTable


def finish(tasks: TaskTable, chunk: TaskRecord, done: Done) -> None:
    """An engine has ended an attempt of a chunk: so many items as it has values are over.

    The others were not begun, and become tasks of their own; so does the last one with a value, if
    that is an exception to be retried.
    """
    ended = len(done.values)
    again = bool(ended and done.retriable and chunk.retries_left)
    if again and type(done.values[-1]) is Failure:
        ended -= 1
    pieces = _set_apart(tasks, chunk, ended)
    tasks.leave(chunk, heirs=bool(pieces))
    _enter(tasks, chunk, pieces)
    if pieces and pieces[0].id < chunk.id + len(done.values):
        _charge(pieces[0])
    _end(tasks, chunk, done.values[:ended], done.contained)
    for piece in pieces:
        tasks.make_ready(piece)


def give_back(tasks: TaskTable, chunk: TaskRecord, kept: int) -> None:
    """The engine goes on with the first `kept` items; the others become tasks of their own."""
    pieces = _set_apart(tasks, chunk, kept)
    _enter(tasks, chunk, pieces)
    for piece in pieces:
        tasks.make_ready(piece)


def engine_died(
    tasks: TaskTable, chunk: TaskRecord, begun: int, failure: Failure, *, charge: bool
) -> None:
    """The engine of a chunk is gone, and with it what it had computed.

    Args:
        begun: so many items were begun. The last of them pays with a retry, unless it is more
            than there are: then all were over, and only their values were lost.
        failure: what those get that were begun and have no retry left.
        charge: False when none of them was at fault.
    """
    all_over = begun > chunk.returns
    pieces = _set_apart(tasks, chunk, 0)
    tasks.leave(chunk, heirs=bool(pieces))
    _enter(tasks, chunk, pieces)
    _end(tasks, chunk, [], {})
    for piece in pieces:
        if piece.id < chunk.id + begun and not piece.retries_left:
            tasks.fail(piece, failure)
            continue
        if charge and piece.id == chunk.id + begun - 1 and not all_over:
            _charge(piece)
        tasks.make_ready(piece)


def _charge(piece: TaskRecord) -> None:
    piece.retries_left -= piece.retries_left > 0
    piece.group.counts.retried += 1


def _set_apart(tasks: TaskTable, chunk: TaskRecord, start: int) -> list[TaskRecord]:
    """The items from `start` on as tasks of their own, but for those that are over."""
    assert type(chunk.args) is Chunk
    items = chunk.args.items
    objects = tasks.objects
    pieces = []
    for position in range(start, chunk.returns):
        row = objects.rows.get(chunk.id + position)
        if row is None or row.task is not chunk:
            continue
        if not row.pending:  # the chunk ran again to rebuild others
            row.task = None
            continue
        row.task = piece = TaskRecord(
            row.id,
            chunk.group,
            chunk.owner,
            Chunk([items[position]]),
            chunk.deps,
            chunk.refs,
            chunk.seed + position if chunk.seed >= 0 else -1,
            1,
            chunk.retries_left,
            chunk.order + position,
            chunk=True,
            attempt=chunk.attempt + 1,
        )
        objects.hold(piece.deps)
        objects.hold(piece.refs)
        objects.count_arguments(piece)
        pieces.append(piece)
    objects.uncount_arguments(chunk)
    chunk.args = Chunk(items[:start])
    objects.count_arguments(chunk)
    chunk.returns = start
    if chunk.skipped:
        chunk.skipped = [i for i in chunk.skipped if i < chunk.id + start]
    return pieces


def _enter(tasks: TaskTable, chunk: TaskRecord, pieces: list[TaskRecord]) -> None:
    """From now on they are in the table. The first may have the id of the chunk."""
    parent = tasks.rows.get(chunk.parent)
    for piece in pieces:
        tasks.rows[piece.id] = piece
        if parent is not None:
            tasks.adopt(parent, piece)


def _end(
    tasks: TaskTable, chunk: TaskRecord, values: list[Value], contained: dict[int, list[int]]
) -> None:
    """These items are over; so is the chunk, which remains as the lineage of their values."""
    objects = tasks.objects
    done = 0
    for object_id, value in enumerate(values, chunk.id):
        row = objects.rows.get(object_id)
        if row is None or row.task is not chunk or not row.pending:
            objects.discard_copy(object_id, value)  # it was cancelled, or is not the one rebuilt
            continue
        objects.complete(row, value, contained.get(object_id))
        if type(value) is Failure:
            tasks.count_failure(chunk, 1, value, object_id)
        else:
            done += 1
    tasks.count_done(chunk.group, done)
    objects.settle(chunk)
