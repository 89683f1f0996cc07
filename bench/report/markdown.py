"""The Markdown report: the answer first, then the tables and figures that it rests on. Made to be read on GitHub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.chains.blocks import CHAINS_QUESTION, chain_notes, chain_sentences, grids
from bench.densities.blocks import (
    LIKELIHOOD_QUESTION,
    likelihood_difference_table,
    likelihood_sentences,
    likelihood_table,
    published_table,
)
from bench.images.frechet_curves import frechet_table
from bench.images.published import orientation_table, published_images_table
from bench.images.sampler_table import SAMPLERS_TITLE, sampler_tables
from bench.report.blocks import Cell, Table
from bench.report.chapters import Chapter
from bench.report.claims import CLAIMS_QUESTION, claims_table, findings_of
from bench.report.tables import (
    certificate_table,
    collapse_notes,
    difference_table,
    environment,
    failure_table,
    score_table,
    time_table,
)
from bench.report.text import escape, table
from bench.report.verdict import QUESTION, footnote, verdict
from bench.results.facts import RunFacts

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
            parts += [
                _chains(chapter),
                _pictures(pictures),
                _table(failure_table(chapter)),
                _table(time_table(chapter)),
            ]
            continue
        if chapter.about_likelihoods:
            parts += [_likelihoods(chapter), _table(likelihood_table(chapter)), _pictures(pictures)]
            parts += [_table(likelihood_difference_table(chapter)), _table(published_table(chapter))]
            parts += [_table(failure_table(chapter)), _table(certificate_table(chapter)), _table(time_table(chapter))]
            continue
        parts += [_answer(chapter), _table(score_table(chapter)), _pictures(pictures)]
        parts += [_table(published_images_table(chapter)), _table(orientation_table(chapter))]
        parts += [_table(difference_table(chapter)), _table(frechet_table(chapter)), _table(failure_table(chapter))]
        parts += [_certificate(chapter), _table(time_table(chapter))]
    if tables := sampler_tables(chapters):
        parts += [f"## {SAMPLERS_TITLE}", *map(_table, tables)]
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
    if collapsed := collapse_notes(chapter):
        lines.append("\n".join(f"> **Mode collapse**: {escape(line)}" for line in collapsed))
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
    lines += [_table(grid) for grid in grids(chapter.rows)]
    return "\n\n".join([*lines, "\n".join(f"- {escape(line)}" for line in chain_notes(chapter.rows))])


def _likelihoods(chapter: Chapter) -> str:
    section = chapter.section
    lines = [
        f"## {escape(section.dataset)}",
        f"Suite `{section.suite}`, profile `{section.profile}`.",
        f"**{LIKELIHOOD_QUESTION}**",
        "\n".join(f"- {escape(line)}" for line in likelihood_sentences(chapter)),
    ]
    return "\n\n".join(lines)


def _bold_start(sentence: str) -> str:
    head, colon, rest = sentence.partition("): ")
    return f"**{head})**: {rest}" if colon and head.startswith("At ") else sentence


def _table(block: Table | None) -> str:
    """A table with its heading and notes; nothing for None."""
    if block is None:
        return ""
    cells = [[_cell(cell) for cell in row] for row in block.rows]
    parts = [f"### {escape(block.title)}", table([escape(each.name) for each in block.columns], cells, _right(block))]
    parts += [escape(" ".join(block.notes)), "\n".join(f"- {escape(line)}" for line in block.legend)]
    return "\n\n".join(part for part in parts if part)


def _cell(cell: Cell) -> str:
    """Words about a fault are bold; numbers at fault carry a mark of their own."""
    text = escape(str(cell))
    if cell.tone == "bad" and cell.value is None:
        text = f"**{text}**"
    return f"`{cell.code}` {text}".rstrip() if cell.code else text


def _right(block: Table) -> int:
    """How many of the last columns are all numbers."""
    words = [index for index, column in enumerate(block.columns) if not column.numeric]
    return len(block.columns) - 1 - max(words, default=-1)


def _pictures(figures: Sequence[Figure]) -> str:
    return "\n\n".join(f"### {each.title}\n\n![{escape(each.text)}]({each.path})" for each in figures)


def _certificate(chapter: Chapter) -> str:
    block = certificate_table(chapter)
    return f"{_table(block)}\n\n" + "\n".join(f"- {match}" for match in chapter.matches) if block else ""


def _environment(facts: Sequence[RunFacts]) -> str:
    lines = "\n".join(f"- {escape(place)}" for place in environment(facts))
    return f"## Environment\n\n{lines}" if lines else ""
