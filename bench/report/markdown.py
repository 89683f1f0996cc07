"""The Markdown report: the answer first, then the tables and figures that it rests on. Made to be read on GitHub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report.certificate import network_table
from bench.report.chains import CHAINS_QUESTION, chain_notes, chain_sentences, grids
from bench.report.chapters import Chapter
from bench.report.claims import CLAIMS_QUESTION, claims_table, findings_of
from bench.report.comparisons import Comparison, compare, headline_metric, metrics_of
from bench.report.facts import RunFacts
from bench.report.rows import TableRow, read_keys, table_rows
from bench.report.text import arrow, beta_note, escape, estimate_text, number, readout_name, table
from bench.report.verdict import QUESTION, footnote, verdict

__all__ = ["Figure", "render"]


@dataclass(frozen=True)
class Figure:
    """A picture beside the report: `path` relative to it, `text` for those who do not see it."""

    path: str
    title: str
    text: str


def render(chapters: Sequence[Chapter], figures: Sequence[Sequence[Figure]]) -> str:
    """The whole report; `figures` holds those of each chapter."""
    parts = ["# GEBM Bench report", _claims(chapters)]
    for chapter, pictures in zip(chapters, figures, strict=True):
        if chapter.about_chains:
            parts += [_chains(chapter), _pictures(pictures), _failures(chapter), _time(chapter)]
            continue
        parts += [_answer(chapter), _main_table(chapter), _pictures(pictures), _differences(chapter)]
        parts += [_failures(chapter), _certificate(chapter), _time(chapter)]
    parts.append(_environment([facts for chapter in chapters for facts in chapter.facts]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _claims(chapters: Sequence[Chapter]) -> str:
    verdicts = claims_table(findings_of(chapters))
    return f"## {CLAIMS_QUESTION}\n\n{verdicts}" if verdicts else ""


def _answer(chapter: Chapter) -> str:
    section = chapter.section
    matches = chapter.matches
    lines = [
        f"## {escape(section.dataset)}",
        f"Suite `{section.suite}`, profile `{section.profile}`.",
        f"**{QUESTION}**",
    ]
    lines.append(
        "\n".join(f"- {_bold_start(escape(line))}" for line in verdict(section, matches[0] if matches else None))
    )
    if loud := [str(match) for match in matches if match.compared > 1 and not match.matched]:
        lines.append("\n".join(f"> {line}" for line in loud))
    return "\n\n".join([*lines, escape(footnote(section))]).rstrip()


def _chains(chapter: Chapter) -> str:
    """What chains are worth: the answers, then a table for each target or objective, then what the numbers depend on."""
    section = chapter.section
    lines = [
        f"## {escape(section.dataset)}",
        f"Suite `{section.suite}`, profile `{section.profile}`.",
        f"**{CHAINS_QUESTION}**",
    ]
    lines.append("\n".join(f"- {escape(line)}" for line in chain_sentences(chapter.rows)))
    for grid in grids(chapter.rows):
        cells = [[escape(cell) for cell in line] for line in grid.lines]
        lines += [
            f"### {escape(grid.title)}",
            table([escape(name) for name in grid.header], cells, len(grid.header) - 1),
        ]
    return "\n\n".join([*lines, "\n".join(f"- {escape(line)}" for line in chain_notes(chapter.rows))])


def _bold_start(sentence: str) -> str:
    head, colon, rest = sentence.partition("): ")
    return f"**{head})**: {rest}" if colon and head.startswith("At ") else sentence


def _main_table(chapter: Chapter) -> str:
    keys = read_keys(chapter.rows)
    rows = table_rows(chapter.rows)
    if not rows:
        return ""
    header = [
        "model",
        "samples from",
        "steps",
        "gradient evaluations per sample",
        *(escape(arrow(name)) for name in keys.metrics),
        "n",
        "status",
    ]
    lines, said = [], set()
    for row in rows:
        name = readout_name(row.sampler, row.beta, full=row.target not in said)
        said.add(row.target)
        if row.step_size is not None and row.ambiguous:
            name += f", step {row.step_size:g}"
        counts = [f"{value:,}" if value is not None else "—" for value in (row.steps, row.gradient_evaluations)]
        cells = [escape(row.text(metric, keys)) for metric in keys.metrics]
        lines.append([f"`{row.label}`", escape(name), *counts, *cells, escape(row.n), escape(row.status)])
    notes = [
        "Mean over seeds [95 % Student-t interval]; one seed has no interval. ↓ lower is better, ↑ higher is better.",
        *_table_notes(rows),
    ]
    legend = "\n".join(f"- {escape(line)}" for line in keys.legend())
    return "\n\n".join(["### Scores", table(header, lines, numeric=0), " ".join(notes), legend])


def _table_notes(rows: Iterable[TableRow]) -> Iterable[str]:
    betas = sorted({row.beta for row in rows if row.beta not in (None, 1.0)})
    yield from (f"{beta_note(beta)}; no likelihood belongs to it." for beta in betas if beta is not None)
    if any(row.sampler == "data" for row in rows):
        yield "Real data scored like a model is the floor."


def _differences(chapter: Chapter) -> str:
    section = chapter.section
    headline = headline_metric(section)
    metrics = metrics_of([s for s in section.scores if s.sampler != "data"], density=False)
    found = compare(section, metrics)
    if not found or headline is None:
        return ""
    header = ["samples", "minus", *(escape(arrow(name)) for name in metrics), "pairs", "reading", "sign-flip p"]
    lines = []
    for start in range(0, len(found), len(metrics)):
        group = found[start : start + len(metrics)]
        first = next(each for each in group if each.metric == headline)
        treatment = first.treatment
        name = f"`{treatment.label}` {readout_name(treatment.sampler, treatment.beta)}, {treatment.steps} steps"
        reference = "its own base" if first.own_base else f"`{first.reference.label}`"
        cells = [escape(_difference_cell(each)) for each in group]
        lines.append([name, reference, *cells, _pairs(first), first.reading, _p_value(first)])
    note = (
        f"Mean paired difference [95 % interval] over shared seeds. Reading and exact sign-flip p are for "
        f"{escape(headline)}; with n pairs p cannot fall below 2^(1−n) (0.25 at 3, 0.0625 at 5)."
    )
    return "\n\n".join(["### Paired differences", table(header, lines), note])


def _difference_cell(comparison: Comparison) -> str:
    if comparison.difference is None or comparison.difference.estimate is None:
        return comparison.why_not
    return estimate_text(comparison.difference.estimate)


def _pairs(comparison: Comparison) -> str:
    if comparison.difference is None:
        return "0"
    dropped = comparison.difference.dropped
    return f"{len(comparison.difference.seeds)}" + (f" ({dropped} unpaired)" if dropped else "")


def _p_value(comparison: Comparison) -> str:
    p = comparison.difference.p_value if comparison.difference else None
    return number(p) if p is not None else "—"


def _failures(chapter: Chapter) -> str:
    rows = [row for row in chapter.rows if row.metric is None]
    if not rows:
        return ""
    lines = [[f"`{row.label}`", f"**{escape(row.status)}**", escape(row.reason)] for row in rows]
    return "\n\n".join(["### Runs without scores", table(["model", "status", "reason"], lines)])


def _pictures(figures: Sequence[Figure]) -> str:
    return "\n\n".join(f"### {each.title}\n\n![{escape(each.text)}]({each.path})" for each in figures)


def _certificate(chapter: Chapter) -> str:
    if not chapter.facts:
        return ""
    parts = ["### Certificate: the same networks", network_table(chapter.networks)]
    return "\n\n".join([*parts, "\n".join(f"- {match}" for match in chapter.matches)])


def _time(chapter: Chapter) -> str:
    phases = list(dict.fromkeys(phase for facts in chapter.facts for phase in facts.seconds))
    if not phases:
        return ""
    lines = []
    for label, runs in chapter.networks.items():
        means = [fmean([facts.seconds.get(phase, 0.0) for facts in runs]) for phase in phases]
        lines.append([f"`{label}`", *(number(value) for value in (*means, sum(means))), str(len(runs))])
    header = ["model", *(f"{escape(phase)}, s" for phase in phases), "total, s", "runs"]
    return "\n\n".join(["### Time, mean per run", table(header, lines, numeric=len(phases) + 2)])


def _environment(facts: Sequence[RunFacts]) -> str:
    places: dict[str, int] = {}
    for run in {each.run: each for each in facts}.values():
        versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
        place = "; ".join(part for part in (run.device, versions) if part)
        places[place] = places.get(place, 0) + 1
    lines = [f"- {count} run{'s' * (count > 1)}: {escape(place) or 'not recorded'}" for place, count in places.items()]
    return "\n\n".join(["## Environment", "\n".join(lines)]) if lines else ""
