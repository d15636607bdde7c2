"""`python -m benchmarks`: measure, print, and on request write the page and its plot."""

from __future__ import annotations

import argparse
import signal
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from benchmarks import systems
from benchmarks.bars import barred_pairs
from benchmarks.plan import Step, plan
from benchmarks.processes import adopting
from benchmarks.report import quantity, render
from benchmarks.results import Results, Sample
from benchmarks.workloads import WORKLOADS

_WHOLE = Path("out/benchmarks.json")
_PARTIAL = Path("out/benchmarks-partial.json")
"""Of a run that was asked for less, so that it never replaces the numbers of a whole one."""
_REMARKS = Path(__file__).with_name("remarks.toml")


def main() -> None:
    """Parse the command line and run."""
    options = _parse()
    if options.again:
        results = Results.load(options.again)
    else:
        chosen = options.systems or [
            name for name in systems.NAMES if not (options.quick and name in systems.HEAVY)
        ]
        steps = plan(options.only or list(WORKLOADS), chosen, quick=options.quick)
        if options.quick and not options.systems:
            steps = [step for step in steps if (step.system, step.workload) in barred_pairs()]
        partial = options.quick or options.only or options.systems
        results = _measure(steps, _PARTIAL if partial else _WHOLE)
    _publish(results, options.write)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(WORKLOADS), metavar="NAME", help=", ".join(WORKLOADS)
    )
    parser.add_argument(
        "--systems",
        nargs="+",
        choices=systems.NAMES,
        metavar="SYSTEM",
        help=", ".join(systems.NAMES),
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of what the bars read, without slow starters",
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the page and its plot")
    parser.add_argument(
        "--again", type=Path, metavar="JSON", help="measure nothing: render an earlier run"
    )
    return parser.parse_args()


def _measure(steps: Sequence[Step], raw: Path) -> Results:
    """Take all the steps; what was measured is in `raw` even when the run is interrupted."""
    from benchmarks.machine import describe
    from benchmarks.runner import take

    # Ends like Ctrl-C does: through the blocks that stop what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    machine = describe(sorted({step.system for step in steps}, key=systems.NAMES.index))
    samples: list[Sample] = []
    results = Results(machine=machine, samples=samples)
    with adopting(), _saved(results, raw):
        for number, step in enumerate(steps, start=1):
            begin = monotonic()
            samples.append(take(step))
            head = f"[{number}/{len(steps)}] round {step.round + 1} {step.workload} {step.system}:"
            print(head, _brief(samples[-1]), f"({monotonic() - begin:.1f} s)", file=sys.stderr)
    return results


@contextmanager
def _saved(results: Results, path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        results.save(path)
        print(f"raw numbers in {path}", file=sys.stderr)


def _brief(sample: Sample) -> str:
    if sample.reason is not None:
        return f"— {sample.reason}"
    metrics = WORKLOADS[sample.workload].metrics
    return ", ".join(f"{key} {quantity(v, metrics[key].unit)}" for key, v in sample.metrics.items())


def _publish(results: Results, page: Path | None) -> None:
    remarks = tomllib.loads(_REMARKS.read_text())
    if page is None:
        print(render(results, remarks))
        return
    from benchmarks.plot import draw

    plot = page.with_suffix(".svg")
    draw(results, plot)
    page.write_text(render(results, remarks, plot=plot.name))
    print(f"wrote {page} and {plot}", file=sys.stderr)


if __name__ == "__main__":
    main()
