"""Figures about chains: error and R-hat against cost for every sampler, and errors of objectives × samplers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.chains.blocks import LAWS, betas_of, largest_budget, models_of, samplers_of, usable
from bench.report.plots import Chart, chart_png, figure_of, plain_axes
from bench.report.text import beta_name
from bench.results.summary import SummaryRow

__all__ = ["objectives_chart", "objectives_figure", "trade_off_chart", "trade_off_figure"]

FORWARD_COST = 0.5  # as `bench.chains.cost` counts, which needs torch
_PANELS = {
    "mean-error[E]": "error of the mean of E (true std. dev.)",
    "variance-error[z]": "error of the latents' variances",
    "rhat": "R-hat − 1",
}
_COLOURS = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8B6F00",
    "#5E3C99",
    "#000000",
    "#999999",
    "#B22222",
)
_MARKERS = "osD^vP*X<>h"


def trade_off_figure(rows: Sequence[SummaryRow]) -> bytes | None:
    """The chart of error and R-hat against cost with its legend, as PNG; None where there is none."""
    return chart_png(trade_off_chart(rows))


def objectives_figure(rows: Sequence[SummaryRow]) -> bytes | None:
    """The chart of objectives × samplers with its legend, as PNG; None where there is none."""
    return chart_png(objectives_chart(rows))


def trade_off_chart(rows: Sequence[SummaryRow]) -> Chart | None:
    """A line a sampler, a row of panels for each target; None with several models or a single budget."""
    rows = [row for row in usable(rows) if row.status != "collapsed"]
    betas = betas_of(rows)
    samplers = [name for name in samplers_of(rows) if name not in LAWS]
    lengths = {name: {row.steps for row in rows if row.sampler == name} for name in samplers}
    if len(models_of(rows)) != 1 or not betas or max(map(len, lengths.values())) < 2:
        return None
    figure = figure_of(10.5, 3.1 * len(betas))
    panels = figure.subplots(len(betas), len(_PANELS), squeeze=False)
    handles: dict[str, Line2D] = {}
    for line, beta in zip(panels, betas, strict=True):
        for panel, (metric, title) in zip(line, _PANELS.items(), strict=True):
            own = [row for row in rows if row.metric == metric and row.beta == beta]
            for i, name in enumerate(samplers):
                points = sorted((_cost(row), row.mean or 0.0) for row in own if row.sampler == name)
                if points:
                    handles[name] = _curve(panel, points, i, less=float(metric == "rhat"))
            for row in own:
                if row.sampler == "reference":
                    handles[LAWS["reference"]] = panel.axhline(
                        row.mean or 0.0, color="#777777", linestyle="--", linewidth=1.2
                    )
            if metric == "rhat":
                handles["R-hat 1.01"] = panel.axhline(0.01, color="#777777", linestyle=":", linewidth=1.2)
            _logarithmic(panel)
            if beta == betas[0]:
                panel.set_title(title, loc="left", fontsize=9)
        line[0].set_ylabel(beta_name(beta), fontsize=10)
    for panel in panels[-1]:
        panel.set_xlabel("gradient equivalents a chain, warm-up included", fontsize=9)
    return Chart(figure, handles)


def _cost(row: SummaryRow) -> float:
    return (row.gradient_evaluations or 0) + FORWARD_COST * (row.forward_evaluations or 0)


def _curve(panel: Axes, points: Sequence[tuple[float, float]], i: int, less: float) -> Line2D:
    x, y = np.array(points).T
    (line,) = panel.plot(
        x,
        np.maximum(y - less, 1e-4),
        color=_COLOURS[i % len(_COLOURS)],
        marker=_MARKERS[i % len(_MARKERS)],
        markersize=4.5,
        linewidth=1.4,
        linestyle="-" if i < 6 else "--",
    )
    return line


def _logarithmic(panel: Axes) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    costs = sorted({round(float(x)) for line in panel.lines for x in np.atleast_1d(line.get_xdata()) if x > 1})
    apart = [cost for i, cost in enumerate(costs) if not i or cost > 1.3 * costs[i - 1]]
    panel.set_xticks(apart)
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.minorticks_off()
    _readable(panel)


def _readable(panel: Axes) -> None:
    """Labels at 1, 2 and 5 of every decade of a logarithmic height."""
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    plain_axes(panel)


def objectives_chart(rows: Sequence[SummaryRow]) -> Chart | None:
    """Samplers side by side, a mark for each objective, a panel for each error; None with one model."""
    rows = [row for row in largest_budget(rows) if row.status != "collapsed"]
    models = models_of(rows)
    metrics = [
        m for m in ("sliced-wasserstein", "mean-error[E]", "variance-error[z]") if any(r.metric == m for r in rows)
    ]
    samplers = samplers_of(rows)
    if len(models) < 2 or not metrics:
        return None
    figure = figure_of(10.5, 3.4)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    handles: dict[str, Line2D] = {}
    for panel, metric in zip(panels, metrics, strict=True):
        names = [name for name in samplers if any(r.metric == metric and r.sampler == name for r in rows)]
        for i, model in enumerate(models):
            values = {row.sampler: row.mean for row in rows if row.metric == metric and row.label == model}
            places = [
                (j + 0.16 * (i - (len(models) - 1) / 2), values[name]) for j, name in enumerate(names) if name in values
            ]
            x, y = np.array(places).T
            (handles[model],) = panel.plot(
                x, y, _MARKERS[i % len(_MARKERS)], color=_COLOURS[i % len(_COLOURS)], markersize=6
            )
        panel.set_yscale("log")
        panel.set_xticks(
            range(len(names)), [{"resampled": "no chain"}.get(name, name) for name in names], rotation=35, ha="right"
        )
        panel.set_title(f"{metric}, lower is better", loc="left", fontsize=10)
        _readable(panel)
    return Chart(figure, handles)
