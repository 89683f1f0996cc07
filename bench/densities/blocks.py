"""Likelihoods laid out for reading: the answers in sentences, a line a model with all that its number rests on, and paired differences.

A GEBM is compared with its own base and with the maximum-likelihood flow of the same architecture, over shared seeds and shared test rows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report.blocks import Cell, Column, Table, Tone
from bench.report.chapters import Chapter
from bench.report.text import estimate_text, number
from bench.results.facts import LikelihoodFacts, PartitionFacts, RunFacts
from bench.results.scores import NOT_COUNTED
from bench.results.summary import SummaryRow
from bench.stats import Estimate, TwoLevelDifference, two_level_difference
from bench.stats.estimates import t_quantile

__all__ = [
    "LIKELIHOOD_QUESTION",
    "LikelihoodComparison",
    "compare_likelihoods",
    "likelihood_difference_table",
    "likelihood_notes",
    "likelihood_sentences",
    "likelihood_table",
    "matched_flow",
    "published_table",
]

LIKELIHOOD_QUESTION = (
    "With a flow as base, does the energy reach or beat maximum likelihood, and can its number be trusted?"
)
PUBLISHED = Path(__file__).with_name("published.toml")
READINGS: dict[str, Tone] = {"better": "good", "worse": "bad"}


@dataclass(frozen=True)
class LikelihoodComparison:
    """treatment − reference in mean test log-likelihood, nats.

    Attributes:
        treatment: label of a model.
        reference: label of another, or "its own base".
        difference: over shared seeds and test rows; None where nothing can be paired.
        log_partition_error: root mean square over seeds of the standard errors of log Z that enter it.
    """

    treatment: str
    reference: str
    difference: TwoLevelDifference | None
    log_partition_error: float

    @property
    def drowned(self) -> bool:
        """Whether log Z is more uncertain than the difference is large."""
        return self.difference is not None and self.log_partition_error > abs(self.difference.estimate.mean)

    @property
    def reading(self) -> str:
        """The outcome in words."""
        if self.difference is None:
            return "not comparable"
        side = self.difference.estimate.side()
        if side == "no interval":
            return "no verdict"
        if self.drowned or side == "unclear":
            return "no clear difference"
        return "better" if side == "above" else "worse"


def compare_likelihoods(chapter: Chapter) -> list[LikelihoodComparison]:
    """Every GEBM with its own base where that is no model of the chapter, and every model with the flow that GEBMs stand on."""
    networks = {label: _by_seed(runs) for label, runs in chapter.networks.items()}
    networks = {label: runs for label, runs in networks.items() if runs}
    reference = matched_flow(chapter)
    found = []
    for label, runs in networks.items():
        error = _log_partition_error(runs)
        reweighted = any(not _likelihood(run).exact for run in runs.values())
        if reweighted and (reference is None or not _same_base(runs, networks[reference])):
            difference = _difference(runs, runs, lambda facts: facts.base_points)
            found.append(LikelihoodComparison(label, "its own base", difference, error))
        if reference is not None and label != reference:
            difference = _difference(runs, networks[reference])
            found.append(LikelihoodComparison(label, reference, difference, error))
    return found


def matched_flow(chapter: Chapter) -> str | None:
    """The maximum-likelihood flow with the architecture of the GEBMs' bases; None where there is none."""
    bases = {
        run.architecture.get("flow")
        for runs in chapter.networks.values()
        for run in runs
        if run.likelihood is not None and not run.likelihood.exact
    }
    for label, runs in chapter.networks.items():
        if any(
            run.likelihood is not None and run.likelihood.exact and run.architecture.get("flow") in bases
            for run in runs
        ):
            return label
    return None


def likelihood_sentences(chapter: Chapter) -> list[str]:
    """What the tables say, for those who read no further; plain text."""
    sentences = []
    for each in compare_likelihoods(chapter):
        if not any(part.known is None for run in chapter.networks[each.treatment] for part in run.log_partitions):
            continue  # exact, or there to calibrate log Z
        sentences.append(_sentence(each))
    exact = [row for row in _rows(chapter, "log-likelihood").values() if _is_exact(chapter, row.label)]
    if exact:
        ranked = sorted(exact, key=lambda row: -(row.mean or 0.0))
        sentences.append(
            "Maximum likelihood alone, best first: "
            + ", ".join(f"{row.label} {' '.join(_nats(row.estimate))}".rstrip() for row in ranked if row.estimate)
            + "."
        )
    return [*sentences, *_calibration(chapter), *_truth(chapter)] or ["No finished run has a likelihood yet."]


def _sentence(each: LikelihoodComparison) -> str:
    whose = f"{each.treatment} against {each.reference}"
    if each.difference is None:
        return f"{whose}: no shared seed."
    estimate = each.difference.estimate
    reading = each.reading
    said = f"{estimate_text(estimate)} nats, n = {estimate.n}"
    if reading == "no verdict":
        return f"{whose}: no verdict, {estimate.why_not} (difference {number(estimate.mean)} nats)."
    if each.drowned:
        error = number(each.log_partition_error)
        return f"{whose}: no clear difference; log Z is uncertain by {error} nats, more than the difference ({said})."
    return f"{whose}: {reading} ({said})."


def _calibration(chapter: Chapter) -> list[str]:
    """Where log Z is known, how far the estimates are from it."""
    errors = [
        (each.estimate - each.known, each.standard_error or 0.0)
        for runs in chapter.networks.values()
        for run in runs
        for each in run.log_partitions
        if each.known is not None and each.reportable
    ]
    if not errors:
        return []
    worst = max(errors, key=lambda pair: abs(pair[0]))
    within = sum(abs(error) <= 2 * standard for error, standard in errors)
    return [
        f"Where log Z is known ({len(errors)} runs) the estimate is within two of its standard errors {within} times; "
        f"the largest error is {number(worst[0])} nats (standard error {number(worst[1])})."
    ]


def _truth(chapter: Chapter) -> list[str]:
    gaps = _rows(chapter, "gap-to-truth")
    if not gaps:
        return []
    ranked = sorted(gaps.values(), key=lambda row: row.mean or 0.0)
    return [
        "Distance to the known truth, KL(p‖q) in nats: "
        + ", ".join(f"{row.label} {estimate_text(row.estimate)}" for row in ranked)
        + "."
    ]


def likelihood_table(chapter: Chapter) -> Table | None:
    """A line a model: its log-likelihood with its type, and everything that the number rests on; None without one."""
    rows = {metric: _rows(chapter, metric) for metric in METRICS_SHOWN}
    labels = [label for label, runs in chapter.networks.items() if any(run.likelihood for run in runs)]
    if not labels:
        return None
    with_truth = bool(rows["gap-to-truth"])
    lines = []
    for label in labels:
        runs = [run for run in chapter.networks[label] if run.likelihood]
        partitions = [each for run in runs for each in run.log_partitions]
        main = rows["log-likelihood"].get(label)
        exact = _is_exact(chapter, label)
        kind = (
            Cell("exact")
            if exact
            else Cell("estimated", detail=", ".join(dict.fromkeys(each.method for each in partitions)))
        )
        lines.append(
            [
                Cell("", code=label),
                kind,
                _nats_cell(main, "not reportable" if partitions else "—"),
                _nats_cell(rows["log-likelihood-lower"].get(label), interval=False),
                _nats_cell(rows["base-log-likelihood"].get(label), interval=False),
                _estimate_cell(rows["likelihood-gain"].get(label), "—"),
                *([_estimate_cell(rows["gap-to-truth"].get(label), "—")] if with_truth else []),
                _number_cell(fmean([_likelihood(run).points_error for run in runs])),
                _number_cell(
                    _root_mean_square([each.standard_error or 0.0 for each in partitions]) if partitions else None
                ),
                _number_cell(_seeds_error(main)),
                *_weights_cells(partitions),
                Cell(str(main.n if main else 0), main.n if main else 0),
                _status_cell(chapter, label),
            ]
        )
    names = [
        "log-likelihood ↑",
        "bracket, lower end",
        "own base",
        "gain over it",
        *(["KL to truth ↓"] if with_truth else []),
    ]
    names += ["± test points", "± log Z", "± seeds", "M", "ESS/M", "Pareto k̂", "n"]
    columns = [Column("model"), Column("type"), *(Column(name, numeric=True) for name in names), Column("status")]
    return Table("Held-out log-likelihood, nats a row", columns, lines, _table_notes(), likelihood_notes(chapter))


METRICS_SHOWN = ("log-likelihood", "log-likelihood-lower", "base-log-likelihood", "likelihood-gain", "gap-to-truth")


def _table_notes() -> list[str]:
    return [
        "Mean over seeds [95 % Student-t interval over seeds]. A GEBM's value is LL_IS, the upper end of its bracket, optimistic on "
        "average; the lower end is LL_c. ± are standard errors: of the mean over test rows, of log Z, of the mean over seeds. "
        "ESS/M and k̂ are the worst over seeds."
    ]


def likelihood_notes(chapter: Chapter) -> list[str]:
    """What the numbers depend on; plain text."""
    found = [run.likelihood for runs in chapter.networks.values() for run in runs if run.likelihood]
    if not found:
        return []
    keys = dict.fromkeys(row.key for row in chapter.rows if row.metric == "log-likelihood" and row.key)
    notes = [f"Protocol: {key}." for key in keys]
    notes += dict.fromkeys(remark for facts in found for remark in facts.remarks)
    if found[0].log_det:
        notes.append(
            f"Values are of transformed rows; add {number(found[0].log_det)} nats for those of the rows in the file."
        )
    return notes


def likelihood_difference_table(chapter: Chapter) -> Table | None:
    """Paired differences; None where there are none."""
    found = compare_likelihoods(chapter)
    if not found:
        return None
    lines = []
    for each in found:
        difference = each.difference
        estimate = difference.estimate if difference else None
        flag = Cell(number(each.log_partition_error), each.log_partition_error, tone="bad" if each.drowned else "plain")
        if each.drowned:
            flag = Cell(flag.text, flag.value, "more than the difference", tone="bad")
        lines.append(
            [
                Cell("", code=each.treatment),
                Cell("", code=each.reference) if each.reference != "its own base" else Cell(each.reference),
                Cell(estimate_text(estimate) if estimate else "—", estimate.mean if estimate else None),
                _number_cell(difference.point_error if difference else None),
                _number_cell(difference.seed_error if difference else None),
                flag,
                Cell(str(len(difference.seeds)) if difference else "0", len(difference.seeds) if difference else 0),
                Cell(each.reading, tone=READINGS.get(each.reading, "open")),
            ]
        )
    names = ["difference, nats", "± test points", "± seeds", "± log Z", "pairs"]
    columns = [Column("model"), Column("minus"), *(Column(name, numeric=True) for name in names), Column("reading")]
    notes = [
        "Mean difference [95 % interval] over shared seeds and shared test rows, for new seeds and new rows. A difference smaller than the "
        "standard error of log Z is none."
    ]
    return Table("Paired differences in log-likelihood", columns, lines, notes)


def published_table(chapter: Chapter) -> Table | None:
    """Published numbers in the same protocol beside ours; None where there are none."""
    stated = published().get(chapter.section.dataset.partition("@")[0])
    if stated is None:
        return None
    ours = _rows(chapter, "log-likelihood")
    lines = []
    for entry in stated["rows"]:
        row = ours.get(entry.get("ours", ""))
        value = entry.get("value")
        theirs = Cell("—") if value is None else Cell(f"{number(value)} ± {number(entry['error'], value)}", value)
        lines.append(
            [Cell(entry["model"]), theirs, Cell("", code=entry["ours"]) if row else Cell("—"), _estimate_cell(row, "—")]
        )
    columns = [
        Column("published model"),
        Column("published", numeric=True),
        Column("ours"),
        Column("here", numeric=True),
    ]
    return Table("Published log-likelihoods beside ours", columns, lines, [stated["note"]])


@cache
def published() -> dict[str, dict[str, Any]]:
    """The file of published numbers, by dataset."""
    return tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))


def _rows(chapter: Chapter, metric: str) -> dict[str, SummaryRow]:
    """The rows of a metric by label, of the present code."""
    found = (
        row for row in chapter.rows if row.metric == metric and row.mean is not None and row.status not in NOT_COUNTED
    )
    return {row.label: row for row in found}


def _by_seed(runs: Sequence[RunFacts]) -> dict[int, RunFacts]:
    return {run.seed: run for run in runs if run.likelihood is not None}


def _likelihood(run: RunFacts) -> LikelihoodFacts:
    if run.likelihood is None:
        raise ValueError(f"{run.run} has no likelihood")
    return run.likelihood


def _is_exact(chapter: Chapter, label: str) -> bool:
    return all(run.likelihood.exact for run in chapter.networks.get(label, ()) if run.likelihood)


def _points(run: RunFacts, which: Callable[[LikelihoodFacts], Path]) -> NDArray[np.float64] | None:
    """The log-densities of a run, or None where it has no usable ones."""
    if any(not each.reportable for each in run.log_partitions):
        return None
    try:
        points = np.load(which(_likelihood(run)), allow_pickle=False).astype(np.float64)
    except (OSError, ValueError, EOFError):
        return None
    return points if np.isfinite(points).all() else None


def _difference(
    first: dict[int, RunFacts],
    second: dict[int, RunFacts],
    which: Callable[[LikelihoodFacts], Path] = lambda facts: facts.points,
) -> TwoLevelDifference | None:
    left = {
        seed: points for seed, run in first.items() if (points := _points(run, lambda facts: facts.points)) is not None
    }
    right = {seed: points for seed, run in second.items() if (points := _points(run, which)) is not None}
    if len({len(points) for points in [*left.values(), *right.values()]}) > 1:
        return None
    return two_level_difference(left, right)


def _same_base(runs: dict[int, RunFacts], flows: dict[int, RunFacts]) -> bool:
    """Whether the bases are those very flows, so that both comparisons are one."""
    shared = runs.keys() & flows.keys()
    pairs = [
        (_points(runs[seed], lambda f: f.base_points), _points(flows[seed], lambda f: f.points)) for seed in shared
    ]
    known = [(base, flow) for base, flow in pairs if base is not None and flow is not None]
    return bool(known) and all(np.array_equal(base, flow) for base, flow in known)


def _log_partition_error(runs: dict[int, RunFacts]) -> float:
    return _root_mean_square([each.standard_error or 0.0 for run in runs.values() for each in run.log_partitions])


def _root_mean_square(values: Sequence[float]) -> float:
    return fmean([value**2 for value in values]) ** 0.5 if values else 0.0


def _estimate_cell(row: SummaryRow | None, otherwise: str) -> Cell:
    if row is None:
        return Cell(otherwise)
    text, bracket, rest = estimate_text(row.estimate).partition(" [")
    return Cell(text, row.mean, f"[{rest}" if bracket else "")


def _nats(estimate: Estimate) -> tuple[str, str]:
    """A log-likelihood to two decimals whatever its size, since differences matter, and its interval."""
    mean, *ends = (
        f"{value:.2f}".replace("-", "−") for value in (estimate.mean, estimate.ci_low or 0.0, estimate.ci_high or 0.0)
    )
    return mean, "" if estimate.ci_low is None else f"[{', '.join(ends)}]"


def _nats_cell(row: SummaryRow | None, otherwise: str = "—", interval: bool = True) -> Cell:
    if row is None or row.estimate is None:
        return Cell(otherwise)
    text, ends = _nats(row.estimate)
    return Cell(text, row.mean, ends if interval else "")


def _seeds_error(row: SummaryRow | None) -> float | None:
    """Standard error of a mean over seeds, from its Student-t interval."""
    if row is None or row.ci_low is None or row.ci_high is None:
        return None
    return (row.ci_high - row.ci_low) / 2 / t_quantile(0.95, row.n - 1)


def _number_cell(value: float | None) -> Cell:
    return Cell("—") if value is None else Cell(number(value), value)


def _weights_cells(partitions: Sequence[PartitionFacts]) -> list[Cell]:
    """M, the worst ESS/M and the worst k̂."""
    if not partitions:
        return [Cell("—"), Cell("—"), Cell("—")]
    draws = sorted({each.draws for each in partitions})
    fraction = min(each.effective_fraction or 0.0 for each in partitions)
    shapes = [each.pareto_k for each in partitions if each.pareto_k is not None]
    worst = max(shapes) if shapes else None
    return [
        Cell("–".join(f"{count:,}" for count in dict.fromkeys((draws[0], draws[-1]))), draws[-1]),
        _number_cell(fraction),
        Cell("—") if worst is None else Cell(number(worst), worst, tone="bad" if worst >= 0.7 else "plain"),
    ]


def _status_cell(chapter: Chapter, label: str) -> Cell:
    """What is wrong with the rows of a model; a log Z that may not be reported explains a missing value."""
    refused = [run for run in chapter.networks[label] if any(not each.reportable for each in run.log_partitions)]
    if refused:
        seeds = ", ".join(str(run.seed) for run in refused)
        return Cell(f"log Z not reportable: seed {seeds}", tone="bad")
    said = dict.fromkeys(
        f"{row.status}: {row.reason}".rstrip(": ")
        for row in chapter.rows
        if row.label == label and row.metric is not None and (row.status != "done" or row.reason)
    )
    return Cell("; ".join(said) or "done", tone="bad" if said else "plain")
