"""What a report says about models of images: the verdict from paired differences, scores, samples, and samplers across datasets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.images.figures import chain_sheets_figure, samples_figure, score_figures
from bench.images.frechet_curves import frechet_table
from bench.images.published import orientation_table, published_images_table, published_sentence
from bench.images.sampler_table import sampler_tables
from bench.images.verdict import energy_verdict
from bench.report.blocks import READING_TONES, Block, Cell, Column, Table, TextBlock, Tone
from bench.report.certificate import certificate, mismatches
from bench.report.comparisons import Comparison, compare, headline_metric, metrics_of, reading_order, step_text
from bench.report.figures import training_figure
from bench.report.tables import (
    Keys,
    count_cell,
    failure_table,
    partition_table,
    read_keys,
    said_apart,
    stale_note,
    time_table,
)
from bench.report.text import (
    PAPER_BETA,
    about_density,
    arrow,
    beta_note,
    interval_text,
    number,
    readout_name,
    short_names,
    shortened_note,
    span,
)
from bench.results.sources import records, source_of

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["blocks", "blocks_across", "difference_table", "score_table"]

_TIMES = (
    "Training an extractor belongs to no run and is not counted. The features of the real images are computed once per store and are "
    "in the scoring of whichever run came first; an estimate of log Z counts as scoring."
)


def blocks(section: Section) -> list[Block]:
    """Return a section's blocks, the verdict first, then warnings, samples, scores and what they rest on."""
    sentence = published_sentence(section)
    found = [
        energy_verdict(section),
        *_warnings(section),
        samples_figure(section),
        chain_sheets_figure(section),
        *score_figures(section),
        score_table(section),
        TextBlock("", [sentence], terminal="untitled") if sentence else None,
        published_images_table(section),
        orientation_table(section),
        difference_table(section),
        frechet_table(section),
        partition_table(section),
        training_figure(section),
        failure_table(section),
        *certificate(section),
        time_table(section, _TIMES),
    ]
    return [block for block in found if block is not None]


def blocks_across(sections: Sequence[Section]) -> tuple[str, list[Block]]:
    """Return the title and the tables sampler × dataset."""
    return "Samplers across datasets", list(sampler_tables(sections))


def _warnings(section: Section) -> Iterator[Block]:
    """Yield what must be known before any number is read."""
    metric = headline_metric(section)
    rows = section.summary[(section.summary["metric"] == metric) & (section.summary["sampler"] != "data")]
    collapsed = [
        f"{label} collapsed in {len(gone)} of {len(own)} readouts ({gone[0].reason})."
        for label, own in rows[rows["mean"].notna()].groupby("label", sort=False)
        if (gone := records(own[own["status"] == "collapsed"]))
    ]
    if collapsed:
        yield TextBlock("Mode collapse", items=collapsed, tone="bad")
    if loud := mismatches(section):
        yield TextBlock("Not a comparison of equals", items=loud, tone="bad", terminal="untitled")


@dataclass
class _Line:
    """One readout of one model: its summary rows, and those of the model's density where it stands beside β=1."""

    first: Any
    rows: list[Any] = field(default_factory=list)
    gains: list[Any] = field(default_factory=list)

    def shown(self, metric: str) -> list[Any]:
        """Return what a cell is made of, one summary row per key; densities stand beside β=1 and nothing else."""
        found = [row for row in self.rows if row.metric == metric]
        if about_density(metric):
            found = (found or [row for row in self.gains if row.metric == metric]) if self.first.beta == 1.0 else []
        return found

    def cell(self, metric: str, keys: Keys, *, headline: bool) -> Cell:
        """Return the means of a metric with their intervals, and marks of keys that are not comparable."""
        found = [row for row in self.shown(metric) if row.mean is not None]
        if not found:
            return Cell("—")
        ends = [interval_text(row.mean, row.ci_low, row.ci_high) for row in found]
        said = [(mean, f"{end} {keys.mark(row)}".strip()) for (mean, end), row in zip(ends, found, strict=True)]
        text, detail = said[0] if len(said) == 1 else ("; ".join(" ".join(each).strip() for each in said), "")
        if headline:
            return Cell(text, found[0].mean, detail, tone=self.tone)
        short = "; ".join(f"{number(row.mean)} {keys.mark(row)}".strip() for row in found)
        return Cell(text, found[0].mean, detail, short=short)

    @property
    def tone(self) -> Tone:
        """Bad for what collapsed or is stale."""
        return "bad" if any(row.stale or row.status in ("collapsed", "failed") for row in self.rows) else "plain"

    @property
    def status(self) -> str:
        """What is wrong with the cells, each reason once."""
        return "; ".join(dict.fromkeys(filter(None, map(said_apart, self.rows)))) or "done"

    @property
    def short_status(self) -> str:
        """The worst of it in a word or two."""
        found = dict.fromkeys(said_apart(row).partition(":")[0] for row in self.rows)
        return next(filter(None, sorted(found)), "done")


def _score_lines(section: Section) -> list[_Line]:
    """Return lines in reading order: of each model its base, then chains by β and length; real data last."""
    lines: dict[tuple[Any, ...], _Line] = {}
    gains: dict[tuple[Any, ...], list[Any]] = {}
    for row in records(section.summary[section.summary["metric"].notna()]):
        apart = (row.stale, row.reason if row.status == "unfinished" else "")
        if about_density(row.metric) and not row.steps:
            gains.setdefault((row.label, *apart), []).append(row)
            continue
        place = (row.label, *apart, row.sampler, row.beta, row.step_size, row.steps)
        lines.setdefault(place, _Line(row)).rows.append(row)
    for whose, stated in gains.items():
        hosts = [line for place, line in lines.items() if place[:3] == whose and line.first.beta == 1.0]
        for line in hosts:
            line.gains = stated
        if not hosts:
            nothing = {"step_size": None, "steps": None, "gradient_evaluations": None}
            lines[*whose, "energy"] = _Line(stated[0]._replace(sampler="energy", beta=1.0, **nothing), stated)
    return reading_order(lines.values(), lambda line: line.first)


def score_table(section: Section) -> Table | None:
    """Return a line per model and readout, a column per metric; None without a score."""
    keys, lines = read_keys(section.summary), _score_lines(section)
    if not lines:
        return None
    headline, short = headline_metric(section), short_names(keys.metrics)
    columns = [
        Column("model", terminal="always"),
        Column("samples from", terminal="always"),
        Column("steps", numeric=True, terminal="always"),
        Column("gradient evaluations per sample", numeric=True, terminal="never"),
        *(_metric_column(name, short[name], headline) for name in keys.metrics),
        Column("n", numeric=True, terminal="always"),
        Column("status", terminal="always"),
    ]
    rows, said, sources = [], set(), [source_of(line.first) for line in lines]
    for line in lines:
        first = line.first
        target = (first.label, first.sampler, first.beta)
        counts = [row.n for row in line.rows]
        rows.append(
            [
                Cell("", code=first.label),
                _name_cell(first, step_text(source_of(first), sources), full=target not in said),
                Cell("—", short=" ")
                if first.steps is None
                else Cell(f"{first.steps:,}", first.steps, short=str(first.steps)),
                count_cell(first.gradient_evaluations),
                *(line.cell(name, keys, headline=name == headline) for name in keys.metrics),
                Cell(span(counts), min(counts)),
                Cell(line.status, tone=line.tone, short=line.short_status),
            ]
        )
        said.add(target)
    notes = [
        "Mean over seeds [95 % Student-t interval]; one seed has no interval. ↓ lower is better, ↑ higher is better.",
        shortened_note(keys.metrics),
        *_score_notes(lines),
        stale_note(row for line in lines for row in line.rows),
    ]
    remarks = dict.fromkeys(
        (f"{each.first.label}: {each.status}", each.tone) for each in lines if each.status != "done"
    )
    return Table("Scores", columns, rows, [*filter(None, notes)], keys.legend(), list(remarks), terminal="untitled")


def _metric_column(name: str, shown: str, headline: str | None) -> Column:
    if name == headline:
        return Column(arrow(shown), numeric=True, terminal="always")
    return Column(arrow(shown), numeric=True, terminal="never" if about_density(name) else "room")


def _name_cell(row: Any, step: str, *, full: bool) -> Cell:
    name = readout_name(row.sampler, row.beta, full=full) + step
    if row.beta is None or row.sampler is None:
        return Cell(name)
    meaning = {1.0: " (model)", PAPER_BETA: " (paper)"}.get(row.beta, "")
    return Cell(name, short=f"{row.sampler} β={row.beta:g}{meaning}{step.replace(',', '')}")


def _score_notes(lines: Iterable[_Line]) -> Iterator[str]:
    betas = sorted({line.first.beta for line in lines} - {None, 1.0})
    yield from (f"{beta_note(beta)}; no likelihood belongs to it." for beta in betas)
    if any(line.first.sampler == "data" for line in lines):
        yield "Real data scored like a model is the floor."


def difference_table(section: Section) -> Table | None:
    """Return every longest chain against its own base and every model without one; None where nothing can be compared."""
    headline, metrics = headline_metric(section), metrics_of(section, density=False, real=False)
    found = compare(section, metrics)
    if not found or headline is None:
        return None
    treatments = {each.treatment for each in found}
    lines = []
    for start in range(0, len(found), len(metrics)):
        group = found[start : start + len(metrics)]
        first = next(each for each in group if each.metric == headline)
        treatment = first.treatment
        name = f"{readout_name(treatment.sampler, treatment.beta)}{step_text(treatment, treatments)}, {treatment.steps} steps"
        p = first.difference.p_value if first.difference else None
        lines.append(
            [
                Cell(name, code=treatment.label),
                Cell("its own base") if first.own_base else Cell("", code=first.reference.label),
                *map(_difference_cell, group),
                _pairs_cell(first),
                Cell(first.reading, tone=READING_TONES.get(first.reading, "plain")),
                Cell(number(p), p),
            ]
        )
    names = [*map(arrow, short_names(metrics).values()), "pairs"]
    columns = [Column("samples"), Column("minus"), *(Column(name, numeric=True) for name in names)]
    note = (
        f"Mean paired difference [95 % interval] over shared seeds. Reading and exact sign-flip p are for "
        f"{headline}; with n pairs p cannot fall below 2^(1−n) (0.25 at 3, 0.0625 at 5)."
    )
    columns += [Column("reading"), Column("sign-flip p", numeric=True)]
    return Table("Paired differences", columns, lines, [note])


def _difference_cell(comparison: Comparison) -> Cell:
    estimate = comparison.estimate
    if estimate is None:
        return Cell(comparison.why_not)
    text, interval = interval_text(estimate.mean, estimate.ci_low, estimate.ci_high)
    return Cell(text, estimate.mean, interval)


def _pairs_cell(comparison: Comparison) -> Cell:
    if comparison.difference is None:
        return Cell("0", 0)
    pairs, dropped = len(comparison.difference.seeds), comparison.difference.dropped
    return Cell(f"{pairs}", pairs, f"({dropped} unpaired)" if dropped else "")
