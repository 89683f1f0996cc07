"""What a report says about likelihoods: the answers in sentences, a line per model with all that its number rests on, and differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from bench.densities.comparisons import OWN_BASE, LikelihoodComparison, Likelihoods
from bench.densities.figures import corner_figure, likelihood_figure
from bench.densities.gains import gain_figure, gain_sentences, gain_table
from bench.densities.published import published_table
from bench.report import tables
from bench.report.blocks import READING_TONES, Block, Cell, Column, Reply, Table, Verdict
from bench.report.certificate import certificate
from bench.report.figures import training_figure
from bench.report.tables import count_cell, mean_cell, number_cell
from bench.report.text import estimate_text, interval_text, number, span
from bench.results.sources import records
from bench.stats import t_quantile

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["blocks", "likelihood_sentences", "likelihood_table", "replies"]

DIFFERENCES = "Paired differences in log-likelihood"
_WORDS = ("model", "type", "status", "minus", "reading")
_QUESTION = "With a flow as base, does the energy reach or beat maximum likelihood, and can its number be trusted?"


def blocks(section: Section) -> list[Block]:
    """Return a section's blocks, the verdict first."""
    found = Likelihoods(section)
    shown = [
        Verdict(section.dataset, _QUESTION, points=likelihood_sentences(found)),
        likelihood_figure(found),
        likelihood_table(found),
        _difference_table(found),
        gain_table(found),
        gain_figure(found),
        published_table(found),
        corner_figure(found),
        tables.partition_table(section),
        training_figure(section),
        tables.failure_table(section, apart=True),
        *certificate(section)[:1],  # flows of other families are no fault here
        tables.time_table(section),
    ]
    return [block for block in shown if block is not None]


def replies(section: Section) -> list[Reply]:
    """Return what every energy learned on the flow that GEBMs stand on gains over flows, read by Holm's method as in the table."""
    found, said = Likelihoods(section), []
    for each in found.comparisons:
        if found.is_learned(each.treatment) and not found.stands_elsewhere(each.treatment):
            budget = found.configs.get(each.reference, {}).get("control")
            matched = f", which got the energy's {budget} instead" if budget else ""
            estimate = each.difference.estimate if each.difference else None
            said.append(
                Reply(
                    f"Is {each.treatment} better than {each.reference}{matched}?",
                    each.reading,
                    f"{estimate_text(estimate)} nats" if estimate else "no shared seed",
                    "log Z is more uncertain than that"
                    if each.drowned
                    else f"p {number(each.p_holm)} after Holm in its section",
                    DIFFERENCES,
                    estimate,
                )
            )
    return said


def likelihood_sentences(found: Likelihoods) -> list[str]:
    """Return what the tables say, for those who read no further."""
    sentences = _collapsed(found)
    learned = [label for label in found.by_label if found.is_learned(label) and not found.stands_elsewhere(label)]
    sentences += [_sentence(each) for each in found.comparisons if each.treatment in learned]
    sentences += _joint(found) + gain_sentences(found)
    likelihoods = sorted(found.rows.get("log-likelihood", {}).values(), key=lambda row: -row.mean)
    exact = [row for row in likelihoods if row.label in found.by_label and found.is_exact(row.label)]
    if exact:
        ranked = ", ".join(f"{row.label} {' '.join(_nats(row))}".rstrip() for row in exact)
        sentences.append(f"Maximum likelihood alone, best first: {ranked}.")
    sentences += _calibration(found)
    if gaps := sorted(found.rows.get("gap-to-truth", {}).values(), key=lambda row: row.mean):
        texts = (" ".join(interval_text(row.mean, row.ci_low, row.ci_high)) for row in gaps)
        ranked = ", ".join(f"{row.label} {text}".rstrip() for row, text in zip(gaps, texts, strict=True))
        sentences.append(f"Distance to the known truth, KL(p‖q) in nats: {ranked}.")
    return sentences or ["No finished run has a likelihood yet."]


def _sentence(each: LikelihoodComparison) -> str:
    whose = f"{each.treatment} against {each.reference}"
    if each.difference is None:
        return f"{whose}: no shared seed."
    estimate, reading = each.difference.estimate, each.reading
    said = f"{estimate_text(estimate)} nats, n = {estimate.n}, p {number(each.p_holm)} after Holm"
    if reading == "no verdict":
        return f"{whose}: no verdict, {estimate.why_not} (difference {number(estimate.mean)} nats)."
    if each.drowned:
        error = number(each.log_partition_error)
        return f"{whose}: no clear difference; log Z is uncertain by {error} nats, more than the difference ({said})."
    return f"{whose}: {reading} ({said})."


def _collapsed(found: Likelihoods) -> list[str]:
    """Return, loudly, which models lost what they started with."""
    return [
        f"{label} COLLAPSED, seed {row.seed}: {row.row['collapsed']}."
        for label, own in found.by_label.items()
        for row in own
        if row.row.get("collapsed")
    ]


def _joint(found: Likelihoods) -> list[str]:
    """Return what became of joint training that started from a trained flow: which state was kept, and how often it had to come back."""
    sentences = []
    for label, own in found.by_label.items():
        facts = [row.row["likelihood"]["warm_start"] for row in own if "warm_start" in row.row["likelihood"]]
        if facts:
            kept, restarts = (", ".join(f"{each[name]:,}" for each in facts) for name in ("step", "restarts"))
            sentences.append(
                f"{label}: state kept by validation, in base steps from the trained flow (0: the flow itself), by seed: {kept}; "
                f"restarts: {restarts}."
            )
    return sentences


def _calibration(found: Likelihoods) -> list[str]:
    """Return how far the estimates of log Z are from it, where it is known."""
    errors = [
        (each["estimate"] - each["known"], each.get("standard_error") or 0.0, each.get("mass_beyond"))
        for label in found.by_label
        for each in found.partitions(label)
        if each.get("known") is not None and each.get("reportable")
    ]
    if not errors:
        return []
    error, standard, beyond = max(errors, key=lambda found: abs(found[0]))
    within = sum(abs(each) <= 2 * own for each, own, _ in errors)
    missed = "" if beyond is None else f"; {beyond:.1%} of that model's mass has a lower energy than any draw"
    return [
        f"Where log Z is known, {within} of {len(errors)} estimates are within two of their standard errors; "
        f"the largest error is {number(error)} nats (standard error {number(standard)}{missed})."
    ]


def likelihood_table(found: Likelihoods) -> Table | None:
    """Return a row per model: its log-likelihood, exact or estimated, and everything that the number rests on; None without a model."""
    notes = [
        "Mean over seeds [95 % Student-t interval]. A GEBM's value is LL_IS, the upper end of its bracket, optimistic on "
        "average; the lower end is LL_c. ± are standard errors: of the mean over test rows, of log Z, of the mean over seeds. "
        "ESS/M and k̂ are the worst over seeds.",
    ]
    rows = [row.row for own in found.by_label.values() for row in own]
    protocol = [f"Protocol: {key}." for key in dict.fromkeys(row.get("key") for row in rows) if key]
    protocol += dict.fromkeys(remark for row in rows for remark in row["likelihood"].get("remarks") or ())
    if rows and (offset := rows[0]["likelihood"].get("log_det")):
        protocol.append(f"Values are of transformed rows; add {number(offset)} nats for those of the rows in the file.")
    lines = [_line(found, label) for label in found.by_label]
    return _table("Held-out log-likelihood, nats per row", lines, notes, protocol, "untitled")


def _line(found: Likelihoods, label: str) -> dict[str, Cell]:
    def row(metric: str) -> Any:
        return found.rows.get(metric, {}).get(label)

    own, partitions, main = found.by_label[label], found.partitions(label), row("log-likelihood")
    methods = ", ".join(dict.fromkeys(each.get("method", "") for each in partitions))
    typed = Cell("exact") if found.is_exact(label) else Cell("estimated", detail=methods, short="estimated")
    seeds_error = None if main is None or main.ci_low is None else (main.ci_high - main.ci_low) / 2
    draws = [each.get("draws", 0) for each in partitions]
    shares = [each.row.get("scores", {}).get("ess-fraction") or 0.0 for each in own if each.row.get("log_partition")]
    shapes = [each["pareto_k"] for each in partitions if each.get("pareto_k") is not None]
    worst = number_cell(max(shapes, default=None))
    return {
        "model": Cell("", code=label),
        "type": typed,
        "log-likelihood ↑": _nats_cell(main, "not reportable" if partitions else "—"),
        "bracket, lower end": _nats_cell(row("log-likelihood-lower"), interval=False),
        "own base": _nats_cell(row("base-log-likelihood"), interval=False),
        "gain over it": mean_cell(row("likelihood-gain")),
        **({"KL to truth ↓": mean_cell(row("gap-to-truth"))} if "gap-to-truth" in found.rows else {}),
        "± test points": number_cell(fmean([each.row["likelihood"]["points_error"] for each in own])),
        "± log Z": number_cell(found.log_partition_error(label) if partitions else None),
        "± seeds": number_cell(seeds_error and float(seeds_error / t_quantile(0.95, main.n - 1))),
        "M": Cell(span(draws), max(draws, default=None)),
        "ESS/M": number_cell(min(shares) if partitions else None),
        "Pareto k̂": replace(worst, tone="bad") if worst.value is not None and worst.value >= 0.7 else worst,
        "n": count_cell(main.n if main else 0),
        "status": _status_cell(found, label),
    }


def _difference_table(found: Likelihoods) -> Table | None:
    """Return the paired differences; None where there are none."""
    lines = []
    for each in found.comparisons:
        difference, error = each.difference, each.log_partition_error
        estimate = difference.estimate if difference else None
        ends = interval_text(estimate.mean, estimate.ci_low, estimate.ci_high) if estimate else ("—", "")
        uncertain = Cell(number(error), error)
        if each.drowned:
            uncertain = replace(uncertain, detail="more than the difference", tone="bad")
        lines.append(
            {
                "model": Cell("", code=each.treatment),
                "minus": Cell(OWN_BASE) if each.reference == OWN_BASE else Cell("", code=each.reference),
                "difference, nats": Cell(ends[0], estimate.mean if estimate else None, ends[1]),
                "± test points": number_cell(difference.point_error if difference else None),
                "± seeds": number_cell(difference.seed_error if difference else None),
                "± log Z": uncertain,
                "pairs": count_cell(len(difference.seeds) if difference else 0),
                "p, Holm": number_cell(each.p_holm),
                "reading": Cell(each.reading, tone=READING_TONES.get(each.reading, "open")),
            }
        )
    notes = [
        "Mean difference [95 % interval] over shared seeds and shared test rows, for new seeds and new rows; p and reading are corrected "
        "by Holm's method for all rows of this table. A difference smaller than the standard error of log Z is none."
    ]
    return _table(DIFFERENCES, lines, notes)


def _table(
    title: str,
    lines: Sequence[Mapping[str, Cell]],
    notes: Sequence[str],
    legend: Sequence[str] = (),
    terminal: Literal["never", "untitled"] = "never",
) -> Table | None:
    """Return rows of cells by heading as a table; None without a row."""
    if not lines:
        return None
    columns = [Column(name, name not in _WORDS, "always" if name == "model" else "room") for name in lines[0]]
    return Table(title, columns, [list(line.values()) for line in lines], notes, legend, terminal=terminal)


def _nats(row: Any) -> tuple[str, str]:
    """Return a log-likelihood to two decimals whatever its size, since differences matter, and its interval."""
    mean, *ends = (f"{value:.2f}".replace("-", "−") for value in (row.mean, row.ci_low or 0.0, row.ci_high or 0.0))
    return mean, "" if row.ci_low is None else f"[{', '.join(ends)}]"


def _nats_cell(row: Any, otherwise: str = "—", interval: bool = True) -> Cell:
    if row is None:
        return Cell(otherwise)
    text, ends = _nats(row)
    return Cell(text, row.mean, ends if interval else "")


def _status_cell(found: Likelihoods, label: str) -> Cell:
    """Return what is wrong with the rows of a model; a log Z that may not be reported explains a missing value."""
    refused = [row for row in found.by_label[label] if (row.row.get("log_partition") or {}).get("reportable") is False]
    if refused:
        return Cell(f"log Z not reportable: seed {', '.join(str(row.seed) for row in refused)}", tone="bad")
    summary = found.section.summary
    rows = records(summary[(summary["label"] == label) & summary["metric"].notna()])
    said = dict.fromkeys(filter(None, map(tables.said_apart, rows)))
    return Cell("; ".join(said) or "done", tone="bad" if said else "plain")
