"""Scores against all evaluations, a panel per model: what remains readable where many samplers follow many energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.images.figures import CHAIN_COLOURS, RIVAL_COLOURS
from bench.report.comparisons import counted, step_text
from bench.report.figures import INK, THOUSANDS, figure_of, legend_above, plain_axes, wrapped
from bench.report.tables import marked_scores
from bench.report.text import arrow, readout_name
from bench.results.sources import records, source_of

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["draw_panels", "plain_numbers", "wide_scale"]

_ACROSS = 3
_MARKERS = "osD^vPX*"
_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def draw_panels(section: Section, metric: str) -> Drawn | None:
    """Draw a panel per model with an energy, a line per sampler and target; None where no chain has a score.

    Evaluations with and without gradient count alike, so that samplers that only accept or reject stand beside the others. The base
    alone is dotted, exact samples are stars at the work that they took.
    """
    rows = [row for row in records(counted(marked_scores(section)[0])) if row.metric == metric and not row.mark]
    chains = [row for row in rows if row.steps]
    labels = list(dict.fromkeys(row.label for row in chains))
    if not labels:
        return None
    looks, down = _looks(chains), -(-len(labels) // _ACROSS)
    figure = figure_of(9.8, 2.6 * down)
    panels = list(figure.subplots(down, min(_ACROSS, len(labels)), squeeze=False, sharex=True, sharey=True).flat)
    for empty in panels[len(labels) :]:
        empty.set_visible(False)
    handles: dict[str, Line2D] = {}
    for panel, label in zip(panels, labels, strict=False):
        handles |= _draw_model(panel, [row for row in rows if row.label == label], looks, chains)
        panel.set_title(wrapped(label, 40), loc="left", fontsize=10, color=INK)
        panel.set_xscale("log")
        plain_axes(panel)
        panel.xaxis.set_major_formatter(THOUSANDS)
    for place, panel in enumerate(panels[: len(labels)]):
        if place + _ACROSS >= len(labels):
            panel.set_xlabel("evaluations per sample", fontsize=10, color=INK)
            panel.tick_params(labelbottom=True)
        if place % _ACROSS == 0:
            panel.set_ylabel(arrow(metric), fontsize=10, color=INK)
    wide_scale(panels[0], [row.mean for row in rows if row.label in labels])
    legend_above(figure, handles)
    return figure


def wide_scale(panel: Axes, values: Sequence[float]) -> None:
    """Make the vertical axis logarithmic, with plain numbers, where positive values spread over more than a factor of 8."""
    if not values or min(values) <= 0 or max(values) < 8 * min(values):
        return
    panel.set_yscale("log")
    panel.set_ylim(0.8 * min(values), 1.25 * max(values))
    plain_numbers(panel.yaxis)


def plain_numbers(axis: Axis) -> None:
    """Give a logarithmic axis ticks at 1, 2 and 5 of every decade, written out."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(_PLAIN)
    axis.set_minor_formatter(NullFormatter())


def _name(row: Any, chains: Sequence[Any]) -> str:
    return readout_name(row.sampler, row.beta) + step_text(source_of(row), map(source_of, chains))


def _looks(chains: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return colour and marker by sampler and target, the same in every panel."""
    colours = (*CHAIN_COLOURS, *RIVAL_COLOURS)
    names = dict.fromkeys(_name(row, chains) for row in chains)
    return {
        name: {"color": colours[i % len(colours)], "marker": _MARKERS[i % len(_MARKERS)]}
        for i, name in enumerate(names)
    }


def _draw_model(
    panel: Axes, rows: Sequence[Any], looks: Mapping[str, Mapping[str, Any]], chains: Sequence[Any]
) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    for name, look in looks.items():
        own = sorted((row for row in rows if row.steps and _name(row, chains) == name), key=_work)
        if own:
            (handles[name],) = panel.plot(
                [*map(_work, own)], [row.mean for row in own], markersize=4, linewidth=1.3, **look
            )
    for beta in dict.fromkeys(row.beta for row in rows if row.sampler == "exact"):
        exact = [row for row in rows if row.sampler == "exact" and row.beta == beta]
        fill = "#000000" if beta == 1 else "none"
        style: dict[str, Any] = {"marker": "*", "color": "#000000", "markerfacecolor": fill, "linestyle": ""}
        (handles[readout_name("exact", beta)],) = panel.plot(
            [_work(exact[0])], [exact[0].mean], markersize=10, zorder=4, **style
        )
    base = [row.mean for row in rows if row.sampler == "base"]
    if base:
        handles["base alone"] = panel.axhline(fmean(base), color="#000000", linestyle=":", linewidth=1.2)
    return handles


def _work(row: Any) -> int:
    return max(1, (row.gradient_evaluations or 0) + (row.forward_evaluations or 0))
