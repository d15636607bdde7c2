"""Which pool is meant."""

from __future__ import annotations

import difflib

import parallax
from parallax import Pool
from parallax.errors import ParallaxError, UsageError

HOW_TO_START = "Start one with `parallax start --name NAME`."


class NoSuchPoolError(ParallaxError):
    """No pool of that name runs."""


def choose(name: str | None) -> Pool:
    """The pool of this name; without a name the only one that runs.

    Raises:
        NoSuchPoolError: no such pool runs; says which do.
        UsageError: there are several.
    """
    running = {pool.name: pool for pool in parallax.pools()}
    if name is not None and name in running:
        return running[name]
    if not running:
        which = f"pool named {name!r}" if name else "named pool"
        raise NoSuchPoolError(f"no {which} runs. {HOW_TO_START}")
    names = ", ".join(running)
    if name is None:
        if len(running) == 1:
            return next(iter(running.values()))
        raise UsageError(f"several pools run: {names}. Say which one you mean.")
    near = difflib.get_close_matches(name, running, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise NoSuchPoolError(f"no pool named {name!r} runs. {hint}These run: {names}.")
