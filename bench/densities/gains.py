"""What an energy gains against the quality of the frozen flow that it stands on: a curve for each dataset.

An energy repairs what training the flow better would repair as well; how much is left for it is read from flows trained for shorter and
longer, of more layers, and of other families.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Drawn

from bench.report.blocks import Cell, Figure, Table, table_of
from bench.report.figures import figure_of, plain_axes
from bench.report.tables import count_cell, mean_cell
from bench.report.text import number

if TYPE_CHECKING:
    from bench.densities.comparisons import Likelihoods

__all__ = ["gain_figure", "gain_sentences", "gain_table"]


@dataclass(frozen=True)
class Point:
    """A frozen flow and an energy on it; `flow`, `gain` and `both` are rows of means over seeds, of log-likelihoods and of the gain."""

    name: str
    label: str
    flow: Any
    gain: Any
    both: Any


def points(found: Likelihoods) -> list[Point]:
    """Return a point per GEBM on a frozen flow, the worst flow first; none where they all stand on one flow."""
    rows = {name: found.rows.get(name, {}) for name in ("base-log-likelihood", "likelihood-gain", "log-likelihood")}
    frozen = [
        Point(config["base"]["model"], label, *(each[label] for each in rows.values()))
        for label, config in found.configs.items()
        if all(label in each for each in rows.values())
        if found.is_learned(label) and "base" in config and not config.get("joint")
    ]
    frozen.sort(key=lambda point: point.flow.mean)
    return frozen if len({point.name for point in frozen}) > 1 else []


def gain_sentences(found: Likelihoods) -> list[str]:
    """Return the curve in words."""
    if not (known := points(found)):
        return []
    gains = [f"{number(each.gain.mean)} nats on {each.name} ({number(each.flow.mean)})" for each in known]
    return [f"Gain of an energy by the flow that it stands on, the worst flow first: {', '.join(gains)}."]


def gain_table(found: Likelihoods) -> Table | None:
    """Return a row per frozen flow with an energy, the worst flow first; None where there are not two."""
    lines = [
        {
            "flow": Cell("", code=point.name),
            "with an energy": Cell("", code=point.label),
            "the flow alone": mean_cell(point.flow),
            "gain of the energy": mean_cell(point.gain),
            "both": mean_cell(point.both),
            "n": count_cell(point.gain.n),
        }
        for point in points(found)
    ]
    notes = [
        "Held-out log-likelihoods in nats per row, means over seeds [95 % Student-t interval]; every flow is frozen."
    ]
    return table_of("Gain of an energy against the quality of its flow", lines, notes)


def gain_figure(found: Likelihoods) -> Figure | None:
    """Return the curve of the table; None where there is none."""
    known = points(found)
    text = f"Gain of an energy against the log-likelihood of the frozen flow on {found.section.dataset}"
    return (
        Figure("Gain of an energy against the quality of its flow", "gains", text, lambda: _drawn(known))
        if known
        else None
    )


def _drawn(known: list[Point]) -> Drawn:
    figure = figure_of(7.6, 4.2)
    panel = figure.subplots()
    panel.plot([each.flow.mean for each in known], [each.gain.mean for each in known], color="#999999", linewidth=0.8)
    for each in known:
        x, y = each.flow, each.gain
        for row, ends in ((y, ([x.mean] * 2, [y.ci_low, y.ci_high])), (x, ([x.ci_low, x.ci_high], [y.mean] * 2))):
            if row.ci_low is not None:
                panel.plot(*ends, color="#D55E00", linewidth=1.0, alpha=0.5)
        panel.plot(x.mean, y.mean, color="#D55E00", marker="D", markersize=5)
        panel.annotate(each.name, (x.mean, y.mean), (4, 4), textcoords="offset points", fontsize=8)
    panel.margins(x=0.15)
    panel.axhline(0, color="#999999", linewidth=0.8)
    panel.set_xlabel("held-out log-likelihood of the frozen flow, nats per row", fontsize=10)
    panel.set_ylabel("gain of an energy on it, nats per row", fontsize=10)
    plain_axes(panel)
    return figure
