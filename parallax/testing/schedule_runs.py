"""Runs many random schedules of faults: the command ``python -m parallax.testing 10000``.

Prints which seeds were run and what has happened. A schedule that fails is printed with its seed
and with the command that runs it again, alone and with all that was said at its end; the exit
status is 1 then.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

from parallax.testing.schedules import Schedule, Tally, run_schedule

FIRST_SEED = 1
TOGETHER = 50
"""Schedules that a process runs before it says how they went."""
SAID_EVERY = 1000
"""Schedules after which the command says how far it is."""
AGAIN = "python -m parallax.testing --seed"
TRAIL = 12
"""Batches of events that are shown of a schedule that is run alone."""


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        return show(options.seed)
    tally, failures = run(options.first, options.count, processes=options.processes)
    last = options.first + options.count - 1
    print(f"\n{describe(tally)}")
    print(
        f"{options.count:,} schedules, seeds {options.first} to {last}: "
        + (f"{len(failures):,} FAIL" if failures else "every invariant holds")
    )
    return 1 if failures else 0


def run(first: int, count: int, *, processes: int = 1) -> tuple[Tally, dict[int, str]]:
    """Run the schedules of so many seeds, from the first on, and print those that fail.

    Args:
        processes: how many are started for it; with one, none is.

    Returns:
        What happened in those that hold, and why the others fail, by seed.
    """
    starts = range(first, first + count, TOGETHER)
    ends = [min(start + TOGETHER, first + count) for start in starts]
    tally, failures = Tally(), dict[int, str]()
    with ExitStack() as stack:
        each: Callable[..., Iterable[tuple[Tally, dict[int, str]]]] = map
        if processes > 1:
            pool = ProcessPoolExecutor(processes, get_context("spawn"))
            each = stack.enter_context(pool).map
        for end, (some, failed) in zip(ends, each(_run_some, starts, ends), strict=True):
            tally.add(some)
            failures |= failed
            for seed, reason in failed.items():
                print(f"seed {seed} fails: {reason}\n  again: {AGAIN} {seed}", flush=True)
            if end % SAID_EVERY < TOGETHER:
                print(f"up to seed {end - 1:,}: {len(failures):,} failures", flush=True)
    return tally, failures


def _run_some(first: int, end: int) -> tuple[Tally, dict[int, str]]:
    tally, failures = Tally(), dict[int, str]()
    for seed in range(first, end):
        try:
            tally.add(run_schedule(seed))
        except Exception as error:  # noqa: BLE001 - whatever the core raises is a finding
            failures[seed] = f"{type(error).__name__}: {error}"
    return tally, failures


def show(seed: int) -> int:
    """Run one schedule, and print how it ends. Returns the exit status."""
    schedule = Schedule(seed, record=True)
    print(f"seed {seed}: {schedule.cluster.describe()}\n{schedule.faults}")
    try:
        schedule.run()
    except Exception:  # noqa: BLE001 - see above
        for now, events, actions in (schedule.cluster.hub.trail or [])[-TRAIL:]:
            print(f"\nat {now:.6f} s")
            print(*(f"  {event}" for event in events), sep="\n")
            print(*(f"    → {action}" for action in actions), sep="\n")
        traceback.print_exc(file=sys.stdout)
        return 1
    print(describe(schedule.tally()))
    return 0


def describe(tally: Tally) -> str:
    """What has happened, for people."""
    faults = ", ".join(f"{kind} {count:,}" for kind, count in tally.faults.most_common())
    return (
        f"{tally.calls:,} calls, each ended once\n"
        f"{tally.events:,} events, and after each a check of every invariant\n"
        f"faults: {faults or 'none'}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m parallax.testing",
        description="Run random schedules of faults against the core.",
    )
    parser.add_argument("count", nargs="?", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first seed (1)")
    parser.add_argument("--processes", type=int, default=2, help="so many side by side (2)")
    parser.add_argument("--seed", type=int, help="run this one alone, and show its end")
    return parser
