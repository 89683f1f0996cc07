"""Figures about chains: error and R-hat against cost for every sampler, and errors of objectives × samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.chains.cost import gradient_equivalents
from bench.chains.rows import LAWS, betas_of, largest_budget, models_of, samplers_of
from bench.report.blocks import Figure
from bench.report.comparisons import counted
from bench.report.figures import THOUSANDS, figure_of, legend_above, plain_axes
from bench.report.text import beta_name
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["objectives_figure", "trade_off_figure"]

_PANELS = {
    "mean-error[E]": "error of the mean of E (true std. dev.)",
    "variance-error[z]": "error of the latents' variances",
    "rhat": "R-hat − 1",
}
_ERRORS = ("sliced-wasserstein", "mean-error[E]", "variance-error[z]")
_COLOURS = (
    *("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#8B6F00", "#5E3C99", "#000000", "#999999", "#B22222"),
)
_MARKERS = "osD^vP*X<>h"


def trade_off_figure(section: Section) -> Figure:
    """Return error and R-hat against cost, where one model's chains were judged at several budgets."""
    text = f"Error of the chains' means and R-hat against cost on {section.dataset}, a line per sampler"

    def draw() -> Drawn | None:
        return _trade_off([row for row in records(counted(section.summary)) if row.status != "collapsed"])

    return Figure("Error and R-hat against cost", "trade-off", text, draw)


def objectives_figure(section: Section) -> Figure:
    """Return the errors of objectives × samplers, where there are several objectives."""
    title = "Error against truth, objective by objective"
    text = f"Errors of every sampler under every objective on {section.dataset}"
    return Figure(title, "errors", text, lambda: _objectives(largest_budget(section.summary)))


def _trade_off(rows: Sequence[Any]) -> Drawn | None:
    """Draw a line per sampler, a row of panels per target; None with several models or a single budget."""
    betas = betas_of(rows)
    samplers = [name for name in samplers_of(rows) if name not in LAWS]
    budgets = max((len({row.steps for row in rows if row.sampler == name}) for name in samplers), default=0)
    if len(models_of(rows)) != 1 or not betas or budgets < 2:
        return None
    figure = figure_of(10.5, 3.1 * len(betas))
    panels = figure.subplots(len(betas), len(_PANELS), squeeze=False)
    handles: dict[str, Line2D] = {}
    for line, beta in zip(panels, betas, strict=True):
        for panel, (metric, title) in zip(line, _PANELS.items(), strict=True):
            own = [row for row in rows if row.metric == metric and row.beta == beta]
            handles |= _trade_off_panel(panel, own, samplers, metric)
            if beta == betas[0]:
                panel.set_title(title, loc="left", fontsize=9)
        line[0].set_ylabel(beta_name(beta), fontsize=10)
    for panel in panels[-1]:
        panel.set_xlabel("gradient equivalents per chain, warm-up included", fontsize=9)
    legend_above(figure, handles)
    return figure


def _trade_off_panel(panel: Axes, rows: Sequence[Any], samplers: Sequence[str], metric: str) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    less = float(metric == "rhat")
    for i, name in enumerate(samplers):
        points = sorted((gradient_equivalents(row), max(row.mean - less, 1e-4)) for row in rows if row.sampler == name)
        if points:
            style: dict[str, Any] = {"color": _COLOURS[i % 11], "marker": _MARKERS[i % 11], "linewidth": 1.4}
            style["linestyle"] = "-" if i < 6 else "--"
            (handles[name],) = panel.plot(*zip(*points, strict=True), markersize=4.5, **style)
    for row in rows:
        if row.sampler == "reference":
            handles[LAWS["reference"]] = panel.axhline(row.mean, color="#777777", linestyle="--", linewidth=1.2)
    if metric == "rhat":
        handles["R-hat 1.01"] = panel.axhline(0.01, color="#777777", linestyle=":", linewidth=1.2)
    panel.set_xscale("log")
    costs = sorted({round(float(x)) for line in panel.lines for x in np.atleast_1d(line.get_xdata()) if x > 1})
    panel.set_xticks([cost for i, cost in enumerate(costs) if not i or cost > 1.3 * costs[i - 1]])  # that leave room
    panel.xaxis.set_major_formatter(THOUSANDS)
    panel.minorticks_off()
    _heights(panel)
    return handles


def _heights(panel: Axes) -> None:
    """Label 1, 2 and 5 of every decade of a logarithmic height."""
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    plain_axes(panel)


def _objectives(rows: Sequence[Any]) -> Drawn | None:
    """Draw samplers side by side, a mark per objective, a panel per error; None with one model."""
    rows = [row for row in rows if row.status != "collapsed"]
    models = models_of(rows)
    metrics = [metric for metric in _ERRORS if any(row.metric == metric for row in rows)]
    if len(models) < 2 or not metrics:
        return None
    figure = figure_of(10.5, 3.4)
    handles: dict[str, Line2D] = {}
    for panel, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        own = {(row.label, row.sampler): row.mean for row in rows if row.metric == metric}
        names = samplers_of(row for row in rows if row.metric == metric)
        for i, model in enumerate(models):
            shift = 0.16 * (i - (len(models) - 1) / 2)
            points = [(j + shift, own[model, name]) for j, name in enumerate(names) if (model, name) in own]
            if points:
                style: dict[str, Any] = {"marker": _MARKERS[i % 11], "color": _COLOURS[i % 11], "linestyle": ""}
                (handles[model],) = panel.plot(*zip(*points, strict=True), markersize=6, **style)
        shown = ["no chain" if name == "resampled" else name for name in names]
        panel.set_xticks(range(len(names)), shown, rotation=35, ha="right")
        panel.set_title(f"{metric}, lower is better", loc="left", fontsize=10)
        _heights(panel)
    legend_above(figure, handles)
    return figure
