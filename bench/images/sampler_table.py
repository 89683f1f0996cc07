"""The table sampler × dataset: how well the samples of every latent sampler's longest chain score, one table per β.

All samplers of one table aim at the same target. Datasets stand beside each other to be read, not to be compared: each has its own metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.blocks import Cell, Column, Table
from bench.report.comparisons import counted, headline_metric
from bench.report.tables import Keys, mean_cell, read_keys
from bench.report.text import PAPER_BETA, arrow, beta_name, beta_note, span
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["sampler_tables"]

_NO_CHAIN = ("base", "data")
_Place = tuple[str, str, float | None]  # label, sampler, step size


@dataclass(frozen=True)
class _Dataset:
    """A section read for these tables: its heading, its rows that count in the headline metric, and its keys."""

    heading: str
    rows: Sequence[Any]
    keys: Keys

    @property
    def chains(self) -> list[Any]:
        """The rows of latent chains."""
        return [row for row in self.rows if row.steps and row.sampler not in _NO_CHAIN]

    def at(self, beta: float) -> dict[_Place, Any]:
        """Return the longest chains at β, and the bases that they start from."""
        cells: dict[_Place, Any] = {}
        for row in sorted(self.chains, key=lambda row: row.steps):
            if row.beta == beta:
                cells[row.label, row.sampler, row.step_size] = row
        labels = {label for label, _, _ in cells}
        bases = [row for row in self.rows if row.sampler == "base" and row.label in labels]
        return cells | {(row.label, "base", None): row for row in bases}


def sampler_tables(sections: Sequence[Section]) -> list[Table]:
    """Return a table per β, that of the paper first; none where there are not two samplers, or settings of one, to be compared."""
    several = len({(each.suite, each.profile) for each in sections}) > 1
    datasets = []
    for section in sections:
        metric, summary = headline_metric(section), counted(section.summary)
        heading = (
            f"{section.dataset}{f' ({section.suite}, {section.profile})' if several else ''}, {arrow(metric or '')}"
        )
        datasets.append(_Dataset(heading, records(summary[summary["metric"] == metric]), read_keys(section.summary)))
    settings = _settings(sections)
    betas = {row.beta for dataset in datasets for row in dataset.chains} - {None}
    tables = [_table(datasets, beta, settings) for beta in sorted(betas, key=lambda beta: (beta != PAPER_BETA, beta))]
    return [table for table, _ in tables] if any(samplers > 1 for _, samplers in tables) else []


def _table(datasets: Sequence[_Dataset], beta: float, settings: Mapping[Any, str]) -> tuple[Table, int]:
    """Return the table of one β, and how many samplers it has."""
    columns = [(dataset, cells) for dataset in datasets if (cells := dataset.at(beta))]
    places = list(dict.fromkeys(place for _, cells in columns for place in cells))
    models = list(dict.fromkeys(label for label, _, _ in places))
    lines = []
    for place in sorted(places, key=lambda p: (models.index(p[0]), p[1] != "base", p[1], p[2] or 0.0)):
        here = [cells[place] for _, cells in columns if place in cells]
        costs = ("steps", "gradient_evaluations", "forward_evaluations")
        lines.append(
            [
                Cell("", code=place[0]),
                Cell("base alone" if place[1] == "base" else place[1], detail=settings.get((*place, beta), "")),
                Cell("—") if place[2] is None else Cell(f"{place[2]:g}", place[2]),
                *(_cell(cells.get(place), dataset.keys) for dataset, cells in columns),
                *(_counts(getattr(row, name) for row in here) for name in costs),
            ]
        )
    heads = [Column("model"), Column("sampler"), Column("step size", numeric=True)]
    heads += [Column(dataset.heading, numeric=True) for dataset, _ in columns]
    costs = ("steps", "gradient evaluations per sample", "forward evaluations per sample")
    heads += [Column(name, numeric=True, terminal="never") for name in costs]
    notes = [
        "Mean over seeds [95 % Student-t interval] of each sampler's longest chain, never the best one; — was not run. Every row aims "
        f"at one target, {beta_note(beta)}. Read down a column: each dataset has a scale of its own."
    ]
    samplers = {(sampler, step) for _, sampler, step in places if sampler not in _NO_CHAIN}
    return Table(f"Samplers at {beta_name(beta)}", heads, lines, notes, terminal="titled"), len(samplers)


def _settings(sections: Iterable[Section]) -> dict[Any, str]:
    """Return the settings of chains besides their step size, by label, sampler, step size and β."""
    found: dict[Any, dict[str, None]] = {}
    for section in sections:
        for row in records(section.readouts):
            chain = row.readout.get("chain") or {}
            words = [f"{name} {value}" for name, value in chain.get("settings", {}).items()]
            if chain.get("decay_factor", 1.0) != 1.0:
                words.append(f"step ×{chain['decay_factor']:g} every {chain.get('decay_every', '?')} steps")
            if words:
                found.setdefault((row.label, row.sampler, row.step_size, row.beta), {})[", ".join(words)] = None
    return {place: " or ".join(sorted(words)) for place, words in found.items()}


def _cell(row: Any, keys: Keys) -> Cell:
    return mean_cell(row, "—", f"n = {row.n}", row.status.replace("done", ""), keys.mark(row)) if row else Cell("—")


def _counts(values: Iterable[int | None]) -> Cell:
    """Return one count, or the range of several."""
    known = [value for value in values if value is not None]
    return Cell(span(known), max(known)) if known else Cell("—")
