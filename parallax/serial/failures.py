"""What a task raised, made to travel.

`dump_error` runs on the engine and `load_error` on the side that calls `get`. What arrives can
always be caught and read:

- An `Exception` arrives as a type that derives from `TaskError` and from the user's own type,
  with the same `args`, attributes and, for groups, members. So ``except ZeroDivisionError`` and
  ``except*`` work.
- What is not an `Exception` (KeyboardInterrupt, SystemExit, GeneratorExit, groups of those)
  arrives as a `TaskError` alone, with the original as its `cause`: a task that calls
  ``sys.exit()`` must not end the kernel that asks for its result. StopIteration and
  StopAsyncIteration arrive so too: raised out of `get` they would silently end the caller's
  own loop, as in ``list(map(px.get, refs))``.
- What cannot travel (no such class here, attributes that cannot be pickled, a reducer that
  raises) arrives as a `TaskError` with its type's name, message and traceback. Single
  attributes that cannot travel are replaced by a text.

An error that travels again, because a task got it from another task and let it pass, stays the
same error; it only gains the frames in which the outer task waited.
"""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

from parallax.errors import TaskError
from parallax.serial.cell_names import name_cells
from parallax.serial.exception_graph import pack_graph, unpack_graph
from parallax.serial.remote_traceback import describe, format_error, format_frames
from parallax.serial.task_errors import ArrivedTaskError, attributes_of, make_task_error, name_of

_MAX_WAITS = 8


class _Record(NamedTuple):
    """What a task raised, as plain data."""

    task_name: str
    type_name: str
    message: str
    text: str  # the traceback
    nodes: list[tuple[Any, ...]]
    notes: list[str] | None = None
    waits: tuple[tuple[str, str], ...] = ()  # tasks that let it pass, outermost first: name, frames


def dump_error(error: BaseException, *, task_name: str) -> bytes:
    """Pack what a task raised. Never raises.

    The traceback is formatted here, where the source lines are. Bounded: messages and tracebacks
    to some 32,000 characters each, values in arguments and attributes to 1 MiB each and 8 MiB in
    all, the chain of causes to 16. Costs about 100 µs.

    Args:
        error: what was raised, with its ``__traceback__``.
        task_name: the task that raised it.
    """
    try:
        record = _record_of(error, task_name)
        return pickle.dumps(tuple(record), 5)
    except Exception as trouble:  # noqa: BLE001 - user types may break anything; the rest goes on
        name = type(error).__name__
        text = f"{name}: it could not be packed: {type(trouble).__name__}: {describe(trouble)}"
        return pickle.dumps(tuple(_Record(task_name, name, describe(error), text, [])), 5)


def load_error(data: bytes) -> BaseException:
    """Rebuild what `get` raises. Never raises. Costs about 100 µs."""
    try:
        return _rebuild(data)
    except Exception as trouble:  # noqa: BLE001 - whatever was sent, the caller gets an error
        return TaskError(f"a task failed, but its error is unreadable here: {trouble!r}")


def _rebuild(data: bytes) -> ArrivedTaskError:
    record = _Record(*pickle.loads(data))
    cause = None
    if record.nodes:
        cause = unpack_graph(record.nodes, load_error=load_error, stand_in=_stand_in)
    error = make_task_error(
        cause,
        type_name=record.type_name,
        message=record.message,
        remote_traceback=name_cells(_remote_traceback(record)),
        task_name=record.task_name,
        data=data,
    )
    if record.notes:
        attributes_of(error)["__notes__"] = list(record.notes)
    return error


def _stand_in(type_name: str, message: str) -> ArrivedTaskError:
    record = _Record("", type_name, message, f"{type_name}: {message}", [])
    return _rebuild(pickle.dumps(tuple(record), 5))


def _record_of(error: BaseException, task_name: str) -> _Record:
    notes = _notes_of(error)
    if isinstance(error, ArrivedTaskError):
        passed = _Record(*pickle.loads(attributes_of(error)["_parallax_data"]))
        wait = (task_name, format_frames(error))
        return passed._replace(waits=(wait, *passed.waits), notes=notes)
    return _Record(
        task_name,
        name_of(type(error)),
        describe(error),
        format_error(error),
        pack_graph(error),
        notes,
    )


def _notes_of(error: BaseException) -> list[str] | None:
    notes = attributes_of(error).get("__notes__")
    if not isinstance(notes, list | tuple):
        return None
    return [note for note in notes if isinstance(note, str)]


def _remote_traceback(record: _Record) -> str:
    parts = [f"Task {name!r} waited for it:\n{frames}" for name, frames in record.waits]
    if len(parts) > _MAX_WAITS:
        half = _MAX_WAITS // 2
        parts[half:-half] = [f"… {len(parts) - _MAX_WAITS} more tasks waited for it …"]
    if not record.text:
        parts.append(f"Task {record.task_name!r} failed with it." if record.task_name else "")
    else:
        who = f"Task {record.task_name!r} raised it:\n\n" if record.task_name else ""
        parts.append(who + record.text)
    return "\n\n".join(parts)
