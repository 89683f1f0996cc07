"""Whether chains reach the density they are aimed at, how exact samples were had, and which sampler comes as far for the least work."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.report.blocks import MISSING, READING_TONES, Cell, Table, table_of
from bench.report.comparisons import headline_metric, reading_order, step_text
from bench.report.tables import count_cell
from bench.report.text import direction, estimate_text, listed, number, readout_name, span
from bench.results.frame import once
from bench.results.sources import CALIBRATED_BETA, Source, SourceValues, beta_text, records, source_of
from bench.results.summary import COSTS
from bench.stats import Estimate, mean_interval
from bench.words import plural

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["AT_TARGET", "TARGETS", "Reached", "exact_table", "fastest_table", "reached", "target_note", "target_table"]

AT_TARGET = "at its target"
TARGETS = "Do chains reach their target?"
"""Title of the table about targets."""
_CALIBRATION_NOTE = (
    "A guided sampler is aimed at its own calibration of the logit, of which no mean energy is known here, so none is said to have "
    "reached it; |Z| above 2 says that this logit is not calibrated on held-out data either."
)


@dataclass(frozen=True)
class Reached:
    """What the runs of one chain say of its target, at one length.

    Arguments:
        source: the chain.
        rows: a readout per seed.
    """

    source: Source
    rows: Sequence[Any]

    @cached_property
    def said(self) -> Counter[str]:
        """How many seeds have which verdict."""
        return Counter(row.target for row in self.rows if row.target)

    @property
    def verdict(self) -> str | None:
        """What all seeds say; "cannot tell" where they differ, None where none has a target."""
        return (next(iter(self.said)) if len(self.said) == 1 else "cannot tell") if self.said else None

    def facts(self, name: str) -> list[float]:
        """Return a number of every seed that has it."""
        found = (_chain_of(row).get(name) for row in self.rows)
        return [float(value) for value in found if value is not None]

    @property
    def covered(self) -> float | None:
        """The mean share of the distance between the mean energies of base and target."""
        shares = self.facts("covered")
        return fmean(shares) if shares else None

    @property
    def mark(self) -> str:
        """The verdict in a character or a number: ✓, → 61 % of the way, or ?; empty without a target."""
        if self.verdict == "on its way" and self.covered is not None:
            return f"→ {share(self.covered)}"
        return {AT_TARGET: "✓", "on its way": "→", "cannot tell": "?"}.get(self.verdict or "", "")

    @property
    def words(self) -> str:
        """The verdict as part of a sentence."""
        if self.verdict == "on its way" and self.covered is not None:
            return f"on its way, {share(self.covered)} of the energy's distance covered"
        if self.verdict == "cannot tell":
            return "whether it is at its target cannot be told"
        return self.verdict or ""


def share(value: float) -> str:
    """Return a share in per cent; what is not all of it is never rounded to 100."""
    percent = round(100 * value)
    return f"{min(percent, 99) if value < 1 else percent} %".replace("-", "−")


@once
def reached(section: Section) -> dict[Source, Reached]:
    """Return what is known of every readout that counts: chains at all lengths, and exact samples."""
    groups: dict[Source, list[Any]] = {}
    for row in records(section.counted_readouts):
        groups.setdefault(source_of(row), []).append(row)
    return {source: Reached(source, rows) for source, rows in groups.items()}


def target_table(section: Section) -> Table | None:
    """Return a line per model, sampler and β with what its longest chains say of their target; None without a chain."""
    chains = [each for each in _longest(section) if each.said or any(_calibration_of(row) for row in each.rows)]
    sources = [each.source for each in chains]
    rows = []
    for each in reading_order(chains, lambda found: found.source):
        shares, mixing, invalid = each.facts("covered"), each.facts("rhat"), each.facts("invalid")
        seeds = plural(len(each.rows), "seed")
        scores = [_calibration_of(row)["z"] for row in each.rows if _calibration_of(row)]
        rows.append(
            {
                "model": Cell(code=each.source.label),
                "chain": Cell(readout_name(each.source.sampler, each.source.beta) + step_text(each.source, sources)),
                "steps": count_cell(each.source.steps),
                "distance covered": Cell(share(fmean(shares)), fmean(shares), _range(shares, share))
                if shares
                else MISSING,
                "R-hat": Cell(number(max(mixing)), max(mixing)) if mixing else MISSING,
                "verdict": _verdict_cell(each),
                "invalid moves": count_cell(int(sum(invalid))) if invalid else MISSING,
                "calibration's Z": Cell(number(fmean(scores)), fmean(scores), _range(scores, number))
                if scores
                else MISSING,
                "n": Cell(seeds, len(each.rows)),
            }
        )
    notes = [
        "Longest chains. The distance is that between the mean energies of base and target, the latter from weighted base draws or "
        "annealed particles; mean over seeds and [range]. R-hat, the worst seed's, is of the energy over chains that start at base "
        "draws; 1.1 or more has not mixed. A chain that is not at its target has gone some way from its base: what it shows is "
        "short-run refinement, and no sample of that density.",
        "|Z| above 2 says that the calibrated logit is not calibrated on held-out data."
        * any(map(_calibrated, chains)),
    ]
    return table_of(TARGETS, rows, notes)


def _verdict_cell(each: Reached) -> Cell:
    if not each.said:
        method = next(_calibration_of(row)["method"] for row in each.rows if _calibration_of(row))
        return Cell("none stated", detail=f"({method} calibration)")
    n = sum(each.said.values())
    why = dict.fromkeys(filter(None, (_chain_of(row).get("why") for row in each.rows)))
    words = [verdict if count == n else f"{verdict} in {count} of {n}" for verdict, count in each.said.most_common()]
    return Cell("; ".join(words), detail=f"({'; '.join(why)})" if why else "", tone=READING_TONES[each.verdict or ""])


def exact_table(section: Section) -> Table | None:
    """Return how exact samples were had of every model at every β, or why not; None where none were asked for."""
    found = [each for source, each in reached(section).items() if source.sampler == "exact"]
    rows = []
    for each in reading_order(found, lambda found: found.source):
        facts = [(row, row.row["exact"]) for row in each.rows if row.row.get("exact")]
        had = [fact for row, fact in facts if not row.row.get("why_not")]
        wanted = next((row.readout["samples"] for row in each.rows if row.readout.get("samples")), None)
        why = dict.fromkeys(f"seed {row.seed}: {row.row['why_not']}" for row in each.rows if row.row.get("why_not"))
        betas = [row.beta_used for row in each.rows if row.beta_used is not None]
        rows.append(
            {
                "model": Cell(code=each.source.label),
                "β": Cell(beta_text(each.source.beta or 0.0), fmean(betas) if betas else None, _beta_range(each)),
                "method": Cell(" or ".join(dict.fromkeys(fact["method"] for fact in had)) or "—"),
                "draws": _counts(fact["pool"] for fact in had),
                "ESS": _counts(fact["ess"] for fact in had),
                f"distinct of {wanted:,}" if wanted else "distinct": _counts(fact["distinct"] for fact in had),
                "seeds": Cell(f"{len(had)} of {len(each.rows)}", len(had)),
                "why not": Cell("; ".join(why) or "—", tone="bad" if why else "plain"),
            }
        )
    notes = [
        "Accepted: base draws by rejection, each once. Resampled: base draws by their weights, some of them several times, where these are "
        "worth twice as many draws as are scored. Annealed: particles of a tempered path, where that is trustworthy; their ESS counts "
        "ancestors. Ranges are over seeds. Where few latents are distinct, recall and coverage are bounded by them."
    ]
    return table_of("Exact samples", rows, notes)


def fastest_table(section: Section) -> Table | None:
    """Return for every model and β the least work at which each sampler scores as well as exact samples do; None without any."""
    metric = headline_metric(section)
    values = {source: each for (name, source), each in section.by_source.items() if name == metric}
    exact = [source for source in values if source.sampler == "exact"]
    if metric is None or not exact:
        return None
    work, chains = _work(section), [source for source in values if source.steps]
    rows = []
    for goal in reading_order(exact):
        bar = _mean(values[goal], values[goal].main_key)
        cells = {
            "model": Cell(code=goal.label),
            "β": Cell(beta_text(goal.beta or 0.0)),
            "exact": Cell(estimate_text(bar), bar.mean if bar else None, _evaluations(work.get(goal))),
        }
        base = [source for source in values if source.sampler == "base" and source.label == goal.label]
        here = [source for source in chains if (source.label, source.beta) == (goal.label, goal.beta)]
        columns: dict[str, list[Source]] = {"base alone": base}
        for source in sorted(here, key=lambda source: source.steps):
            columns.setdefault(source.sampler + step_text(source, chains), []).append(source)
        found = {name: _first(own, values, goal, bar, work, direction(metric)) for name, own in columns.items()}
        if found["base alone"].tone == "good":
            found |= {name: Cell("base suffices") for name, own in columns.items() if own and name != "base alone"}
        rows.append(cells | found)
    notes = [
        "The least work, in evaluations per sample with and without gradient counted alike, at which the mean "
        f"{metric} is no worse than the worse end of the exact row's 95 % interval; only the suite's lengths are looked at, and better "
        "than exact counts as no worse. Where the base alone is no worse (with few seeds the interval is wide), nothing can be said "
        "about samplers. The training of the energy and of a calibration is not counted. — was not run at that β."
    ]
    return table_of("Fastest sampler to the exact row", rows, notes)


def _first(
    lengths: Sequence[Source],
    values: Mapping[Source, SourceValues],
    goal: Source,
    bar: Estimate | None,
    work: Mapping[Source, int],
    sense: int,
) -> Cell:
    """Return the work of the first of these sources, shortest first, whose mean is no worse than the bar."""
    if not lengths:
        return MISSING
    key, spent = values[goal].main_key, [work.get(source, 0) for source in lengths]
    end = None if bar is None else bar.ci_low if sense > 0 else bar.ci_high
    if bar is None or end is None:
        return Cell("no interval")
    if not sense:
        return Cell("no direction")
    for source, cost in zip(lengths, spent, strict=True):
        mean = _mean(values[source], key)
        if mean is not None and sense * (mean.mean - end) >= 0:
            return Cell(f"{cost:,}", cost, f"({number(mean.mean)})", tone="good")
    return Cell(f"not within {max(spent):,}", math.inf, tone="bad")


def _mean(values: SourceValues, key: str) -> Estimate | None:
    own = values.values.get(key)
    return mean_interval(list(own.values())) if own else None


def _work(section: Section) -> dict[Source, int]:
    """Return the evaluations per sample of every readout, the dearest seed's."""
    found: dict[Source, int] = {}
    for row in records(section.counted[[*Source._fields, *COSTS]].drop_duplicates()):
        spent = (row.gradient_evaluations or 0) + (row.forward_evaluations or 0)
        found[source_of(row)] = max(spent, found.get(source_of(row), 0))
    return found


def _evaluations(count: int | None) -> str:
    return "" if count is None else f"({plural(count, 'evaluation')})"


def _longest(section: Section) -> list[Reached]:
    """Return chains at the longest length that any of their model's runs was asked for."""
    last: dict[Source, Reached] = {}
    for source, each in reached(section).items():
        if source.steps:
            place = source._replace(steps=0)
            last[place] = max(each, last.get(place, each), key=lambda found: found.source.steps)
    return list(last.values())


def target_note(found: Iterable[Reached]) -> str:
    """Return what the marks of targets mean, as far as they occur; empty without any."""
    marks = {each.mark[:1] for each in found}
    words = {
        "✓": "✓ the chain is at its target",
        "→": "→ it has covered so much of the distance from its base",
        "?": "? one cannot tell",
    }
    said = [text for mark, text in words.items() if mark in marks]
    return f"Target: {listed(said)}; what is not ✓ is short-run refinement." if said else ""


def _beta_range(each: Reached) -> str:
    betas = [row.beta_used for row in each.rows if row.beta_used is not None]
    return (
        f"= {number(fmean(betas))} {_range(betas, number)}".strip()
        if each.source.beta == CALIBRATED_BETA and betas
        else ""
    )


def _range(values: Sequence[float], form: Any) -> str:
    ends = dict.fromkeys((form(min(values)), form(max(values))))
    return f"[{', '.join(ends)}]" if len(ends) > 1 else ""


def _counts(values: Iterable[float]) -> Cell:
    known = [round(value) for value in values]
    return Cell(span(known), max(known)) if known else MISSING


def _calibrated(each: Reached) -> bool:
    return any(_calibration_of(row) for row in each.rows)


def _chain_of(row: Any) -> Mapping[str, Any]:
    return row.row.get("chain") or {}


def _calibration_of(row: Any) -> Mapping[str, Any]:
    return row.row.get("calibration") or {}
