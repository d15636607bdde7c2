"""``python -m tools.soak --minutes 10``: work hard, rest now and then, and see whether it grows.

First everything that is remembered up to a limit is filled up (the timeline, finished jobs); what
grows after that grows for ever. The verdict compares the first third of the rests with the last.

Exit status: 0 flat, 1 not flat, or something else went wrong.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from contextlib import AbstractContextManager, nullcontext

import parallax as px
from parallax.testing import Storm, chaos
from tools.soak import work
from tools.soak.gauge import Gauge, Sample, in_short, judge

WARM_TASKS = 110_000
"""More than the timeline holds."""
WARM_ROUNDS = 360
"""More jobs than hub and client remember."""
MOST_SPELLS = 20
LEAST_S = 6.0
"""Of work between two rests, each of which takes about twelve."""
SHOWN = ("client", "hub", "node")


def main() -> int:
    arguments = _arguments()
    with px.init(num_cpus=2):
        soak = Soak(arguments)
        print(f"soak of {arguments.minutes:g} min, seed {arguments.seed}; warming up", flush=True)
        soak.warm_up()
        soak.run()
    return 0 if soak.report() else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="after the warm-up (10)")
    parser.add_argument("--growth", type=float, default=0.05, help="of memory allowed (0.05)")
    parser.add_argument("--seed", type=int, default=0, help="of the storms (0)")
    parser.add_argument(
        "--kill-every-s", type=float, default=0.5, help="an engine (0.5); 0: none, and watch them"
    )
    return parser.parse_args()


class Soak:
    """One soak of the pool of this session."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._seconds = arguments.minutes * 60.0
        self._growth = arguments.growth
        self._seed = arguments.seed
        self._kill_every_s = arguments.kill_every_s
        self._gauge = Gauge(engines=not self._kill_every_s)
        self._samples: list[Sample] = []
        self._rounds = itertools.count()
        self._done = 0
        self._killed = 0

    def warm_up(self) -> None:
        """Fill up whatever is remembered up to a limit."""
        while self._done < WARM_TASKS:
            self._done += work.flood(10_000)
        for _ in range(WARM_ROUNDS):
            self._done += work.work(next(self._rounds))
        self._gauge.rest()

    def run(self) -> None:
        """Work and rest in turns, and measure at each rest."""
        began = time.monotonic()
        spell_s = max(LEAST_S, self._seconds / MOST_SPELLS)
        while (now := time.monotonic()) < began + self._seconds:
            with self._storm() as storm:
                while time.monotonic() < now + spell_s:
                    self._done += work.work(next(self._rounds))
            if storm is not None:
                self._killed += storm.counts.engines
            self._gauge.rest()
            self._samples.append(self._gauge.sample())
            self._tell(time.monotonic() - began)

    def report(self) -> bool:
        """Print the verdict; whether all is flat."""
        if len(self._samples) < 3:
            print(f"{len(self._samples)} rests are too few to tell; soak for longer")
            return False
        verdicts = judge(self._samples, self._growth)
        print(f"\nfrom the first third of {len(self._samples)} rests to the last:")
        for verdict in verdicts:
            print(f"  {verdict}")
        grown = [verdict for verdict in verdicts if not verdict.flat]
        print(f"{len(grown)} of {len(verdicts)} quantities grow" if grown else "all flat")
        return not grown

    def _storm(self) -> AbstractContextManager[Storm | None]:
        if not self._kill_every_s:
            return nullcontext()
        self._seed += 1
        return chaos(self._seed, kill_engines_every_s=self._kill_every_s)

    def _tell(self, seconds: float) -> None:
        minutes, rest = divmod(int(seconds), 60)
        sample = self._samples[-1]
        memory = in_short(sample, lambda q: q.is_memory)
        counts = in_short(sample, lambda q: q.name in _COUNTS)
        print(
            f"{minutes:3}:{rest:02}  {self._done:,} tasks, {self._killed} engines killed; "
            f"{memory}; {counts}",
            flush=True,
        )


_COUNTS = {"segments", *(f"descriptors of {name}" for name in SHOWN)}


if __name__ == "__main__":
    sys.exit(main())
