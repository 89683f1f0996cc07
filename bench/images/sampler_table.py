"""The table sampler × dataset: how well the samples of every latent sampler's longest chain score, one table for each β.

All samplers of one table aim at the same target. Datasets stand beside each other to be read, not to be compared: each has its own metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.blocks import Cell, Column, Table
from bench.report.chapters import Chapter
from bench.report.comparisons import headline_metric
from bench.report.rows import Keys, read_keys
from bench.report.text import PAPER_BETA, arrow, beta_name, beta_note, estimate_text
from bench.results.scores import NOT_COUNTED
from bench.results.summary import SummaryRow

__all__ = ["SAMPLERS_TITLE", "SAMPLER_COSTS", "sampler_tables"]

SAMPLERS_TITLE = "Samplers across datasets"
SAMPLER_COSTS = ("steps", "gradient evaluations per sample", "forward evaluations per sample")
"""Columns of the tables that say what the samples cost."""

_NO_CHAIN = frozenset({"base", "data"})
_Place = tuple[str, str, float | None]  # label, sampler, step size


@dataclass(frozen=True)
class _Column:
    """A dataset: its heading, and its scores at one β by place, in the headline metric."""

    heading: str
    cells: dict[_Place, SummaryRow]
    keys: Keys


def sampler_tables(chapters: Sequence[Chapter]) -> list[Table]:
    """A table for each β, that of the paper first; none where there are not two samplers, or settings of one, to be compared."""
    images = [each for each in chapters if not each.about_chains and not each.about_likelihoods]
    betas = {row.beta for chapter in images for row in _chains(chapter)} - {None}
    ordered = sorted((beta for beta in betas if beta is not None), key=lambda beta: (beta != PAPER_BETA, beta))
    tables = [_table(images, beta) for beta in ordered]
    return [table for table, _ in tables] if any(samplers > 1 for _, samplers in tables) else []


def _table(chapters: Sequence[Chapter], beta: float) -> tuple[Table, int]:
    """The table of one β, and how many samplers it has."""
    several = len({(each.section.suite, each.section.profile) for each in chapters}) > 1
    found = [_column(chapter, beta, several) for chapter in chapters]
    columns = [column for column in found if column.cells]
    places = list(dict.fromkeys(place for column in columns for place in column.cells))
    models = list(dict.fromkeys(label for label, _, _ in places))
    samplers = {(sampler, step) for _, sampler, step in places if sampler not in _NO_CHAIN}
    ordered = sorted(places, key=lambda p: (models.index(p[0]), p[1] != "base", p[1], p[2] or 0.0))
    lines = [
        [
            Cell("", code=place[0]),
            Cell("base alone" if place[1] == "base" else place[1], detail=_settings(chapters, place, beta)),
            Cell("—") if place[2] is None else Cell(f"{place[2]:g}", place[2]),
            *(_cell(column.cells.get(place), column.keys) for column in columns),
            _counts(column.cells[place].steps for column in columns if place in column.cells),
            _counts(column.cells[place].gradient_evaluations for column in columns if place in column.cells),
            _counts(column.cells[place].forward_evaluations for column in columns if place in column.cells),
        ]
        for place in ordered
    ]
    names = ["step size", *(column.heading for column in columns), *SAMPLER_COSTS]
    heads = [Column("model"), Column("sampler"), *(Column(name, numeric=True) for name in names)]
    notes = [
        "Mean over seeds [95 % Student-t interval] of each sampler's longest chain, never the best one; — was not run. Every row aims "
        f"at one target, {beta_note(beta)}. Read down a column: each dataset has a scale of its own."
    ]
    return Table(f"Samplers at {beta_name(beta)}", heads, lines, notes), len(samplers)


def _column(chapter: Chapter, beta: float, several: bool) -> _Column:
    """Longest chains at β, and the bases that they start from."""
    section, metric = chapter.section, headline_metric(chapter.section)
    heading = f"{section.dataset}{f' ({section.suite}, {section.profile})' if several else ''}, {arrow(metric or '')}"
    cells: dict[_Place, SummaryRow] = {}
    for row in _chains(chapter):
        place = (row.label, row.sampler or "", row.step_size)
        longer = place not in cells or (row.steps or 0) > (cells[place].steps or 0)
        if row.metric == metric and row.beta == beta and longer:
            cells[place] = row
    labels = {label for label, _, _ in cells}
    bases = [row for row in chapter.rows if row.sampler == "base" and row.metric == metric and row.label in labels]
    cells |= {(row.label, "base", None): row for row in bases if row.mean is not None and row.status not in NOT_COUNTED}
    return _Column(heading, cells, read_keys(chapter.rows))


def _chains(chapter: Chapter) -> list[SummaryRow]:
    return [
        row
        for row in chapter.rows
        if row.steps and row.sampler not in _NO_CHAIN and row.mean is not None and row.status not in NOT_COUNTED
    ]


def _settings(chapters: Sequence[Chapter], place: _Place, beta: float) -> str:
    """The settings of a chain besides its step size, as far as they are known."""
    found = {
        _settings_text(readout.settings)
        for chapter in chapters
        for run in chapter.networks.get(place[0], ())
        for readout in run.readouts
        if (readout.sampler, readout.step_size, readout.beta) == (*place[1:], beta)
    }
    return " or ".join(sorted(found - {""}))


def _settings_text(stated: Sequence[tuple[str, Any]]) -> str:
    settings = dict(stated)
    plain = [f"{name} {value}" for name, value in settings.items() if name not in ("decay_factor", "decay_every")]
    if "decay_factor" in settings:
        plain.append(f"step ×{settings['decay_factor']:g} every {settings['decay_every']} steps")
    return ", ".join(plain)


def _cell(row: SummaryRow | None, keys: Keys) -> Cell:
    if row is None:
        return Cell("—")
    text, interval, rest = estimate_text(row.estimate).partition(" [")
    said = [f"[{rest}" if interval else "", f"n = {row.n}", row.status.replace("done", ""), keys.mark(row).strip()]
    return Cell(text, row.mean, ", ".join(filter(None, said)), tone="plain" if row.status == "done" else "bad")


def _counts(values: Iterable[int | None]) -> Cell:
    """One count, or the range of several."""
    known = sorted({value for value in values if value is not None})
    if not known:
        return Cell("—")
    return Cell("–".join(f"{value:,}" for value in dict.fromkeys((known[0], known[-1]))), known[-1])
