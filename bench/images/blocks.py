"""What a report says about models of images: the verdict from paired differences, scores, samples, and samplers across datasets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.images.attribution import makings
from bench.images.attribution_tables import attribution_table, post_hoc_table, seconds_table
from bench.images.convergence import RISING, UNDERTRAINED, training_marks
from bench.images.figures import score_figures, sheet_figures
from bench.images.frechet_curves import frechet_table
from bench.images.published import orientation_table, published_images_table, published_sentence
from bench.images.replies import replies
from bench.images.sampler_table import sampler_tables
from bench.images.targets import Reached, exact_table, fastest_table, reached, target_note, target_table
from bench.images.temperature import temperature_figure, temperature_table
from bench.images.training_curves import base_figure, base_table, energy_table
from bench.images.verdict import energy_verdict, main_sampler, quoted
from bench.report.blocks import MISSING, READING_TONES, Block, Cell, Table, TextBlock, Tone, table_of
from bench.report.certificate import certificate, mismatches
from bench.report.comparisons import Comparison, compare, headline_metric, metrics_of, reading_order, step_text
from bench.report.figures import training_figure
from bench.report.tables import (
    count_cell,
    failure_table,
    marked_scores,
    number_cell,
    partition_table,
    said_apart,
    stale_note,
    time_table,
)
from bench.report.text import (
    about_density,
    arrow,
    beta_note,
    interval_text,
    listed,
    metric_order,
    number,
    readout_name,
    short_names,
    shortened_note,
    span,
)
from bench.results.sources import CALIBRATED_BETA, Source, records, source_of

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["blocks", "blocks_across", "difference_table", "replies", "score_table"]

_UNENDED = (
    "‡ Undertrained: the second half of the base's steps still improved its score. § Energy still rising: its refit ran out of steps "
    "while the held-out gain rose. Whether training is at its end has tables of its own below."
)
MOST_LINES = 30  # of scores that a terminal shows; of more, the longest chains of one sampler
_TIMES = (
    "Training an extractor belongs to no run and is not counted. The features of the real images are computed once per store and are "
    "in the scoring of whichever run came first; an estimate of log Z counts as scoring."
)


def blocks(section: Section) -> list[Block]:
    """Return a section's blocks: the verdict, warnings, a picture and the scores, then what they rest on."""
    charts = [*score_figures(section, quoted(section))]
    found = [
        energy_verdict(section),
        *_warnings(section),
        *charts[:1],
        score_table(section),
        *sheet_figures(section, quoted(section)),
        *charts[1:],
        temperature_figure(section),
        temperature_table(section),
        target_table(section),
        exact_table(section),
        fastest_table(section),
        attribution_table(section),
        post_hoc_table(section),
        seconds_table(section),
        published_sentence(section),
        published_images_table(section),
        orientation_table(section),
        difference_table(section),
        frechet_table(section),
        partition_table(section),
        base_figure(section),
        base_table(section),
        energy_table(section),
        training_figure(section),
        failure_table(section),
        *certificate(section),
        time_table(section, _TIMES),
    ]
    return [block for block in found if block is not None]


def blocks_across(sections: Sequence[Section]) -> tuple[str, list[Table]]:
    """Return the title and the tables sampler × dataset."""
    return "Samplers across datasets", sampler_tables(sections)


def _warnings(section: Section) -> Iterator[Block]:
    """Yield what must be known before any number is read."""
    metric = headline_metric(section)
    rows = section.summary[(section.summary["metric"] == metric) & (section.summary["sampler"] != "data")]
    rows = rows[rows["mean"].notna()]
    collapsed = [
        f"{label} collapsed in {len(gone)} of {(rows['label'] == label).sum()} readouts ({gone['reason'].iloc[0]})."
        for label, gone in rows[rows["status"] == "collapsed"].groupby("label", sort=False)
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
    densities: list[Any] = field(default_factory=list)

    def cell(self, metric: str, *, headline: bool) -> Cell:
        """Return the means of a metric with their intervals, one per key, marked where they are not comparable."""
        found = [row for row in (*self.rows, *self.densities) if row.metric == metric and row.mean is not None]
        if not found:
            return MISSING
        said = []
        for row in found:
            text, ends = interval_text(row.mean, row.ci_low, row.ci_high)
            said.append((text, f"{ends} {row.mark}".strip()))
        text, detail = said[0] if len(said) == 1 else ("; ".join(" ".join(each).strip() for each in said), "")
        if headline:
            return Cell(text, found[0].mean, detail, tone=self.tone)
        short = "; ".join(f"{number(row.mean)} {row.mark}".strip() for row in found)
        return Cell(text, found[0].mean, detail, short=short)

    @property
    def tone(self) -> Tone:
        """Bad for what collapsed or is stale."""
        return "bad" if any(row.stale or row.status in ("collapsed", "failed") for row in self.rows) else "plain"

    @property
    def status(self) -> Cell:
        """What is wrong with the cells, each reason once; on a terminal the worst of it in a word or two."""
        said = dict.fromkeys(filter(None, map(said_apart, self.rows)))
        short = min((text.partition(":")[0] for text in said), default="")
        return Cell("; ".join(said) or "done", tone=self.tone, short=short)


def _score_lines(scores: Iterable[Any]) -> list[_Line]:
    """Return lines in reading order: of each model its base, then chains by β and length; real data last."""
    lines: dict[tuple[Any, ...], _Line] = {}
    densities: dict[tuple[Any, ...], list[Any]] = {}
    for row in scores:
        whose = (row.label, row.stale, row.reason if row.status == "unfinished" else "")
        if about_density(row.metric) and row.beta not in (1.0, CALIBRATED_BETA):
            continue  # the curve over β has a table of its own
        if about_density(row.metric):
            densities.setdefault((*whose, row.beta), []).append(row)
        else:
            lines.setdefault((*whose, *source_of(row)), _Line(row)).rows.append(row)
    for place, stated in densities.items():
        beside = [line for where, line in lines.items() if where[:3] == place[:3] and line.first.beta == place[3]]
        hosts = [line for line in beside if place[3] == 1 or line.first.sampler == "exact"]
        for line in hosts:
            line.densities = stated
        if not hosts:
            nothing = {"step_size": None, "steps": None, "gradient_evaluations": None}
            lines[place] = _Line(stated[0]._replace(sampler="energy", **nothing), stated)
    return reading_order(lines.values(), lambda line: line.first)


def score_table(section: Section) -> Table | None:
    """Return a line per model and readout, a column per metric; None without a score."""
    (scores, legend), headline = marked_scores(section), headline_metric(section)
    metrics, lines = sorted(scores["metric"].unique(), key=metric_order), _score_lines(records(scores))
    heads = {name: arrow(short) for name, short in short_names(metrics).items()}
    rows, sources, known = [], [source_of(line.first) for line in lines], reached(section)
    found, unended = [known[source] for source in sources if source in known], training_marks(section)
    for line, source in zip(lines, sources, strict=True):
        first, counts = line.first, [row.n for row in line.rows]
        steps = count_cell(first.steps)
        rows.append(
            {
                "model": _model_cell(first.label, unended.get(first.label, "")),
                "samples from": Cell(readout_name(first.sampler, first.beta) + step_text(source, sources)),
                "steps": replace(steps, short=" " if first.steps is None else str(first.steps)),
                **({"target": _target_cell(known.get(source))} if any(each.mark for each in found) else {}),
                "gradient evaluations per sample": count_cell(first.gradient_evaluations),
                **{heads[name]: line.cell(name, headline=name == headline) for name in metrics},
                "n": Cell(span(counts), min(counts)),
                "status": line.status,
            }
        )
    notes = [*_score_notes(lines, metrics, found), _UNENDED * bool(unended)]
    brief = _brief(section, lines)
    wrong = [lines[number] for number in brief or range(len(lines)) if lines[number].status.text != "done"]
    remarks = dict.fromkeys((f"{line.first.label}: {line.status.text}", line.tone) for line in wrong)
    if unended:
        marks = listed([*dict.fromkeys(", ".join(unended.values()).split(", "))])
        remarks |= {(f"‡ not trained to its end: {marks}; the report has more.", "plain"): None}
    if brief is not None:
        remarks |= {
            (f"{target_note(found)} Shorter chains and other samplers are in the report.".strip(), "plain"): None
        }
    always = {
        "model",
        "samples from",
        "steps",
        "target",
        "n",
        "status",
        *(heads[name] for name in heads if name == headline),
    }
    never = {"gradient evaluations per sample", *(heads[name] for name in heads if about_density(name))}
    about = {"legend": legend, "remarks": remarks, "terminal": "untitled", "brief": brief}
    return table_of("Scores", rows, notes, always, never, **about)


def _model_cell(label: str, mark: str) -> Cell:
    """Return a model's name with what says that its training is not at its end, in a terminal a sign of it."""
    signs = "".join(sign for words, sign in ((UNDERTRAINED, "‡"), (RISING, "§")) if words in mark)
    return Cell(signs, code=label, tone="open", short=f"{label}‡") if mark else Cell(code=label)


def _score_notes(lines: Sequence[_Line], metrics: Sequence[str], found: Sequence[Reached]) -> list[str]:
    """Return what is below the table of scores."""
    betas = sorted({line.first.beta for line in lines} - {None, 1.0})
    return [
        "Mean over seeds [95 % Student-t interval]; one seed has no interval. ↓ lower is better, ↑ higher is better.",
        shortened_note(metrics),
        *(beta_note(beta) + "; no likelihood belongs to it" * (beta != CALIBRATED_BETA) + "." for beta in betas),
        target_note(found),
        "Real data scored like a model is the floor." * any(line.first.sampler == "data" for line in lines),
        stale_note(row for line in lines for row in line.rows),
    ]


def _remarks(lines: Iterable[_Line]) -> list[tuple[str, Tone]]:
    """Return what is wrong with lines, a sentence per reason with the models that it is said of."""
    said: dict[tuple[str, Tone], dict[str, None]] = {}
    for line in lines:
        said.setdefault((line.status.text, line.tone), {})[line.first.label] = None
    return [(f"{', '.join(labels)}: {text}", tone) for (text, tone), labels in said.items()]


def _target_cell(found: Reached | None) -> Cell:
    return Cell(found.mark, tone="open" if found.mark == "?" else "plain") if found and found.mark else MISSING


def _brief(section: Section, lines: Sequence[_Line]) -> list[int] | None:
    """Return the lines of a long table that a terminal shows, None for all.

    These are bases, exact samples and of the sampler with the most targets the longest chains; a base that several models share is
    shown once.
    """
    if len(lines) <= MOST_LINES:
        return None
    sources = [source_of(line.first) for line in lines]
    longest = {(each.sampler, each.beta): each.steps for each in sorted(sources, key=lambda source: source.steps)}
    labels = {source.label for source in sources}
    main = main_sampler(sources)
    copies = {each.label for each in makings(section).values() if each.label != each.base and each.base in labels}
    return [
        number
        for number, source in enumerate(sources)
        if (not source.steps and source.sampler not in (("energy", "base") if source.label in copies else ("energy",)))
        or (source.sampler == main and source.steps == longest[source.sampler, source.beta])
    ]


def difference_table(section: Section) -> Table | None:
    """Return every longest chain against its own base and every model without one; None where nothing can be compared."""
    headline, metrics = headline_metric(section), metrics_of(section, real=False)
    groups: dict[tuple[Source, Source], list[Comparison]] = {}
    for each in compare(section, metrics):
        groups.setdefault((each.treatment, each.reference), []).append(each)
    treatments = {treatment for treatment, _ in groups}
    heads = dict(zip(metrics, map(arrow, short_names(metrics).values()), strict=True))
    rows = []
    for (treatment, reference), group in groups.items():
        first = next(each for each in group if each.metric == headline)
        name = f"{readout_name(treatment.sampler, treatment.beta)}{step_text(treatment, treatments)}, {treatment.steps} steps"
        rows.append(
            {
                "samples": Cell(name, code=treatment.label),
                "minus": Cell("its own base") if first.own_base else Cell(code=reference.label),
                **{heads[each.metric]: _difference_cell(each) for each in group},
                "pairs": _pairs_cell(first),
                "reading": Cell(first.reading, tone=READING_TONES.get(first.reading, "plain")),
                "sign-flip p": number_cell(first.difference.p_value if first.difference else None),
            }
        )
    note = (
        f"Mean paired difference [95 % interval] over shared seeds. Reading and exact sign-flip p are for "
        f"{headline}; with n pairs p cannot fall below 2^(1−n) (0.25 at 3, 0.0625 at 5)."
    )
    return table_of("Paired differences", rows, [note])


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
