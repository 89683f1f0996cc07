"""What all charts share: size, axes, legend, how they become PNG or SVG; and the training curves, which every kind has.

Figures are objects of their own on the Agg canvas; pyplot and its global state are never touched. Colours are those of Okabe and Ito,
which stay apart for colour-blind readers; dashes carry the same information in black and white.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from bench.report import blocks
from bench.report.certificate import networks

__all__ = [
    "DPI",
    "INK",
    "THOUSANDS",
    "figure_of",
    "legend_above",
    "plain_axes",
    "png_of",
    "svg_of",
    "training_figure",
    "wrapped",
]

INK = "#333333"
"""Colour of all texts."""

DPI = 150
"""Pixels per inch of every picture."""

THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
"""Ticks with separators."""

_LOSSES = ("_loss", "_likelihood", "_gain")
_ACROSS, _BINS = 4, 150
_Line = tuple[NDArray[np.float64], NDArray[np.float64]]


def figure_of(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def legend_above(figure: Figure, handles: Mapping[str, Line2D]) -> None:
    """Draw a legend above the panels, in as many columns as fit; the figure grows by what it needs."""
    width, height = figure.get_size_inches()
    names = [wrapped(name, int((width - 0.6) / 0.075)) for name in handles]
    longest = max(len(line) for name in names for line in name.split("\n"))
    lines = max(name.count("\n") + 1 for name in names)
    columns = max(1, int(width / (0.6 + 0.075 * longest)))
    figure.set_size_inches(width, height + 0.2 * lines * -(-len(names) // columns))
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": INK}
    figure.legend(list(handles.values()), names, loc="outside upper center", ncols=columns, **style)


def wrapped(name: str, width: int) -> str:
    """Return a name in lines of about so many characters, broken after commas, of which the names of variants have many."""
    lines = [""]
    for part in re.findall(r"[^,]+,?", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def plain_axes(panel: Axes) -> None:
    """Leave two spines, a light horizontal grid, small ticks."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("#999999")
    panel.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=9, colors=INK)


def png_of(figure: Figure) -> bytes:
    """Return a PNG without a date, so that equal content gives equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def svg_of(figure: Figure, name: str) -> str:
    """Return an `<svg>` element whose texts are escaped; `name` makes the ids in it differ from those of other figures of the page."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    left_out = (
        r"<metadata>.*?</metadata>",
        r"<defs>\s*<style.*?</style>\s*</defs>",
        r' xmlns(:xlink)?="[^"]*"',
        r' id="[A-Za-z][\w.]*_\d+"',  # matplotlib's counters, which nothing refers to
    )
    svg = re.sub("|".join(left_out), "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return svg.replace("xlink:href", "href").replace("</svg>", "".join(_hover_points(figure)) + "</svg>")


def _hover_points(figure: Figure) -> Iterator[str]:
    """Yield a transparent circle over every marker of a drawn figure, which tells its values to a pointer that rests on it."""
    width, height = figure.get_size_inches() * 72
    for panel in (panel for panel in figure.axes if panel.get_visible()):
        names = panel.get_xlabel() or "x", panel.get_ylabel() or "y"
        for line in (line for line in panel.lines if line.get_marker() not in ("", " ", "None", None)):
            values = np.asarray(line.get_xydata(), dtype=np.float64)
            places = panel.transData.transform(values) / figure.bbox.size
            for at, (x, y) in zip(values, places, strict=True):
                if 0 <= x <= 1 and 0 <= y <= 1:
                    text = escape(", ".join(f"{name} {value:.4g}" for name, value in zip(names, at, strict=True)))
                    place = f'cx="{x * width:.1f}" cy="{(1 - y) * height:.1f}"'
                    yield f'<circle {place} r="6" fill="none" pointer-events="all"><title>{text}</title></circle>'


def training_figure(section: Any) -> blocks.Figure | None:
    """Return the block of training curves; None where no run kept one."""
    paths = {label: [run.folder / "curve.jsonl" for run in runs] for label, runs in networks(section).items()}
    if not any(path.exists() for own in paths.values() for path in own):
        return None
    return blocks.Figure(
        "Training curves: mean and range over seeds, medians of neighbouring steps",
        "training",
        f"Losses against steps for every model on {section.dataset}",
        lambda: _curves({label: [read_curve(path) for path in own] for label, own in paths.items()}),
    )


def read_curve(path: Path) -> tuple[dict[str, _Line], list[tuple[float, str]]]:
    """Return (steps, values) of every loss, and (first step, name) of every phase.

    A phase that counts its steps from the start again is moved behind the last. A line cut off by a crash ends the curve; a file that
    cannot be read is an empty one.
    """
    losses: dict[str, list[tuple[float, float]]] = {}
    phases: list[tuple[float, str]] = []
    offset = last = 0.0
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            record = json.loads(line)
            step, phase = float(record["step"]), str(record.get("phase", ""))
            if not phases or phases[-1][1] != phase:
                offset = last if step <= last else 0.0
                phases.append((max(last, offset), phase))
            last = offset + step
            for name, value in record.items():
                if name.endswith(_LOSSES) and isinstance(value, int | float) and np.isfinite(value):
                    losses.setdefault(name, []).append((last, float(value)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return {name: (np.array(points)[:, 0], np.array(points)[:, 1]) for name, points in losses.items()}, phases


def _curves(curves: Mapping[str, Sequence[Any]]) -> Figure | None:
    """Draw losses against steps: a column for each model with a panel for each of its losses; None without losses.

    The line is the mean over seeds of the medians of neighbouring steps, the band goes from the least seed to the greatest. Losses
    of different models are different functions, so every panel has its own scale.
    """
    drawn = {label: found for label, runs in curves.items() if (found := [run for run in runs if run[0]])}
    if not drawn:
        return None
    losses = {label: list(dict.fromkeys(name for found, _ in runs for name in found)) for label, runs in drawn.items()}
    across, bands, rows = min(_ACROSS, len(losses)), -(-len(losses) // _ACROSS), max(map(len, losses.values()))
    figure = figure_of(max(5.0, 3.1 * across), bands * (2.1 * rows + 0.5))
    panels = figure.subplots(bands * rows, across, squeeze=False)
    for panel in panels.flat:
        panel.set_visible(False)
    for number, (label, own) in enumerate(losses.items()):
        column = panels[number // across * rows :, number % across][: len(own)]
        for panel, loss in zip(column, own, strict=True):
            panel.set_ylabel(loss.replace("_", " "), fontsize=10, color=INK)
            _loss_panel(panel, drawn[label], loss)
        column[0].set_title(wrapped(label, 28), loc="left", fontsize=10, color=INK)
        column[-1].set_xlabel("step", fontsize=10, color=INK)
    return figure


def _loss_panel(panel: Axes, runs: Sequence[Any], loss: str) -> None:
    lines = [_medians(*found[loss]) for found, _ in runs if loss in found]
    end = min(x[-1] for x, _ in lines)  # what all seeds reach
    longest = max((x for x, _ in lines), key=lambda x: int((x <= end).sum()))
    x = longest[longest <= end]
    seeds = np.array([np.interp(x, *line) for line in lines])
    panel.fill_between(x, seeds.min(axis=0), seeds.max(axis=0), color="#0072B2", alpha=0.22, linewidth=0)
    panel.plot(x, seeds.mean(axis=0), color="#0072B2", linewidth=1.2, marker="" if len(x) > 1 else "o")
    last = max(steps[-1] for found, _ in runs for steps, _ in found.values())
    for boundary, phase in sorted({place for _, phases in runs for place in phases[1:]}):
        panel.axvline(boundary, color="#999999", linewidth=0.8, linestyle=":")
        style: dict[str, Any] = {"fontsize": 8, "color": "#777777", "va": "top", "ha": "right"}
        panel.text(boundary, 0.98, f"{phase} ", transform=panel.get_xaxis_transform(), **style)
    panel.set_xlim(-0.03 * last, 1.03 * last)
    panel.xaxis.set_major_formatter(THOUSANDS)
    panel.locator_params(axis="x", nbins=4)
    panel.set_visible(True)
    plain_axes(panel)


def _medians(steps: NDArray[np.float64], values: NDArray[np.float64]) -> _Line:
    """Return medians of at most so many runs of neighbours: a line that the eye can follow."""
    if len(values) <= _BINS:
        return steps, values
    parts = np.array_split(np.arange(len(values)), _BINS)
    return np.array([steps[part].mean() for part in parts]), np.array([np.median(values[part]) for part in parts])
