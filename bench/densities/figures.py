"""Pictures of likelihoods: a line a model, and a corner plot of data against two models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bench.densities.blocks import matched_flow
from bench.report.chapters import Chapter
from bench.report.plots import Chart, figure_of, plain_axes
from bench.results.facts import LikelihoodFacts
from bench.results.scores import NOT_COUNTED

__all__ = ["corner_chart", "likelihood_chart"]

_EXACT, _ESTIMATED, _DATA = "#0072B2", "#D55E00", "#666666"
_FEATURES = 4
_POINTS, _DATA_POINTS = 1500, 400


def likelihood_chart(chapter: Chapter, width: float = 7.6) -> Chart | None:
    """Log-likelihood of every model with its interval over seeds, of a GEBM the bracket too; None without one."""
    means = {
        row.label: row
        for row in chapter.rows
        if row.metric == "log-likelihood" and row.mean is not None and row.status not in NOT_COUNTED
    }
    lower = {
        row.label: row.mean
        for row in chapter.rows
        if row.metric == "log-likelihood-lower" and row.status not in NOT_COUNTED
    }
    if not means:
        return None
    ranked = sorted(means.values(), key=lambda row: row.mean or 0.0)
    figure = figure_of(width, 0.9 + 0.34 * len(ranked))
    panel = figure.subplots()
    for place, row in enumerate(ranked):
        mean = row.mean or 0.0
        colour = _ESTIMATED if row.label in lower else _EXACT
        if row.ci_low is not None and row.ci_high is not None:
            panel.plot([row.ci_low, row.ci_high], [place, place], color=colour, linewidth=1.6)
        if (end := lower.get(row.label)) is not None:
            panel.plot([end, mean], [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        panel.plot(mean, place, color=colour, marker="D" if row.label in lower else "o", markersize=5)
    panel.set_yticks(range(len(ranked)), [row.label for row in ranked])
    panel.set_xlabel("held-out log-likelihood, nats a row (higher is better)", fontsize=10)
    plain_axes(panel)
    panel.grid(axis="x", color="#E4E4E4")
    panel.grid(axis="y", visible=False)
    handles = {
        "exact": Line2D([], [], color=_EXACT, marker="o"),
        "estimated, with its bracket": Line2D([], [], color=_ESTIMATED, marker="D"),
    }
    return Chart(figure, handles if lower else {"exact": handles["exact"]})


def corner_chart(chapter: Chapter, width: float = 7.6) -> Chart | None:
    """The first features of held-out rows against samples: below the diagonal of the flow that GEBMs stand on, above of a GEBM on it.

    Of the first seed; None without both.
    """
    flow, gebm = matched_flow(chapter), _best_gebm(chapter)
    if flow is None or gebm is None:
        return None
    below, above = _first(chapter, flow), _first(chapter, gebm)
    parts = [_rows(path) for path in (below.data, below.samples, above.samples)]
    if any(part is None for part in parts):
        return None
    data, drawn, reweighted = (part[:_POINTS] for part in parts if part is not None)
    count = min(_FEATURES, data.shape[1])
    figure = figure_of(width, width)
    panels = figure.subplots(count, count, squeeze=False)
    limits = [_limits(data[:, column]) for column in range(count)]
    for line in range(count):
        for column in range(count):
            panel = panels[line][column]
            if line == column:
                _histograms(panel, (data[:, line], drawn[:, line], reweighted[:, line]), limits[line])
            else:
                samples, colour = (drawn, _EXACT) if line > column else (reweighted, _ESTIMATED)
                for points, ink, size in ((samples, colour, 2), (data[:_DATA_POINTS], _DATA, 4)):
                    panel.scatter(
                        points[:, column], points[:, line], s=size, color=ink, alpha=0.45, linewidths=0, rasterized=True
                    )
                panel.set_xlim(limits[column])
                panel.set_ylim(limits[line])
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_color("#999999")
    for column in range(count):
        panels[-1][column].set_xlabel(below.features[column], fontsize=10)
        panels[column][0].set_ylabel(below.features[column], fontsize=10)
    handles = {
        "held-out data": Line2D([], [], color=_DATA),
        f"{flow}, below the diagonal": Line2D([], [], color=_EXACT),
        f"{gebm}, above": Line2D([], [], color=_ESTIMATED),
    }
    return Chart(figure, handles)


def _best_gebm(chapter: Chapter) -> str | None:
    """The learned GEBM of the highest mean likelihood."""
    learned = {label for label, runs in chapter.networks.items() if any("energy" in run.parameters for run in runs)}
    rows = [
        row for row in chapter.rows if row.metric == "log-likelihood" and row.label in learned and row.mean is not None
    ]
    return max(rows, key=lambda row: row.mean or 0.0).label if rows else None


def _first(chapter: Chapter, label: str) -> LikelihoodFacts:
    """Of the first seed."""
    found = [(run.seed, run.likelihood) for run in chapter.networks[label] if run.likelihood is not None]
    return min(found, key=lambda pair: pair[0])[1]


def _rows(path: Path) -> NDArray[np.float64] | None:
    """Rows of a table, or None where the file is absent or damaged: a picture is no reason to fail."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return rows.astype(np.float64) if rows.ndim == 2 and len(rows) else None


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Where nearly all of the data are, with some room."""
    low, high = np.quantile(values, [0.005, 0.995])
    room = 0.1 * (high - low) or 1.0
    return float(low - room), float(high + room)


def _histograms(panel: Axes, columns: Sequence[NDArray[np.float64]], limits: tuple[float, float]) -> None:
    edges = np.linspace(*limits, 31)
    for values, colour in zip(columns, (_DATA, _EXACT, _ESTIMATED), strict=True):
        heights, _ = np.histogram(values, edges)
        panel.stairs(heights / max(len(values), 1), edges, color=colour, linewidth=1.2)
    panel.set_xlim(limits)
