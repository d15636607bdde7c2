"""Draws the numbers that a reader asks for first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import systems
from benchmarks.report import quantity
from benchmarks.results import Quantity, Results
from benchmarks.workloads import WORKLOADS

_PANELS = [
    ("cold_start", "cold_start", "cold start to first result"),
    ("no_ops", "throughput", "no-op tasks a second"),
    ("round_trip", "round_trip", "round trip of one no-op"),
    ("chain", "link", "one link of a chain"),
    ("put", "put", "put a 256 MiB array"),
    ("idle", "memory", "unique memory, idle"),
]

_OURS, _THEIRS, _FAINT = "#2f62c8", "#6b7280", "#e3e6eb"


def draw(results: Results, path: Path) -> None:
    """Write the plot as SVG: a panel a number, a dot a system, on logarithmic scales.

    Dots and not bars, since a logarithmic scale has no zero for a bar to begin at.
    """
    names = [name for name in systems.NAMES if any(s.system == name for s in results.samples)]
    # A fixed salt and no date: the same run gives the same file.
    with mpl.rc_context({"svg.hashsalt": "parallax", "font.size": 9}):
        figure = Figure(figsize=(10, 6), layout="constrained")
        grid = figure.subplots(2, 3, sharey=True)
        for axes, panel in zip(grid.flat, _PANELS, strict=True):
            _panel(axes, results, names, *panel)
        grid[0, 0].set_ylim(len(names) - 0.5, -0.8)
        figure.savefig(path, metadata={"Date": None})


def _panel(
    axes: Axes, results: Results, names: Sequence[str], workload: str, metric: str, title: str
) -> None:
    unit = WORKLOADS[workload].metrics[metric].unit
    axes.set_title(
        f"{title}\n{'more' if unit == '/s' else 'less'} is better", loc="left", fontsize=9
    )
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.set_xscale("log")
    axes.tick_params(which="both", bottom=False, labelbottom=False, left=False)
    axes.set_yticks(range(len(names)), [systems.load(name).title for name in names])
    axes.hlines(range(len(names)), 0, 1, transform=axes.get_yaxis_transform(), colors=_FAINT)
    values: list[float] = []
    for row, name in enumerate(names):
        colour = _OURS if name == "parallax" else _THEIRS
        spread = results.spread(Quantity(name, workload, metric))
        if spread is None:
            continue
        values.append(spread.typical)
        axes.plot([spread.typical], [row], "o", color=colour, markersize=7)
        axes.annotate(
            quantity(spread.typical, unit),
            (spread.typical, row),
            textcoords="offset points",
            xytext=(0, 6),
            ha="center",
            color=colour,
        )
    if values:
        margin = max((max(values) / min(values)) ** 0.15, 1.2)
        axes.set_xlim(min(values) / margin, max(values) * margin)
