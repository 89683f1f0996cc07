"""The history to look at: a line a benchmark with a sparkline for the terminal, and a figure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.track.changepoints import Step, steps
from bench.track.history import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "sparkline", "stretches", "summary"]

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # points of a sparkline, the latest ones


def sparkline(values: Sequence[float]) -> str:
    """A block a value, from the lowest to the highest of them; flat in the middle where all are alike.

    Example:
        >>> sparkline([1.0, 2.0, 8.0])
        '▁▂█'
    """
    low, high = min(values), max(values)
    if high == low:
        return BLOCKS[3] * len(values)
    return "".join(BLOCKS[round((value - low) / (high - low) * (len(BLOCKS) - 1))] for value in values)


def stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Runs of points of one version of the benchmark: what can be compared."""
    return [list(run) for _, run in itertools.groupby(points, key=lambda point: point.version)]


def summary(name: str, points: Sequence[Point]) -> list[str]:
    """A benchmark in a line, and a line a step since its own code last changed."""
    current = stretches(points)[-1]
    rates = [point.rate for point in current]
    lines = [f"{name}  {sparkline(rates[-WIDTH:])}  {rates[-1]:,.4g} {current[-1].unit}/s  ({len(current)} points)"]
    lines += [
        f"    {step.change:+.0%} at {current[step.at].commit[:12]} (p = {step.p_value:.2g})" for step in steps(rates)
    ]
    return lines


def draw(machine: str, series: Mapping[str, Sequence[Point]], path: Path) -> None:
    """A panel a benchmark: units a second along the commits, steps as vertical lines, a gap where the benchmark's own code changed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(2, len(series))
    rows = -(-len(series) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.5 * columns, 2.2 * rows), squeeze=False, layout="constrained")
    for place, (name, points) in zip(axes.flat, series.items(), strict=False):
        panel(place, name, points)
    for place in axes.flat[len(series) :]:
        place.set_visible(False)
    figure.suptitle(f"Throughput on {machine}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def panel(axes: Axes, name: str, points: Sequence[Point]) -> None:
    """One benchmark."""
    start = 0
    for run in stretches(points):
        places, rates = range(start, start + len(run)), [point.rate for point in run]
        axes.plot(places, rates, marker="o", markersize=3, linewidth=1, color="tab:blue")
        for step in steps(rates):
            axes.axvline(start + step.at - 0.5, color=colour(step), linewidth=1)
            axes.annotate(f"{step.change:+.0%}", (start + step.at - 0.5, max(rates)), fontsize=7, color=colour(step))
        start += len(run)
    axes.set_title(name, fontsize=9)
    axes.set_ylabel(f"{points[-1].unit}/s", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    shown = range(0, len(points), max(1, len(points) // 6))
    axes.set_xticks(list(shown), [points[index].commit[:7] for index in shown])


def colour(step: Step) -> str:
    """Slower is red, faster is green."""
    return "tab:red" if step.change < 0 else "tab:green"
