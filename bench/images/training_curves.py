"""Scores of bases against their training steps, drawn and tabled, and where energies ended: how `bench.images.convergence` looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D

from bench.images.convergence import RISING, UNDERTRAINED, BaseCurve, base_curves, energy_curves
from bench.images.figures import CHAIN_COLOURS, OTHER_PANELS, RIVAL_COLOURS, dress, grid_of
from bench.images.panels import wide_scale
from bench.report.blocks import MISSING, READING_TONES, Cell, Figure, Table, table_of
from bench.report.comparisons import headline_metric, metrics_of
from bench.report.figures import INK, THOUSANDS, legend_above
from bench.report.tables import count_cell
from bench.report.text import arrow, direction, interval_text, span
from bench.stats import Estimate, mean_interval

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["base_figure", "base_table", "draw_bases", "energy_table"]

_DASHES = ("-", "--", ":")  # for every eight models, whose colours come round again
_DECAY_NOTE = (
    "Learning rates fall on the way, so a base at half of its steps is not what a run of half the steps would have ended at, and what "
    "the second half changes is in part the falling rate."
)


def base_figure(section: Section) -> Figure | None:
    """Return the figure of scores against base steps; None where no base was scored on the way."""
    metrics = [metric for metric in metrics_of(section, real=False) if base_curves(section, metric)][: OTHER_PANELS + 1]
    if not metrics:
        return None
    return Figure(
        "Score against training of the base",
        "training-curve",
        f"{', '.join(metrics)} of every base against its training steps on {section.dataset}",
        lambda: draw_bases(section, metrics),
        note="Mean over seeds with 95 % intervals, of the base as it would be sampled after so many steps; one seed has none.",
    )


def draw_bases(section: Section, metrics: Sequence[str]) -> Drawn:
    """Draw a panel per metric, a line per model with its band over seeds."""
    figure, panels = grid_of(len(metrics))
    colours, handles = (*CHAIN_COLOURS, *RIVAL_COLOURS), dict[str, Line2D]()
    for panel, metric in zip(panels, metrics, strict=True):
        drawn: list[Estimate] = []
        curves = base_curves(section, metric)
        for i, curve in enumerate(curves):
            means = {steps: mean_interval([*own.values()]) for steps, own in curve.points.items() if own}
            sure = [(steps, mean.ci_low, mean.ci_high) for steps, mean in means.items() if mean.ci_low is not None]
            look: dict[str, Any] = {"color": colours[i % len(colours)], "linestyle": _DASHES[i // len(colours) % 3]}
            if sure:
                at, low, high = zip(*sure, strict=True)
                panel.fill_between(at, low, high, color=look["color"], alpha=0.14, linewidth=0)
            values = [mean.mean for mean in means.values()]
            (handles[curve.label],) = panel.plot([*means], values, marker="o", markersize=4, linewidth=1.6, **look)
            drawn += means.values()
        panel.set_xscale("log")
        panel.set_xticks([*max(curves, key=lambda curve: curve.steps).points])
        panel.xaxis.set_major_formatter(THOUSANDS)
        panel.minorticks_off()
        dress(panel, drawn, metric)
        if direction(metric) < 0:  # a distance, which falls by orders of magnitude
            wide_scale(panel, [each.mean for each in drawn])
    for panel in panels[-2:]:
        panel.set_xlabel("base steps", fontsize=10, color=INK)
    legend_above(figure, handles)
    return figure


def base_table(section: Section) -> Table | None:
    """Return a line per model with its base's score along training, and whether the second half of the steps still improves it."""
    metric = headline_metric(section) or ""
    curves = base_curves(section, metric)
    rows = [
        {
            "model": Cell(code=curve.label),
            "base steps": count_cell(curve.steps),
            **{_part(curve, steps): _mean_cell(own) for steps, own in curve.points.items()},
            "end − half": _estimate_cell(curve.change.estimate),
            "pairs": count_cell(len(curve.change.seeds)),
            "reading": _verdict(UNDERTRAINED) if curve.undertrained else _verdict(curve.reading),
        }
        for curve in curves
    ]
    notes = [
        f"{arrow(metric)} of samples from the base after a part of its steps, mean over seeds [95 % interval]; end − half is paired "
        f"by seed. A base is {UNDERTRAINED} where the whole interval says that the second half of its steps still improved it. No clear "
        "difference does not show that more steps would change nothing.",
        _DECAY_NOTE * any(curve.decays for curve in curves),
    ]
    return table_of("Is the base trained to its end?", rows, notes)


def energy_table(section: Section) -> Table | None:
    """Return a line per refit with how it ended, and whether the second half of its steps still raised the held-out gain."""
    rows = []
    for curve in energy_curves(section):
        steps, ran_out = int(curve.settings["steps"]), len(curve.ran_out)
        best = curve.best(steps).values()
        ended = {"its steps": ran_out, "patience": len(curve.looks) - ran_out}
        rows.append(
            {
                "model": Cell(code=curve.label),
                "steps at most": count_cell(steps),
                "ended after": Cell(span([own[-1][0] for own in curve.looks.values()])),
                "ended by": Cell(", ".join(f"{how} in {count}" for how, count in ended.items() if count)),
                "best after": Cell(span([step for _, step in best])),
                "gain kept, nats": _estimate_cell(mean_interval([gain for gain, _ in best])),
                "of it in the second half": _estimate_cell(curve.change.estimate),
                "reading": _verdict(RISING) if curve.rising else MISSING,
            }
        )
    notes = [
        "Held-out (validation) gain along the refit, whose best energy is kept; means over seeds [95 % interval]. An energy is still "
        "rising where a refit ended because its steps were done and the second half of them raised the gain by more than the interval."
    ]
    return table_of("Is the energy trained to its end?", rows, notes)


def _part(curve: BaseCurve, steps: int) -> str:
    return "end" if steps == curve.steps else f"1/{curve.steps // steps}"


def _mean_cell(values: Any) -> Cell:
    return _estimate_cell(mean_interval([*values.values()]) if values else None)


def _estimate_cell(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return MISSING
    text, ends = interval_text(estimate.mean, estimate.ci_low, estimate.ci_high)
    return Cell(text, estimate.mean, ends)


def _verdict(words: str) -> Cell:
    return Cell(words, tone="bad" if words in (UNDERTRAINED, RISING) else READING_TONES.get(words, "plain"))
