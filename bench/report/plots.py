"""The report's figures: score against gradient evaluations, sample sheets, training curves; drawn once, as PNG bytes or as a `Chart`.

Figures are objects of their own on the Agg canvas; pyplot and its global state are never touched. Colours are those of
Okabe and Ito, which stay apart for colour-blind readers; dashes carry the same information in black and white.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from bench.report.curves import Curve, median_bins
from bench.report.rows import Keys, read_keys
from bench.report.text import arrow, beta_name
from bench.results.facts import DATA
from bench.results.scores import NOT_COUNTED
from bench.results.summary import SummaryRow

__all__ = [
    "DPI",
    "INK",
    "Chart",
    "SampleRow",
    "chart_png",
    "curves_chart",
    "curves_figure",
    "figure_of",
    "legend_above",
    "plain_axes",
    "png_of",
    "samples_figure",
    "score_chart",
    "score_figure",
    "sheet_png",
]

INK = "#333333"
"""Colour of all texts."""

DPI = 150
"""Pixels an inch of every picture."""

_CHAINS = ("#D55E00", "#0072B2", "#E69F00", "#56B4E9")
_RIVALS = ("#009E73", "#CC79A7", "#8B6F00", "#5E3C99")
_OWN_BASE, _REAL, _GRID = "#000000", "#666666", "#E4E4E4"
_DASHES = ("--", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (3, 3)))
_MARKERS = "osD^"
_CHAIN_DASHES = ("-", "--", ":", "-.")  # for every four chains, whose colours come round again
_CAPTION_WIDTH = 940  # pixels that the longest usual caption of a sheet needs
_STYLE: dict[str, Any] = {"fontsize": 10, "color": INK}


@dataclass(frozen=True)
class SampleRow:
    """Images of one readout: uint8, shape (n, channels, height, width)."""

    title: str
    images: NDArray[np.uint8]


@dataclass(frozen=True)
class Chart:
    """A figure whose legend is not drawn yet: what each line stands for, by its name."""

    figure: Figure
    handles: Mapping[str, Line2D]


def score_figure(rows: Sequence[SummaryRow], metrics: Sequence[str]) -> bytes | None:
    """The chart of these metrics with its legend, as PNG; None where no chain has a score."""
    single = len(metrics) == 1
    columns = min(2, len(metrics))
    size = (7.6, 4.4) if single else (9.6, 2.9 * -(-len(metrics) // columns))
    return chart_png(score_chart(rows, metrics, size, columns))


def score_chart(
    rows: Sequence[SummaryRow], metrics: Sequence[str], size: tuple[float, float], columns: int = 1
) -> Chart | None:
    """Score against gradient evaluations per sample, a panel for each metric; None where no chain has a score.

    Chains start at their own base (0 evaluations); bases, GANs and real data are horizontal. Bands are 95 % intervals
    over seeds, clipped where few seeds make them taller than everything else.
    """
    keys = read_keys(rows)
    shown = [
        row
        for row in rows
        if row.metric in metrics and row.mean is not None and row.status not in NOT_COUNTED
        if keys.is_main(row) or row.sampler == DATA
    ]
    if not any(row.steps for row in shown):
        return None
    figure = figure_of(*size)
    panels = figure.subplots(-(-len(metrics) // columns), columns, squeeze=False)
    handles: dict[str, Line2D] = {}
    colours = _Colours(shown)
    for panel, metric in zip(panels.flat, metrics, strict=False):
        handles |= _score_panel(panel, [row for row in shown if row.metric == metric], colours, keys)
    for empty in list(panels.flat)[len(metrics) :]:
        empty.set_visible(False)
    for panel in list(panels.flat)[: len(metrics)][-columns:]:
        panel.set_xlabel("gradient evaluations per sample", **_STYLE)
    return Chart(figure, handles)


def chart_png(chart: Chart | None) -> bytes | None:
    """A chart with its legend, as PNG; None for None."""
    if chart is None:
        return None
    if chart.handles:
        legend_above(chart.figure, chart.handles)
    return png_of(chart.figure)


def legend_above(figure: Figure, handles: Mapping[str, Line2D]) -> None:
    """Above the panels, in as many columns as fit; the figure grows by what the legend needs."""
    width, height = figure.get_size_inches()
    columns = max(1, int(width / (0.6 + 0.075 * max(len(name) for name in handles))))
    figure.set_size_inches(width, height + 0.2 * -(-len(handles) // columns))
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=columns, frameon=False, fontsize=9,
        labelcolor=INK,
    )  # fmt: skip


class _Colours:
    """Who is drawn how: fixed by the order in which readouts first appear, so that all panels agree."""

    def __init__(self, rows: Sequence[SummaryRow]) -> None:
        self.chains = list(dict.fromkeys(_chain_of(row) for row in rows if row.steps))
        with_chains = {row.label for row in rows if row.steps}
        bases = [row.label for row in rows if row.sampler == "base"]
        self.own = [label for label in dict.fromkeys(bases) if label in with_chains]
        self.rivals = [label for label in dict.fromkeys(bases) if label not in with_chains]

    def chain_name(self, chain: tuple[str, str, float, float]) -> str:
        """Short where nothing is ambiguous."""
        label, sampler, beta, step = chain
        name = f"{label}, {sampler}, {beta_name(beta)}"
        same = [other for other in self.chains if other[:3] == chain[:3]]
        return f"{name}, step {step:g}" if len(same) > 1 else name


def _chain_of(row: SummaryRow) -> tuple[str, str, float, float]:
    return (row.label, row.sampler or "", row.beta or 0.0, row.step_size or 0.0)


def _score_panel(panel: Axes, rows: Sequence[SummaryRow], colours: _Colours, keys: Keys) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    bases = {row.label: row for row in rows if row.sampler == "base"}
    for i, chain in enumerate(colours.chains):
        points = sorted(
            (row for row in rows if row.steps and _chain_of(row) == chain),
            key=lambda row: row.gradient_evaluations or 0,
        )
        if points:
            start = [bases[chain[0]]] if chain[0] in bases else []
            handles[colours.chain_name(chain)] = _chain_line(panel, [*start, *points], i, len(colours.chains))
    for i, label in enumerate(colours.own):
        if label in bases:
            handles[f"{label}, base alone"] = _level(panel, bases[label], _OWN_BASE, (":", (0, (1, 4)))[i % 2])
    for i, label in enumerate(colours.rivals):
        if label in bases:
            handles[label] = _level(panel, bases[label], _RIVALS[i % len(_RIVALS)], _DASHES[i % len(_DASHES)])
    for row in rows:
        if row.sampler == DATA:
            handles["real data, held out" + ("" if keys.is_main(row) else " (other score key)")] = _level(
                panel, row, _REAL, "-"
            )
    _dress(panel, rows)
    return handles


def _chain_line(panel: Axes, points: Sequence[SummaryRow], i: int, chains: int) -> Line2D:
    """The line of chain number `i` with its band, fainter where the bands of many chains lie on each other."""
    colour = _CHAINS[i % len(_CHAINS)]
    x = [row.gradient_evaluations or 0 for row in points]
    (line,) = panel.plot(
        x,
        [row.mean or 0.0 for row in points],
        color=colour,
        marker=_MARKERS[i % len(_MARKERS)],
        markersize=5,
        linewidth=1.8,
        linestyle=_CHAIN_DASHES[i // len(_CHAINS) % len(_CHAIN_DASHES)],
    )
    sure = [row for row in points if row.ci_low is not None and row.ci_high is not None]
    panel.fill_between(
        [row.gradient_evaluations or 0 for row in sure],
        [row.ci_low or 0.0 for row in sure],
        [row.ci_high or 0.0 for row in sure],
        color=colour,
        alpha=0.16 * min(1.0, 2 / chains),
        linewidth=0,
    )
    return line


def _level(panel: Axes, row: SummaryRow, colour: str, dashes: Any) -> Line2D:
    line = panel.axhline(row.mean or 0.0, color=colour, linewidth=1.5, linestyle=dashes)
    if row.ci_low is not None and row.ci_high is not None:
        panel.axhspan(row.ci_low, row.ci_high, color=colour, alpha=0.06, linewidth=0)
    return line


def _dress(panel: Axes, rows: Sequence[SummaryRow]) -> None:
    """Axes of a score panel: 0 is on the logarithmic axis, and means, not wide intervals, set the height."""
    evaluations = sorted({row.gradient_evaluations or 0 for row in rows if row.steps})
    if evaluations:
        first = max(1, evaluations[0])
        panel.set_xscale("symlog", linthresh=first, linscale=0.6)
        panel.set_xticks([0, *_apart(evaluations)])
        panel.set_xlim(-0.12 * first, evaluations[-1] * 1.25)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        panel.minorticks_off()
    means = [row.mean for row in rows if row.mean is not None]
    if means:
        room = (max(means) - min(means)) or abs(means[0]) or 1.0
        lows = [row.ci_low for row in rows if row.ci_low is not None]
        highs = [row.ci_high for row in rows if row.ci_high is not None]
        bottom = max(min([*means, *lows]), min(means) - 0.6 * room)
        top = min(max([*means, *highs]), max(means) + 0.6 * room)
        panel.set_ylim(bottom - 0.06 * room, top + 0.06 * room)
    metric = rows[0].metric or "" if rows else ""
    better = {"↓": "lower is better", "↑": "higher is better"}.get(arrow(metric)[-1:], "")
    panel.set_title(f"{metric}, {better}" if better else metric, loc="left", **_STYLE)
    plain_axes(panel)


def _apart(ticks: Sequence[int], ratio: float = 1.4) -> list[int]:
    """The ticks that leave room for their labels on a logarithmic axis."""
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick >= ratio * max(kept[-1], 1):
            kept.append(tick)
    return kept


def plain_axes(panel: Axes) -> None:
    """Two spines, a light horizontal grid, small ticks."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("#999999")
    panel.grid(axis="y", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=9, colors=INK)


def samples_figure(rows: Sequence[SampleRow], columns: int = 16, lines: int = 2) -> bytes | None:
    """Sample sheets under each other, pixel by pixel (nearest neighbour, whole factors); None without images.

    Image i of every sheet stands at the same place, so that one latent can be followed down the page.
    """
    rows = [row for row in rows if len(row.images)]
    if not rows:
        return None
    side = max(max(row.images.shape[2:]) for row in rows)
    factor = -(-56 // side)
    sheets = [_sheet(row.images, columns, lines, factor) for row in rows]
    gap, caption = 16, 30
    width = max(_CAPTION_WIDTH, *(sheet.shape[1] for sheet in sheets)) + 2 * gap
    height = sum(sheet.shape[0] + caption + gap for sheet in sheets) + gap
    page = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    top = gap // 2
    for row, sheet in zip(rows, sheets, strict=True):
        figure.text(gap / width, 1 - (top + caption - 8) / height, row.title, fontsize=9, color=INK, va="baseline")
        top += caption
        page[top : top + sheet.shape[0], gap : gap + sheet.shape[1]] = sheet
        top += sheet.shape[0] + gap
    figure.figimage(page, origin="upper", zorder=-1)
    return png_of(figure)


def sheet_png(images: NDArray[np.uint8], columns: int = 8, lines: int = 4) -> bytes:
    """The first columns × lines images as a PNG of their own size, one transparent pixel between them."""
    colour = _sheet(images, columns, lines, factor=1, gap=1)
    opaque = _sheet(np.full_like(images, 255), columns, lines, factor=1, gap=1, blank=0)[..., :1]
    buffer, undated = io.BytesIO(), dict[str, Any](Software=None)
    imsave(buffer, np.concatenate([colour, opaque], axis=2), format="png", metadata=undated)
    return buffer.getvalue()


def _sheet(
    images: NDArray[np.uint8], columns: int, lines: int, factor: int, gap: int = 5, blank: int = 255
) -> NDArray[np.uint8]:
    """Tile up to columns × lines images, each pixel `factor` wide, with gaps into (height, width, 3)."""
    chosen = images[: columns * lines]
    chosen = chosen.repeat(factor, axis=2).repeat(factor, axis=3)
    if chosen.shape[1] == 1:
        chosen = chosen.repeat(3, axis=1)
    n, _, height, width = chosen.shape
    extent = (-(-n // columns) * (height + gap) - gap, min(n, columns) * (width + gap) - gap, 3)
    sheet = np.full(extent, blank, np.uint8)
    for i, image in enumerate(chosen[:, :3]):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = image.transpose(1, 2, 0)
    return sheet


def curves_figure(curves: Mapping[str, Sequence[Curve]]) -> bytes | None:
    """The chart of all models' losses, as PNG; None without losses."""
    chart = curves_chart(curves)
    return None if chart is None else png_of(chart.figure)


def curves_chart(curves: Mapping[str, Sequence[Curve]], width: float = 3.1) -> Chart | None:
    """Losses against steps: a column for each model, a row for each loss; None without losses.

    The line is the mean over seeds of the medians of neighbouring steps, the band goes from the least seed to the greatest. Losses
    of different models are different functions, so every panel has its own scale.
    """
    curves = {label: [curve for curve in runs if curve.losses] for label, runs in curves.items()}
    curves = {label: runs for label, runs in curves.items() if runs}
    losses = list(dict.fromkeys(name for runs in curves.values() for curve in runs for name in curve.losses))
    if not losses:
        return None
    figure = figure_of(max(5.0, width * len(curves)), 2.1 * len(losses) + 0.5)
    panels = figure.subplots(len(losses), len(curves), squeeze=False, sharex="col")
    for column, (label, runs) in enumerate(curves.items()):
        for line, loss in enumerate(losses):
            _loss_panel(panels[line][column], runs, loss)
            if column == 0:
                panels[line][0].set_ylabel(loss.replace("_", " "), **_STYLE)
        panels[0][column].set_title(label, loc="left", **_STYLE)
        panels[-1][column].set_xlabel("step", **_STYLE)
    return Chart(figure, {})


def _loss_panel(panel: Axes, runs: Sequence[Curve], loss: str) -> None:
    lines = [median_bins(curve.steps, curve.losses[loss]) for curve in runs if loss in curve.losses]
    lines = [(x, y) for x, y in lines if len(x)]
    drawn = bool(lines)
    if drawn:
        x, seeds = _on_shared_steps(lines)
        panel.fill_between(x, seeds.min(axis=0), seeds.max(axis=0), color=_CHAINS[1], alpha=0.22, linewidth=0)
        panel.plot(x, seeds.mean(axis=0), color=_CHAINS[1], linewidth=1.2)
    if not drawn:
        panel.text(
            0.5, 0.5, "has none", transform=panel.transAxes, ha="center", va="center", fontsize=9, color="#888888"
        )
        panel.set_yticks([])
    for boundary, phase in sorted({(start, name) for curve in runs for start, name in curve.phases[1:]}):
        panel.axvline(boundary, color="#999999", linewidth=0.8, linestyle=":")
        panel.text(
            boundary,
            0.98,
            f"{phase} ",
            transform=panel.get_xaxis_transform(),
            fontsize=8,
            color="#777777",
            va="top",
            ha="right",
        )
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.locator_params(axis="x", nbins=4)
    plain_axes(panel)


def _on_shared_steps(
    lines: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps that all lines reach, shape (n,), and every line there, shape (lines, n)."""
    end = min(x[-1] for x, _ in lines)
    longest = max((x for x, _ in lines), key=lambda x: int((x <= end).sum()))
    steps = longest[longest <= end]
    return steps, np.array([np.interp(steps, x, y) for x, y in lines])


def figure_of(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def png_of(figure: Figure) -> bytes:
    """PNG without a date, so that equal content gives equal bytes."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
