"""Figures of likelihoods: a line per model, and a corner plot of data against two models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bench.files import CorruptFileError, read_array
from bench.report.blocks import Figure
from bench.report.figures import figure_of, legend_above, plain_axes

if TYPE_CHECKING:
    from bench.densities.comparisons import Likelihoods

__all__ = ["corner_figure", "likelihood_figure"]

_EXACT, _ESTIMATED, _DATA = "#0072B2", "#D55E00", "#666666"
_FEATURES, _POINTS, _DATA_POINTS = 4, 1500, 400


def likelihood_figure(found: Likelihoods) -> Figure:
    """Return the log-likelihood of every model with its interval over seeds, of a GEBM the bracket too."""
    text = f"Log-likelihood of every model on {found.section.dataset}"
    return Figure("Held-out log-likelihood", "likelihood", text, lambda: _likelihoods(found))


def corner_figure(found: Likelihoods) -> Figure:
    """Return samples of the flow that GEBMs stand on, and of a GEBM on it, against data."""
    title = "Samples against data, feature by feature, first seed"
    text = f"Samples of two models against data on {found.section.dataset}, feature by feature"
    return Figure(title, "corner", text, lambda: _corner(found), raster=True)


def _likelihoods(found: Likelihoods) -> Drawn | None:
    """Draw a line per model, the best on top; None without a likelihood."""
    lower = found.rows.get("log-likelihood-lower", {})
    ranked = sorted(found.rows.get("log-likelihood", {}).values(), key=lambda row: row.mean)
    if not ranked:
        return None
    figure = figure_of(7.6, 0.9 + 0.34 * len(ranked))
    panel = figure.subplots()
    for place, row in enumerate(ranked):
        colour, marker = (_ESTIMATED, "D") if row.label in lower else (_EXACT, "o")
        if row.ci_low is not None:
            panel.plot([row.ci_low, row.ci_high], [place, place], color=colour, linewidth=1.6)
        if row.label in lower:
            bracket = [lower[row.label].mean, row.mean]
            panel.plot(bracket, [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        panel.plot(row.mean, place, color=colour, marker=marker, markersize=5)
    panel.set_yticks(range(len(ranked)), [row.label for row in ranked])
    panel.set_xlabel("held-out log-likelihood, nats per row (higher is better)", fontsize=10)
    plain_axes(panel)
    panel.grid(axis="x", color="#E4E4E4")
    panel.grid(axis="y", visible=False)
    handles = {"exact": Line2D([], [], color=_EXACT, marker="o")}
    if lower:
        handles["estimated, with its bracket"] = Line2D([], [], color=_ESTIMATED, marker="D")
    legend_above(figure, handles)
    return figure


def _corner(found: Likelihoods) -> Drawn | None:
    """Draw the first features of held-out rows against samples of the first seed: the flow below the diagonal, the GEBM above.

    None without both.
    """
    flow, gebm = found.matched_flow, _best_gebm(found)
    if flow is None or gebm is None:
        return None
    below, above = found.by_label[flow][0], found.by_label[gebm][0]
    parts = [_rows(row.arrays.get(name)) for row, name in ((below, "data"), (below, "samples"), (above, "samples"))]
    data, drawn, reweighted = (None if part is None else part[:_POINTS] for part in parts)
    if data is None or drawn is None or reweighted is None:
        return None
    features = below.row["likelihood"]["features"][: min(_FEATURES, data.shape[1])]
    figure = figure_of(7.6, 7.6)
    panels = figure.subplots(len(features), len(features), squeeze=False)
    low, high = np.quantile(data[:, : len(features)], [0.005, 0.995], axis=0)  # where nearly all of the data are
    room = np.where(high > low, 0.1 * (high - low), 1.0)
    low, high = low - room, high + room
    for (line, column), panel in np.ndenumerate(panels):
        panel.set_xlim(low[column], high[column])
        if line == column:
            edges = np.linspace(low[line], high[line], 31)
            for points, ink in ((data, _DATA), (drawn, _EXACT), (reweighted, _ESTIMATED)):
                heights, _ = np.histogram(points[:, line], edges)
                panel.stairs(heights / len(points), edges, color=ink, linewidth=1.2)
        else:
            samples, colour = (drawn, _EXACT) if line > column else (reweighted, _ESTIMATED)
            for points, ink, size in ((samples, colour, 2), (data[:_DATA_POINTS], _DATA, 4)):
                panel.scatter(points[:, column], points[:, line], s=size, color=ink, alpha=0.45, linewidths=0)
            panel.set_ylim(low[line], high[line])
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_color("#999999")
    for column, name in enumerate(features):
        panels[-1][column].set_xlabel(name, fontsize=10)
        panels[column][0].set_ylabel(name, fontsize=10)
    names = {"held-out data": _DATA, f"{flow}, below the diagonal": _EXACT, f"{gebm}, above": _ESTIMATED}
    legend_above(figure, {name: Line2D([], [], color=colour) for name, colour in names.items()})
    return figure


def _best_gebm(found: Likelihoods) -> str | None:
    """Return the learned GEBM of the highest mean likelihood; one whose log Z is known is there to calibrate."""
    learned = [
        row
        for label, row in found.rows.get("log-likelihood", {}).items()
        if label in found.by_label and any(each.get("known") is None for each in found.partitions(label))
    ]
    return max(learned, key=lambda row: row.mean).label if learned else None


def _rows(path: str | Path | None) -> NDArray[np.float64] | None:
    """Return the rows of a table, or None where the file is absent or damaged: a picture is no reason to fail."""
    try:
        rows = read_array(path or "")
    except (OSError, CorruptFileError):
        return None
    return rows.astype(np.float64) if rows.ndim == 2 and len(rows) else None
