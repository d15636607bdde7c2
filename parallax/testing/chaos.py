"""Have things go wrong in a real pool."""

from __future__ import annotations

import random
from collections.abc import Sequence

from parallax.testing.storm import Storm
from parallax.testing.storm_plan import WAYS, StormPlan


def chaos(
    seed: int | None = None,
    *,
    kill_engines_every_s: float | None = None,
    ways: Sequence[str] = WAYS,
    kill_nodes_every_s: float | None = None,
    sever_links_every_s: float | None = None,
    delay_s: float = 0.0,
) -> Storm:
    """Have things go wrong in the pool of this session while a block of code runs.

    For tests of one's own settings: do these tasks come through with the retries that they have?
    All times are averages; the storm strikes at random, decided by the seed.

        >>> import parallax as px
        >>> from parallax.testing import chaos
        >>> @px.remote(max_retries=-1)
        ... def square(x):
        ...     return x * x
        >>> with chaos(seed=7, kill_engines_every_s=0.1) as storm:
        ...     px.get(square.map(range(5)))
        [0, 1, 4, 9, 16]

    Args:
        seed: decides whom it strikes, how, and after how long. What the strikes hit depends on
            what ran just then, so a seed makes storms alike and not the same. None draws one.
        kill_engines_every_s: seconds from one end of an engine to the next. Idle ones, busy ones
            and those of actors are struck alike.
        ways: how they end: ``SIGKILL``, ``SIGSEGV``, ``SIGABRT``, or ``SIGSTOP``, which is
            followed by a SIGKILL within 0.2 s.
        kill_nodes_every_s: seconds from one end of a node agent to the next, with all its engines.
            The one that the hub has started is spared: its end is the end of the pool.
        sever_links_every_s: seconds from one break of a link between an engine and the hub to the
            next. What is under way is lost, perhaps half a message. On a local socket there is no
            other way to lose one.
        delay_s: so long at most each message between the hub and an engine is held, in each
            direction, in order.

    Returns:
        A context manager, to be entered once. It starts the session if there is none.

    Raises:
        UsageError: a value that makes no sense, or nothing to do.
    """
    return Storm(
        StormPlan(
            seed=random.SystemRandom().randrange(1 << 32) if seed is None else seed,
            ways=tuple(ways),
            kill_engines_every_s=kill_engines_every_s,
            kill_nodes_every_s=kill_nodes_every_s,
            sever_links_every_s=sever_links_every_s,
            delay_s=delay_s,
        )
    )
