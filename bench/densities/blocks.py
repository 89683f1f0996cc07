"""What a report says about likelihoods: the answers in sentences, a line per model with all that its number rests on, and differences."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.densities.comparisons import OWN_BASE, LikelihoodComparison, Likelihoods, root_mean_square
from bench.densities.figures import corner_figure, likelihood_figure
from bench.report.blocks import READING_TONES, Block, Cell, Column, Table, Verdict
from bench.report.certificate import certificate
from bench.report.figures import training_figure
from bench.report.tables import (
    count_cell,
    failure_table,
    mean_cell,
    number_cell,
    partition_table,
    said_apart,
    time_table,
)
from bench.report.text import estimate_text, interval_text, number, span
from bench.results.sources import records
from bench.stats import t_quantile

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["blocks", "difference_table", "likelihood_sentences", "likelihood_table", "published_table"]

_QUESTION = "With a flow as base, does the energy reach or beat maximum likelihood, and can its number be trusted?"


def blocks(section: Section) -> list[Block]:
    """Return a section's blocks, the verdict first."""
    found = Likelihoods(section)
    shown = [
        Verdict(section.dataset, _QUESTION, points=likelihood_sentences(found)),
        likelihood_table(found),
        likelihood_figure(found),
        difference_table(found),
        published_table(found),
        corner_figure(found),
        partition_table(section),
        training_figure(section),
        failure_table(section, apart=True),
        *certificate(section)[:1],  # flows of other families are no fault here
        time_table(section),
    ]
    return [block for block in shown if block is not None]


def likelihood_sentences(found: Likelihoods) -> list[str]:
    """Return what the tables say, for those who read no further."""
    sentences = []
    for each in found.comparisons:
        partitions = found.partitions(each.treatment)
        if any(part.get("known") is None for part in partitions):  # others are exact, or there to calibrate log Z
            sentences.append(_sentence(each))
    exact = [
        row
        for label, row in found.rows.get("log-likelihood", {}).items()
        if label in found.by_label and found.is_exact(label)
    ]
    if exact:
        ranked = ", ".join(
            f"{row.label} {' '.join(_nats(row))}".rstrip() for row in sorted(exact, key=lambda row: -row.mean)
        )
        sentences.append(f"Maximum likelihood alone, best first: {ranked}.")
    sentences += _calibration(found)
    if gaps := sorted(found.rows.get("gap-to-truth", {}).values(), key=lambda row: row.mean):
        ranked = ", ".join(
            f"{row.label} {' '.join(interval_text(row.mean, row.ci_low, row.ci_high))}".rstrip() for row in gaps
        )
        sentences.append(f"Distance to the known truth, KL(p‖q) in nats: {ranked}.")
    return sentences or ["No finished run has a likelihood yet."]


def _sentence(each: LikelihoodComparison) -> str:
    whose = f"{each.treatment} against {each.reference}"
    if each.difference is None:
        return f"{whose}: no shared seed."
    estimate, reading = each.difference.estimate, each.reading
    said = f"{estimate_text(estimate)} nats, n = {estimate.n}"
    if reading == "no verdict":
        return f"{whose}: no verdict, {estimate.why_not} (difference {number(estimate.mean)} nats)."
    if each.drowned:
        error = number(each.log_partition_error)
        return f"{whose}: no clear difference; log Z is uncertain by {error} nats, more than the difference ({said})."
    return f"{whose}: {reading} ({said})."


def _calibration(found: Likelihoods) -> list[str]:
    """Return how far the estimates of log Z are from it, where it is known."""
    errors = [
        (each["estimate"] - each["known"], each.get("standard_error") or 0.0)
        for label in found.by_label
        for each in found.partitions(label)
        if each.get("known") is not None and each.get("reportable")
    ]
    if not errors:
        return []
    worst = max(errors, key=lambda pair: abs(pair[0]))
    within = sum(abs(error) <= 2 * standard for error, standard in errors)
    return [
        f"Where log Z is known, {within} of {len(errors)} estimates are within two of their standard errors; "
        f"the largest error is {number(worst[0])} nats (standard error {number(worst[1])})."
    ]


def likelihood_table(found: Likelihoods) -> Table | None:
    """Return a line per model: its log-likelihood with its type, and everything that the number rests on; None without one."""
    if not found.by_label:
        return None
    with_truth = "gap-to-truth" in found.rows
    names = ["log-likelihood ↑", "bracket, lower end", "own base", "gain over it", *(["KL to truth ↓"] * with_truth)]
    names += ["± test points", "± log Z", "± seeds", "M", "ESS/M", "Pareto k̂", "n"]
    columns = [Column("model", terminal="always"), Column("type"), *(Column(name, numeric=True) for name in names)]
    notes = [
        "Mean over seeds [95 % Student-t interval]. A GEBM's value is LL_IS, the upper end of its bracket, optimistic on "
        "average; the lower end is LL_c. ± are standard errors: of the mean over test rows, of log Z, of the mean over seeds. "
        "ESS/M and k̂ are the worst over seeds.",
    ]
    lines = [_line(found, label, with_truth) for label in found.by_label]
    title = "Held-out log-likelihood, nats per row"
    return Table(
        title, [*columns, Column("status")], lines, [*filter(None, notes)], _protocol(found), terminal="untitled"
    )


def _line(found: Likelihoods, label: str, with_truth: bool) -> list[Cell]:
    def row(metric: str) -> Any:
        return found.rows.get(metric, {}).get(label)

    partitions, main, exact = found.partitions(label), row("log-likelihood"), found.is_exact(label)
    methods = ", ".join(dict.fromkeys(each.get("method", "") for each in partitions))
    points = fmean([each.row["likelihood"]["points_error"] for each in found.by_label[label]])
    return [
        Cell("", code=label),
        Cell("exact") if exact else Cell("estimated", detail=methods, short="estimated"),
        _nats_cell(main, "not reportable" if partitions else "—"),
        _nats_cell(row("log-likelihood-lower"), interval=False),
        _nats_cell(row("base-log-likelihood"), interval=False),
        mean_cell(row("likelihood-gain")),
        *([mean_cell(row("gap-to-truth"))] if with_truth else []),
        number_cell(points),
        number_cell(
            root_mean_square([each.get("standard_error") or 0.0 for each in partitions]) if partitions else None
        ),
        number_cell(_seeds_error(main)),
        *_weights_cells(found, label, partitions),
        count_cell(main.n if main else 0),
        _status_cell(found, label),
    ]


def _protocol(found: Likelihoods) -> list[str]:
    """Return what the numbers depend on."""
    facts = [row.row["likelihood"] for rows in found.by_label.values() for row in rows]
    keys = dict.fromkeys(row.row.get("key") for rows in found.by_label.values() for row in rows)
    notes = [f"Protocol: {key}." for key in keys if key]
    notes += dict.fromkeys(remark for each in facts for remark in each.get("remarks") or ())
    if facts[0].get("log_det"):
        offset = number(facts[0]["log_det"])
        notes.append(f"Values are of transformed rows; add {offset} nats for those of the rows in the file.")
    return notes


def difference_table(found: Likelihoods) -> Table | None:
    """Return the paired differences; None where there are none."""
    lines = []
    for each in found.comparisons:
        difference = each.difference
        estimate = difference.estimate if difference else None
        ends = interval_text(estimate.mean, estimate.ci_low, estimate.ci_high) if estimate else ("—", "")
        error, drowned = each.log_partition_error, each.drowned
        lines.append(
            [
                Cell("", code=each.treatment),
                Cell(OWN_BASE) if each.reference == OWN_BASE else Cell("", code=each.reference),
                Cell(ends[0], estimate.mean if estimate else None, ends[1]),
                number_cell(difference.point_error if difference else None),
                number_cell(difference.seed_error if difference else None),
                Cell(number(error), error, "more than the difference" * drowned, tone="bad" if drowned else "plain"),
                count_cell(len(difference.seeds) if difference else 0),
                Cell(each.reading, tone=READING_TONES.get(each.reading, "open")),
            ]
        )
    names = ["difference, nats", "± test points", "± seeds", "± log Z", "pairs"]
    columns = [Column("model"), Column("minus"), *(Column(name, numeric=True) for name in names), Column("reading")]
    notes = [
        "Mean difference [95 % interval] over shared seeds and shared test rows, for new seeds and new rows. A difference smaller than the "
        "standard error of log Z is none."
    ]
    return Table("Paired differences in log-likelihood", columns, lines, notes) if lines else None


def published_table(found: Likelihoods) -> Table | None:
    """Return published numbers in the same protocol beside ours; None where there are none."""
    stated = _published().get(str(found.section.scores["dataset"].iloc[0]).partition("@")[0])
    if stated is None:
        return None
    ours = found.rows.get("log-likelihood", {})
    lines = []
    for entry in stated["rows"]:
        row, value = ours.get(entry.get("ours", "")), entry.get("value")
        theirs = Cell("—") if value is None else Cell(f"{number(value)} ± {number(entry['error'], value)}", value)
        lines.append([Cell(entry["model"]), theirs, Cell("", code=entry["ours"]) if row else Cell("—"), mean_cell(row)])
    columns = [
        Column("published model"),
        Column("published", numeric=True),
        Column("ours"),
        Column("here", numeric=True),
    ]
    return Table("Published log-likelihoods beside ours", columns, lines, [stated["note"]])


@cache
def _published() -> Mapping[str, Any]:
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))


def _nats(row: Any) -> tuple[str, str]:
    """Return a log-likelihood to two decimals whatever its size, since differences matter, and its interval."""
    mean, *ends = (f"{value:.2f}".replace("-", "−") for value in (row.mean, row.ci_low or 0.0, row.ci_high or 0.0))
    return mean, "" if row.ci_low is None else f"[{', '.join(ends)}]"


def _nats_cell(row: Any, otherwise: str = "—", interval: bool = True) -> Cell:
    if row is None:
        return Cell(otherwise)
    text, ends = _nats(row)
    return Cell(text, row.mean, ends if interval else "")


def _seeds_error(row: Any) -> float | None:
    """Return the standard error of a mean over seeds, from its Student-t interval."""
    if row is None or row.ci_low is None:
        return None
    return float((row.ci_high - row.ci_low) / 2 / t_quantile(0.95, row.n - 1))


def _weights_cells(found: Likelihoods, label: str, partitions: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Return M, the worst ESS/M and the worst k̂."""
    if not partitions:
        return [Cell("—"), Cell("—"), Cell("—")]
    draws = [each.get("draws", 0) for each in partitions]
    scores = [row.row.get("scores", {}) for row in found.by_label[label] if row.row.get("log_partition")]
    shapes = [each["pareto_k"] for each in partitions if each.get("pareto_k") is not None]
    worst = number_cell(max(shapes, default=None))
    if worst.value is not None and worst.value >= 0.7:
        worst = Cell(worst.text, worst.value, tone="bad")
    return [Cell(span(draws), max(draws)), number_cell(min(each.get("ess-fraction") or 0.0 for each in scores)), worst]


def _status_cell(found: Likelihoods, label: str) -> Cell:
    """Return what is wrong with the rows of a model; a log Z that may not be reported explains a missing value."""
    refused = [row for row in found.by_label[label] if (row.row.get("log_partition") or {}).get("reportable") is False]
    if refused:
        return Cell(f"log Z not reportable: seed {', '.join(str(row.seed) for row in refused)}", tone="bad")
    summary = found.section.summary
    rows = records(summary[(summary["label"] == label) & summary["metric"].notna()])
    said = dict.fromkeys(filter(None, map(said_apart, rows)))
    return Cell("; ".join(said) or "done", tone="bad" if said else "plain")
