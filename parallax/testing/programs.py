"""What simulated tasks do: compute for a while, or run a small program."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallax.testing.task_context import TaskContext


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to an object of the simulated cluster."""

    id: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Yielded by a streaming program: the next item of its stream."""

    value: Any = None


@dataclass(frozen=True, slots=True)
class Large:
    """A value that lives in the store of a node, and can be lost there."""

    value: Any = None
    size_bytes: int = 1 << 21


class Raised(Exception):
    """What `get` raises in a program, and `Client.result` outside: the task failed.

    Attributes:
        kind: see `parallax.messages.Failure`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind


Step: TypeAlias = "float | Ref | list[Ref] | Emit"
Steps: TypeAlias = "Generator[Step, Any, Any]"
Program: TypeAlias = "Callable[[TaskContext], Steps]"
Work: TypeAlias = "float | Program"
"""Seconds of computing, or a generator function that gets a `TaskContext` and yields

- a number: compute for so many seconds;
- a `Ref`, or a list of them: `get`, and resume with the value or values, or with `Raised`;
- `Emit(value)`: an item of a streaming task;

and returns the task's value: plain data, `Large(...)`, or `Ref`s in a list.
"""


@dataclass(slots=True)
class Options:
    """The options of a simulated function, named as those of a real one."""

    name: str = "f"
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)
    num_returns: int = 1
    streaming: bool = False
    backpressure: int = 0
    max_retries: int = 3
    retry_exceptions: bool = False
    timeout_s: float = 0.0
    max_calls: int = 0
    spread: bool = False
    affinity: int = -1
    affinity_soft: bool = False
    group: int = 0
    bundle: int = -1
    capture: bool = False
    role: int = 0

    @property
    def demand(self) -> dict[str, float]:
        """As the hub wants it."""
        amounts = {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.resources}
        return {name: amount for name, amount in amounts.items() if amount}

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal options."""
        fields = (getattr(self, name) for name in self.__slots__)
        return tuple(tuple(sorted(f.items())) if isinstance(f, dict) else f for f in fields)


def refs_in(value: Any) -> list[int]:
    """The references that a value contains."""
    if isinstance(value, Large):
        return refs_in(value.value)
    if isinstance(value, Ref):
        return [value.id]
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [object_id for item in value for object_id in refs_in(item)]
    return []
