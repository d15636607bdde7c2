"""What must hold of the hub's books of durable tasks after every batch of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from parallax.core.machine import Machine


def durables(machine: Machine) -> Iterator[str]:
    """Says everything that does not hold."""
    books = machine.durables
    rows = machine.tasks.rows
    needed = Counter[int]()
    withheld: set[int] = set()
    for one in books.unfinished.values():
        who = f"durable task {one.id:x}"
        withheld.update(one.results)
        if one.telling and one.id in rows and not rows[one.id].attempt:
            yield f"{who}: its end is told, and it has not ended"
        if not one.telling:
            needed.update(one.needs)
            if one.use is not None and not one.use.count:
                yield f"{who}: its template is taken for idle"
        task = rows.get(one.id)
        if task is not None and not task.durable:
            yield f"{who}: its client could take it along"
    if books.resting:
        return
    if {i: need.count for i, need in books.needs.items()} != dict(needed):
        yield f"needs are {books.needs}, by the tasks {dict(needed)}"
