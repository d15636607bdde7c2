"""What a storm is to do."""

from __future__ import annotations

from dataclasses import dataclass, fields

from parallax.errors import UsageError
from parallax.options import check_amount

WAYS = ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGSTOP")
"""How an engine may end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StormPlan:
    """The arguments of `chaos`.

    Raises:
        UsageError: a value that makes no sense, or nothing to do.
    """

    seed: int
    ways: tuple[str, ...]
    kill_engines_every_s: float | None
    kill_nodes_every_s: float | None
    sever_links_every_s: float | None
    delay_s: float

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise UsageError(f"seed={self.seed!r} must be an int, or None.")
        if not self.ways or not set(self.ways) <= set(WAYS):
            raise UsageError(f"ways={self.ways!r}: some of {', '.join(WAYS)}.")
        check_amount("delay_s", self.delay_s)
        intervals = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name.endswith("_every_s")
        }
        given = {name: value for name, value in intervals.items() if value is not None}
        for name, value in given.items():
            check_amount(name, value)
            if value == 0:
                raise UsageError(f"{name}=0 leaves no time between; None is for never.")
        if not (given or self.delay_s):
            raise UsageError(f"a storm that does nothing: give {', '.join(intervals)} or delay_s.")

    @property
    def needs_detour(self) -> bool:
        """Whether links must pass through a relay."""
        return bool(self.delay_s) or self.sever_links_every_s is not None
