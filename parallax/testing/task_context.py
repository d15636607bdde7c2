"""What a simulated task sees and may do, and how its program may end its engine or its actor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from parallax.messages import Assignment
from parallax.testing.programs import Options, Ref, Work

if TYPE_CHECKING:
    from parallax.testing.engines import SimEngine


class Crash(BaseException):
    """A program kills its engine."""


class Exit(BaseException):
    """A call ends its actor."""


class TaskContext:
    """What a program sees: its arguments, and what it may do besides computing."""

    def __init__(self, engine: SimEngine, task: Assignment, args: list[Any]) -> None:
        self.args = args
        """Values of the objects that it depends on."""
        self.attempt = task.attempt
        self.engine = engine.number
        self.node = engine.node
        self._member = engine
        self._task = task
        self._refs: list[Ref] = []

    def submit(self, work: Work, *args: Ref, refs: Sequence[Ref] = (), **options: Any) -> Ref:
        """Submit a nested task; the ref of its first return value."""
        made = self._member.submit_task(
            self._task.job, self._task.id, work, args, refs, Options(**options)
        )
        if not options.get("streaming") and options.get("num_returns", 1):
            self._refs += made
        return made[0]

    def put(self, value: Any) -> Ref:
        """Make an object."""
        ref = self._member.put(value)
        self._refs.append(ref)
        return ref

    def cancel(self, ref: Ref, **how: Any) -> None:
        """Cancel a task."""
        self._member.cancel(ref, **how)

    def crash(self) -> None:
        """Kill this engine, as a segmentation fault would."""
        raise Crash

    def exit_actor(self) -> None:
        """End the actor that this is a call of."""
        raise Exit

    def call(self, actor: Ref, work: Work, *args: Ref, **options: Any) -> Ref:
        """Call an actor of which the task has a handle."""
        settings = Options(**{"name": "call", "max_retries": 0, "num_cpus": 0.0, **options})
        ref = self._member.call_actor(
            self._task.job, self._task.id, actor, work, args, (), settings
        )
        self._refs.append(ref)
        return ref

    def release(self) -> None:
        """The program is over: its references go."""
        self._member.drop(*self._refs)
        self._refs = []

    def keep(self, ids: list[int]) -> None:
        """References that came with values it got."""
        self._member.adopt(ids)
        self._refs += [Ref(i) for i in ids]
