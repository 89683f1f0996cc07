"""At which temperature an energy is worth most: β̂, likelihood gained there and elsewhere, and scores of samples beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D

from bench.images.panels import plain_numbers, wide_scale
from bench.report.blocks import MISSING, Cell, Figure, Table, table_of
from bench.report.comparisons import headline_metric
from bench.report.figures import INK, figure_of, legend_above, plain_axes
from bench.report.tables import number_cell
from bench.report.text import PAPER_BETA, arrow, interval_text, number
from bench.results.frame import once
from bench.results.sources import CALIBRATED_BETA, Source, records
from bench.stats import Estimate, mean_interval
from bench.words import plural

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = [
    "OWN_GAIN",
    "Calibrated",
    "calibrated",
    "draw_temperature",
    "gain_at",
    "gains",
    "temperature_figure",
    "temperature_table",
]

GAIN, OWN_GAIN = "likelihood-gain", "kl-from-base"
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5E3C99", "#8B6F00")
_MARKERS = "osD^vP"


@dataclass(frozen=True)
class Calibrated:
    """A model's calibrated temperature over its seeds.

    Arguments:
        betas: β̂ by seed.
        errors: standard errors, where β̂ is not at the edge.
        at_edge: in how many seeds the gain still rose where log Z could no longer be estimated.
    """

    betas: Mapping[int, float]
    errors: Sequence[float]
    at_edge: int

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(self.betas.values())

    @property
    def text(self) -> str:
        """The mean, or with edges in any seed what it is at least."""
        return f"{number(self.mean)} or more" if self.at_edge else number(self.mean)

    @property
    def detail(self) -> str:
        """The range over seeds; of one seed the standard error; and whether β̂ is at the edge."""
        low, high = min(self.betas.values()), max(self.betas.values())
        said = [f"{number(low)} to {number(high)}"] if len(self.betas) > 1 else [f"± {number(e)}" for e in self.errors]
        said += [f"at the edge in {self.at_edge} of {plural(len(self.betas), 'seed')}"] if self.at_edge else []
        return f"({', '.join(said)})" if said else ""


@once
def calibrated(section: Section) -> dict[str, Calibrated]:
    """Return the calibrated temperature of every model that has one."""
    found: dict[str, list[Any]] = {}
    for row in records(section.counted_readouts):
        if row.row.get("temperature"):
            found.setdefault(row.label, []).append((row.seed, row.row["temperature"]))
    return {
        label: Calibrated(
            {seed: each["beta"] for seed, each in own},
            [each["error"] for _, each in own if each["error"] is not None],
            sum(each["at_edge"] for _, each in own),
        )
        for label, own in found.items()
    }


def gain_at(section: Section, label: str, beta: float, metric: str = GAIN) -> Estimate | None:
    """Return the mean gain of a model at β over its seeds, by `OWN_GAIN` on its own samples; None where log Z could not be had in any."""
    side = section.by_source.get((metric, Source(label, "likelihood", beta, None, 0)))
    return None if side is None else mean_interval(list(side.values[side.main_key].values()))


def temperature_table(section: Section) -> Table | None:
    """Return a line per energy: β̂, the gains at β=1, β̂ and β=100, and what log Z rests on at β̂; None without a β̂."""
    rows = []
    for label, found in calibrated(section).items():
        own = [row for row in _likelihoods(section) if row.label == label and row.beta == CALIBRATED_BETA]
        own_gain = gain_at(section, label, 1.0, OWN_GAIN)
        gains = {
            name: _gain_cell(gain_at(section, label, beta), len(found.betas))
            for name, beta in (("gain at β=1", 1.0), ("at β̂", CALIBRATED_BETA), ("at β=100", PAPER_BETA))
        }
        rows.append(
            {
                "model": Cell(code=label),
                "β̂": Cell(found.text, found.mean, found.detail, tone="open" if found.at_edge else "plain"),
                **gains,
                "own samples at β=1": _gain_cell(own_gain, len(found.betas)) if own_gain else MISSING,
                "train split at β̂": _mean_cell([row.row.get("train_gain") for row in own]),
                "ESS/M at β̂": _mean_cell([row.row.get("scores", {}).get("ess-fraction") for row in own]),
                "worst k̂ at β̂": _worst([(row.row.get("log_partition") or {}).get("pareto_k") for row in own]),
                "log Z by": Cell(" or ".join(dict.fromkeys(filter(None, map(_method, own)))) or "—"),
                "n": Cell(str(len(found.betas)), len(found.betas)),
            }
        )
    notes = [
        "Gain over the base on held-out data, in nats: L(βE) = −β E_P[E] − log E_G[exp(−βE)], mean over seeds [95 % interval]. β̂ is "
        "chosen on the validation split and read on the test split. At the edge the gain still rose where log Z could no longer be "
        "estimated (k̂ of 0.7 or more, or an ESS under 100): β̂ is this or more, and a colder energy may gain more. A gain is not "
        "stated where log Z is not reportable, and annealing could not be trusted either. Own samples: the same on samples of the "
        "density itself, KL(model‖base). Where they have much less than held-out data, the energy tells data from samples and hardly "
        "moves samples.",
    ]
    return table_of("Temperature", rows, notes)


def _gain_cell(gain: Estimate | None, seeds: int) -> Cell:
    if gain is None:
        return Cell("log Z not known", tone="open")
    text, ends = interval_text(gain.mean, gain.ci_low, gain.ci_high)
    few = f"in {gain.n} of {seeds} seeds" if gain.n < seeds else ""
    return Cell(text, gain.mean, " ".join(filter(None, (ends, few))))


@once
def _likelihoods(section: Section) -> list[Any]:
    readouts = section.counted_readouts
    return records(readouts[readouts["sampler"] == "likelihood"])


def _method(row: Any) -> str:
    return str((row.row.get("log_partition") or {}).get("method") or "")


def _mean_cell(values: Sequence[float | None]) -> Cell:
    known = [value for value in values if value is not None]
    return number_cell(fmean(known)) if known else MISSING


def _worst(values: Sequence[float | None]) -> Cell:
    known = [value for value in values if value is not None]
    return number_cell(max(known)) if known else MISSING


@once
def gains(section: Section, metric: str = GAIN) -> dict[str, dict[float, list[float]]]:
    """Return the gains of every model by β, or with `OWN_GAIN` those on its own samples, one value per seed, β̂ left out."""
    found: dict[str, dict[float, list[float]]] = {}
    for (name, source), side in section.by_source.items():
        if name == metric and source.beta not in (None, CALIBRATED_BETA):
            found.setdefault(source.label, {})[float(source.beta or 0.0)] = list(side.values[side.main_key].values())
    return found


def temperature_figure(section: Section) -> Figure | None:
    """Return gain and score against β; None where no gain was read out at several."""
    if max((len(own) for own in gains(section).values()), default=0) < 2:
        return None
    text = f"likelihood gain and {headline_metric(section) or 'score'} against inverse temperature on {section.dataset}"
    note = (
        "Left: mean over seeds, the band is their range; a star is at β̂; dashed, the same on samples of the density itself. Losses far "
        "below 0 are cut off. Right: exact samples filled and joined, longest chains open, a shape per sampler; dotted, the own base. "
        "A chain stands at the β it is aimed at, whether it reaches that density or not."
    )
    return Figure(
        "Likelihood and score against temperature", "temperature", text, lambda: draw_temperature(section), note=note
    )


def draw_temperature(section: Section) -> Drawn | None:
    """Draw the gain against β beside the headline score against β."""
    curves, chosen = gains(section), calibrated(section)
    if not curves:
        return None
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(curves)}
    figure = figure_of(9.6, 4.0)
    left, right = figure.subplots(1, 2)
    handles: dict[str, Line2D] = {}
    for label, own in curves.items():
        handles[label] = _draw_gain(left, own, colours[label])
        if label in chosen and (best := gain_at(section, label, CALIBRATED_BETA)) is not None:
            left.plot([chosen[label].mean], [best.mean], "*", color=colours[label], markersize=11, zorder=3)
    for label, own in gains(section, OWN_GAIN).items():
        left.plot(sorted(own), [fmean(own[beta]) for beta in sorted(own)], "--", color=colours[label], linewidth=1.2)
    tops = [fmean(values) for own in curves.values() for values in own.values()]
    top = max([*tops, *(end.mean for label in chosen if (end := gain_at(section, label, CALIBRATED_BETA)))])
    left.set_ylim(-0.6 * max(top, 0.01), 1.15 * max(top, 0.01))
    left.axhline(0, color="#999999", linewidth=0.8)
    left.set_ylabel("likelihood gain, nats ↑", fontsize=10, color=INK)
    handles |= _draw_scores(right, section, colours)
    for panel in (left, right):
        panel.set_xscale("log")
        panel.set_xlabel("inverse temperature β", fontsize=10, color=INK)
        plain_axes(panel)
        plain_numbers(panel.xaxis)
    right.set_xlim(left.get_xlim())
    right.set_ylabel(arrow(headline_metric(section) or "score"), fontsize=10, color=INK)
    legend_above(figure, handles)
    return figure


def _draw_gain(panel: Axes, own: Mapping[float, Sequence[float]], colour: str) -> Line2D:
    betas = sorted(own)
    low, high = [min(own[beta]) for beta in betas], [max(own[beta]) for beta in betas]
    panel.fill_between(betas, low, high, color=colour, alpha=0.14, linewidth=0)
    (line,) = panel.plot(betas, [fmean(own[beta]) for beta in betas], color=colour, linewidth=1.6)
    return line


def _draw_scores(panel: Axes, section: Section, colours: Mapping[str, str]) -> dict[str, Line2D]:
    """Draw exact samples and longest chains where they aim, and return the handles of the samplers' markers."""
    summary = section.summary
    rows = records(summary[(summary["metric"] == headline_metric(section)) & summary["mean"].notna()])
    shown = [row for row in rows if row.label in colours and row.status in ("done", "partial") and not row.stale]
    chains = [
        row for row in shown if row.steps and row.steps == section.longest[row.sampler, row.beta] and row.beta_used
    ]
    markers = {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(dict.fromkeys(row.sampler for row in chains))}
    for label, colour in colours.items():
        base = [row.mean for row in shown if row.sampler == "base" and row.label == label]
        for level in base[:1]:
            panel.axhline(level, color=colour, linewidth=0.9, linestyle=":")
        exact = sorted((row.beta_used, row.mean) for row in shown if row.sampler == "exact" and row.label == label)
        if exact:
            panel.plot(*zip(*exact, strict=True), color=colour, marker="o", markersize=5, linewidth=1.4)
    wide_scale(panel, [row.mean for row in shown if row.sampler in ("base", "exact") or row in chains])
    for row in chains:
        look: dict[str, Any] = {"color": colours[row.label], "marker": markers[row.sampler], "markerfacecolor": "none"}
        panel.plot([row.beta_used], [row.mean], linestyle="", markersize=5.5, alpha=0.8, **look)
    style: dict[str, Any] = {"color": "#555555", "linestyle": "", "markerfacecolor": "none"}
    return {f"{name}, longest chain": Line2D([], [], marker=marker, **style) for name, marker in markers.items()}
