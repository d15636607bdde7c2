"""What is written of a durable task: all that runs it in another cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from parallax.core.durable_records import Unfinished, Use
from parallax.core.journal import DurableTask, DurableTemplate
from parallax.core.records import ObjectRecord, TaskRecord
from parallax.messages import Stored


def is_whole(task: TaskRecord, rows: Mapping[int, ObjectRecord]) -> bool:
    """Whether the task takes nothing but values: no references inside of them."""
    holder = _holder(task, rows)
    others = set(task.refs) - set(task.group.template.spec.captured)
    return others <= {holder} and bool(holder or not isinstance(task.args, Stored))


def recipe_of(
    one: Unfinished,
    task: TaskRecord,
    rows: Mapping[int, ObjectRecord],
    key: Callable[[int], str],
) -> DurableTask:
    """The task, with keys in place of ids.

    Args:
        rows: all objects.
        key: of an object.
    """
    assert one.use is not None
    holder = _holder(task, rows)
    job = task.group.job
    return DurableTask(
        one.key,
        one.use.key,
        len(one.results),
        task.args if isinstance(task.args, bytes) else b"",
        key(holder) if holder else "",
        [key(object_id) for object_id in task.deps],
        task.seed,
        job.name,
        job.namespace,
    )


def recipe_of_all(use: Use, key: Callable[[int], str]) -> DurableTemplate:
    """What the tasks of a template share, with keys in place of ids."""
    template = use.template
    blobs = [(blob.key, blob.data) for blob in template.blobs]
    return DurableTemplate(use.key, template.spec, blobs, [key(i) for i in template.spec.captured])


def _holder(task: TaskRecord, rows: Mapping[int, ObjectRecord]) -> int:
    """The object that holds its arguments, 0 when they are not in the store."""
    if not isinstance(task.args, Stored):
        return 0
    return next((i for i in task.refs if rows[i].value == task.args), 0)
