"""A bench of a named pool, and a journal that is no more than some dicts."""

from __future__ import annotations

import itertools
from typing import Any

from parallax.core.journal import (
    DurableTask,
    DurableTemplate,
    Entry,
    Forget,
    Graph,
    GraphChanged,
    JournalAttached,
    Journalled,
    Keep,
    Muster,
    Promise,
    Recall,
    Resume,
    key_of_return,
)
from parallax.core.outbox import Action, Journal
from parallax.messages import Answered, Failure, Stored, TaskSpec, Value
from tests.core.builders import CLIENT, Bench


class Disk:
    """What outlives a hub. `applied` is all that was written, in order."""

    def __init__(self) -> None:
        self.templates: dict[str, DurableTemplate] = {}
        self.tasks: dict[str, DurableTask] = {}
        self.values: dict[str, Value] = {}
        self.promises: dict[str, Promise] = {}
        self.kept: dict[str, Value] = {}
        self.finished: set[bytes] = set()
        """The arguments of tasks that have ended."""
        self.gone: set[str] = set()
        """Segments that are not in the store any more."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of any durable task is there."""
        return not (self.templates or self.tasks or self.values or self.promises)

    def apply(self, entry: Entry) -> Any:
        """Do what the journal does; returns its answer."""
        if isinstance(entry, GraphChanged):
            return self._change(entry)
        if isinstance(entry, Promise):
            self.promises[entry.name] = entry
            self.kept.pop(entry.name, None)
        elif isinstance(entry, Keep):
            self.promises.pop(entry.name, None)
            self.kept[entry.name] = entry.value
        elif isinstance(entry, Forget):
            self.promises.pop(entry.name, None)
            self.kept.pop(entry.name, None)
        elif isinstance(entry, Recall):
            return {"value": self.kept.get(entry.name)}
        elif isinstance(entry, Resume):
            return self._graph()
        else:
            assert isinstance(entry, Muster)
            return []
        return None

    def _change(self, change: GraphChanged) -> list[str]:
        if change.afresh:
            self.finished.update(one.args for one in self.tasks.values())
            self.finished.difference_update(one.args for one in change.tasks)
            self.templates, self.tasks, self.values = {}, {}, {}
        lost = []
        for key, value in [*change.values, *(v for end in change.ends for v in end.values)]:
            if isinstance(value, Stored) and value.name in self.gone:
                lost.append(key)
            else:
                self.values[key] = value
        self.templates.update((one.key, one) for one in change.templates)
        self.tasks.update((one.key, one) for one in change.tasks)
        for end in change.ends:
            if not any(key in lost for key, _ in end.values):
                ended = self.tasks.pop(
                    end.key, None
                )  # it is not there if that could not be written
                if ended is not None:
                    self.finished.add(ended.args)
        for key in change.idle if not lost else ():
            self.templates.pop(key, None)
        for key in change.dropped if not lost else ():
            self.values.pop(key, None)
        return lost

    def _graph(self) -> Graph:
        tasks = list(self.tasks.values())
        made = {key_of_return(one.key, index) for one in tasks for index in range(one.returns)}
        for name, promise in list(self.promises.items()):
            if promise.key not in made:
                del self.promises[name]
                self.kept[name] = Failure("object_lost", "the pool ended before that")
        # As when it was written and read again: large values have new names.
        values = [(key, _restored(value)) for key, value in self.values.items()]
        templates = list(self.templates.values())
        return Graph(templates, tasks, values, list(self.promises.values()))


def _restored(value: Value) -> Value:
    return Stored(f"0-{value.name}", 1 << 20, 0) if isinstance(value, Stored) else value


class DurableBench(Bench):
    """A bench of a named pool. The journal does what it is told when the test says so."""

    def __init__(self, disk: Disk | None = None, cluster: str = "c1", cpus: float = 1) -> None:
        self.disk = disk or Disk()
        self.orders: list[list[Journal]] = []
        """By batch of events: what is one transaction."""
        self._cluster = cluster
        self._ids = itertools.count(CLIENT * 1000 + 500)
        super().__init__(cpus)

    def begin(self) -> None:
        self.handle(JournalAttached(used=True, at=1.0, cluster=self._cluster))
        self.write()

    def handle(self, *events: Any) -> list[Action]:
        actions = super().handle(*events)
        if orders := [action for action in actions if isinstance(action, Journal)]:
            self.orders.append(orders)
        return actions

    def new_id(self) -> int:
        """Of an object of the client's."""
        return next(self._ids)

    def durable(
        self, args: bytes, *deps: int, template: int = 0, refs: list[int] | None = None
    ) -> int:
        """Submit a durable task, of one return object unless its template says otherwise."""
        if not template:
            template = self.template(durable=True)
        task_id = self.new_id()
        for _ in range(7):  # for those that return more
            self.new_id()
        self.submit(TaskSpec(task_id, template, args, list(deps), refs or []))
        return task_id

    # ---- the journal ------------------------------------------------------------------------

    def told(self) -> list[Entry]:
        """What the journal was told and has not done yet."""
        return [order.entry for orders in self.orders for order in orders]

    def changes(self) -> list[GraphChanged]:
        """Of that, what is about durable tasks."""
        return [entry for entry in self.told() if isinstance(entry, GraphChanged)]

    def write_next(self, failure: Failure | None = None) -> None:
        """The journal does the first batch, or cannot."""
        if not self.orders:
            return
        orders = self.orders.pop(0)
        if failure is not None:
            self.handle(*(Journalled(order.ticket, failure=failure) for order in orders))
        else:
            self.handle(
                *(Journalled(order.ticket, self.disk.apply(order.entry)) for order in orders)
            )

    def write(self) -> None:
        """The journal does all that it is told."""
        while self.orders:
            self.write_next()

    def answers(self) -> dict[int, Any]:
        """To the client's requests, since last asked."""
        return {message.request: message.answer for message in self.heard(CLIENT, Answered)}
