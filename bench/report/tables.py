"""The tables of a chapter, the same for every form of the report; plain text, escaped by whoever renders them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from bench.report.blocks import READING_TONES, Cell, Column, Table, Tone
from bench.report.certificate import network_cells
from bench.report.chapters import Chapter
from bench.report.comparisons import Comparison, compare, headline_metric, metrics_of, step_text
from bench.report.rows import Keys, TableRow, read_keys, table_rows
from bench.report.text import arrow, beta_note, estimate_text, number, readout_name, short_names, shortened_note
from bench.results.facts import DATA, RunFacts
from bench.results.summary import SummaryRow

__all__ = [
    "certificate_table",
    "collapse_notes",
    "difference_table",
    "environment",
    "failure_table",
    "partition_table",
    "score_table",
    "time_table",
]

_IMAGE_TIMES = (
    "Training an extractor belongs to no run and is not counted. The features of the real images are computed once a store and are in the "
    "scoring of whichever run came first; an estimate of log Z counts as scoring."
)
_BAD_STATUS = ("collapsed", "failed", "stale")


def score_table(chapter: Chapter) -> Table | None:
    """A line a model × readout, a column a metric; None without a score."""
    keys = read_keys(chapter.rows)
    rows = table_rows(chapter.rows)
    if not rows:
        return None
    short, headline = short_names(keys.metrics), headline_metric(chapter.section)
    columns = [
        Column("model"),
        Column("samples from"),
        Column("steps", numeric=True),
        Column("gradient evaluations per sample", numeric=True),
        *(Column(arrow(short[name]), numeric=True) for name in keys.metrics),
        Column("n", numeric=True),
        Column("status"),
    ]
    lines, said = [], set()
    for row in rows:
        name = readout_name(row.sampler, row.beta, full=row.target not in said)
        said.add(row.target)
        if row.step_size is not None and row.ambiguous:
            name += f", step {row.step_size:g}"
        tone: Tone = "bad" if row.statuses & set(_BAD_STATUS) else "plain"
        lines.append(
            [
                Cell("", code=row.label),
                Cell(name),
                _count_cell(row.steps),
                _count_cell(row.gradient_evaluations),
                *(_score_cell(row, metric, keys, tone if metric == headline else "plain") for metric in keys.metrics),
                Cell(row.n, float(row.n.split("–")[0])),
                Cell(row.status, tone=tone),
            ]
        )
    notes = [
        "Mean over seeds [95 % Student-t interval]; one seed has no interval. ↓ lower is better, ↑ higher is better.",
        shortened_note(keys.metrics),
        *_score_notes(rows),
    ]
    return Table("Scores", columns, lines, [note for note in notes if note], keys.legend())


def collapse_notes(chapter: Chapter) -> list[str]:
    """Which models collapsed, a sentence each."""
    headline = headline_metric(chapter.section)
    readouts: dict[str, list[SummaryRow]] = {}
    for row in chapter.rows:
        if row.metric == headline and row.mean is not None and row.sampler != DATA:
            readouts.setdefault(row.label, []).append(row)
    collapsed = {label: [row for row in rows if row.status == "collapsed"] for label, rows in readouts.items()}
    return [
        f"{label} collapsed in {len(rows)} of {len(readouts[label])} readouts ({rows[0].reason})."
        for label, rows in collapsed.items()
        if rows
    ]


def _score_cell(row: TableRow, metric: str, keys: Keys, tone: Tone) -> Cell:
    text, interval, rest = row.text(metric, keys).partition(" [")
    means = [each.mean for each in row.shown(metric) if each.mean is not None]
    return Cell(text, means[0] if means else None, f"[{rest}" if interval else "", tone=tone if means else "plain")


def _count_cell(value: int | None) -> Cell:
    return Cell("—") if value is None else Cell(f"{value:,}", value)


def _score_notes(rows: Iterable[TableRow]) -> Iterable[str]:
    betas = sorted({row.beta for row in rows if row.beta not in (None, 1.0)})
    yield from (f"{beta_note(beta)}; no likelihood belongs to it." for beta in betas if beta is not None)
    if any(row.sampler == DATA for row in rows):
        yield "Real data scored like a model is the floor."


def difference_table(chapter: Chapter) -> Table | None:
    """Every longest chain against its own base and every model without one; None where nothing can be compared."""
    section = chapter.section
    headline = headline_metric(section)
    metrics = metrics_of([s for s in section.scores if s.sampler != DATA], density=False)
    found = compare(section, metrics)
    if not found or headline is None:
        return None
    columns = [
        Column("samples"),
        Column("minus"),
        *(Column(arrow(name), numeric=True) for name in short_names(metrics).values()),
        Column("pairs", numeric=True),
        Column("reading"),
        Column("sign-flip p", numeric=True),
    ]
    treatments = {each.treatment for each in found}
    lines = []
    for start in range(0, len(found), len(metrics)):
        group = found[start : start + len(metrics)]
        first = next(each for each in group if each.metric == headline)
        treatment = first.treatment
        name = readout_name(treatment.sampler, treatment.beta) + step_text(treatment, treatments)
        name += f", {treatment.steps} steps"
        reference = Cell("its own base") if first.own_base else Cell("", code=first.reference.label)
        tone = READING_TONES.get(first.reading, "plain")
        cells = [_difference_cell(each) for each in group]
        rest = [_pairs_cell(first), Cell(first.reading, tone=tone), _p_cell(first)]
        lines.append([Cell(name, code=treatment.label), reference, *cells, *rest])
    note = (
        f"Mean paired difference [95 % interval] over shared seeds. Reading and exact sign-flip p are for "
        f"{headline}; with n pairs p cannot fall below 2^(1−n) (0.25 at 3, 0.0625 at 5)."
    )
    return Table("Paired differences", columns, lines, [note])


def _difference_cell(comparison: Comparison) -> Cell:
    if comparison.difference is None or comparison.difference.estimate is None:
        return Cell(comparison.why_not)
    estimate = comparison.difference.estimate
    text, interval, rest = estimate_text(estimate).partition(" [")
    return Cell(text, estimate.mean, f"[{rest}" if interval else "")


def _pairs_cell(comparison: Comparison) -> Cell:
    if comparison.difference is None:
        return Cell("0", 0)
    pairs, dropped = len(comparison.difference.seeds), comparison.difference.dropped
    return Cell(f"{pairs}", pairs, f"({dropped} unpaired)" if dropped else "")


def _p_cell(comparison: Comparison) -> Cell:
    p = comparison.difference.p_value if comparison.difference else None
    return Cell(number(p), p)


def failure_table(chapter: Chapter) -> Table | None:
    """Runs that gave no score, and why; None where every run gave one."""
    rows = [row for row in chapter.rows if row.metric is None]
    if not rows:
        return None
    lines = [[Cell("", code=row.label), Cell(row.status, tone="bad"), Cell(row.reason)] for row in rows]
    return Table("Runs without scores", [Column("model"), Column("status"), Column("reason")], lines)


def certificate_table(chapter: Chapter) -> Table | None:
    """Parameters and FLOPs of every network, and whether the models' are the same; None without facts."""
    if not chapter.facts:
        return None
    header, rows = network_cells(chapter.networks)
    columns = [Column(name, numeric=index > 0) for index, name in enumerate(header)]
    return Table("Certificate: the same networks", columns, [[Cell(text) for text in row] for row in rows])


def time_table(chapter: Chapter) -> Table | None:
    """Wall clock by phase, mean per run; None where none was recorded."""
    phases = list(dict.fromkeys(phase for facts in chapter.facts for phase in facts.seconds))
    if not phases:
        return None
    lines = []
    for label, runs in chapter.networks.items():
        means = [fmean([facts.seconds.get(phase, 0.0) for facts in runs]) for phase in phases]
        cells = [Cell(number(value), value) for value in (*means, sum(means))]
        lines.append([Cell("", code=label), *cells, Cell(str(len(runs)), len(runs))])
    names = [*(f"{phase}, s" for phase in phases), "total, s", "runs"]
    columns = [Column("model"), *(Column(name, numeric=True) for name in names)]
    about_images = not chapter.about_chains and not chapter.about_likelihoods
    return Table("Time, mean per run", columns, lines, [_IMAGE_TIMES] if about_images else [])


def partition_table(chapter: Chapter) -> Table | None:
    """Every estimate of log Z with what it is worth, a line a run; None where there is none."""
    stated = [
        (label, run.seed, each)
        for label, runs in chapter.networks.items()
        for run in runs
        for each in run.log_partitions
    ]
    if not stated:
        return None
    with_bracket = any(each.bracket for _, _, each in stated)
    lines = []
    for label, seed, each in stated:
        values = (each.estimate, each.standard_error, each.effective_fraction, each.pareto_k, each.gain)
        brackets = [_bracket_cell(each.bracket)] if with_bracket else []
        usable = Cell("yes") if each.reportable else Cell("no", tone="bad")
        if each.warnings:
            usable = Cell(usable.text, detail="; ".join(each.warnings), tone=usable.tone)
        lines.append([Cell("", code=label), Cell(str(seed), seed), *map(_value_cell, values), *brackets, usable])
    names = ["seed", "log Z, nats", "standard error", "ESS/M", "Pareto k̂", "gain L(E), nats"]
    names += ["bracket of the log-likelihood, nats"] if with_bracket else []
    columns = [Column("model"), *(Column(name, numeric=True) for name in names), Column("usable")]
    notes = [
        "log Z is the log-partition of the energy over its base. With Pareto k̂ below 0.5 and ESS/M near 1 importance sampling is "
        "reliable; from k̂ = 0.7 on the number is not used as a result."
    ]
    if with_bracket:
        notes.append("A bracket holds the held-out log-likelihood between its ends; it is sorted by its width.")
    keys = dict.fromkeys(each.key for _, _, each in stated if each.key)
    return Table("Calibration of log Z", columns, lines, notes, [f"Protocol: {key}" for key in keys])


def _bracket_cell(bracket: tuple[float, float] | None) -> Cell:
    if bracket is None:
        return Cell("—")
    return Cell(f"[{number(bracket[0])}, {number(bracket[1])}]", bracket[1] - bracket[0])


def _value_cell(value: float | None) -> Cell:
    return Cell("—") if value is None or not math.isfinite(value) else Cell(number(value), value)


def environment(facts: Sequence[RunFacts]) -> list[str]:
    """The machines and versions behind the runs, a sentence each."""
    places: dict[str, int] = {}
    for run in {each.run: each for each in facts}.values():
        versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
        place = "; ".join(part for part in (run.device, versions) if part)
        places[place] = places.get(place, 0) + 1
    return [f"{count} run{'s' * (count > 1)}: {place or 'not recorded'}" for place, count in places.items()]
