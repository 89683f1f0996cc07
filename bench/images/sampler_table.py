"""The table sampler × dataset: how well the samples of every latent sampler's longest chain score, one table per β.

All samplers of one table aim at the same target. Datasets stand beside each other to be read, not to be compared: each has its own metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.report.blocks import MISSING, Cell, Table, table_of
from bench.report.comparisons import counted, headline_metric
from bench.report.tables import marked_scores, mean_cell
from bench.report.text import PAPER_BETA, arrow, beta_name, beta_note, span
from bench.results.sources import beta_order, records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["sampler_tables"]

MOST_LINES = 20  # of a table that a terminal shows
_COSTS = {
    "steps": "steps",
    "gradient evaluations per sample": "gradient_evaluations",
    "forward evaluations per sample": "forward_evaluations",
}
_Place = tuple[str, str, float | None]  # label, sampler, step size
_Found = dict[_Place, dict[str, Any]]  # rows by heading of the dataset


def sampler_tables(sections: Sequence[Section]) -> list[Table]:
    """Return a table per β, that of the paper first; none where there are not two samplers, or settings of one, to be compared."""
    several = len({(each.suite, each.profile) for each in sections}) > 1
    found: dict[float, _Found] = {}
    headings = []
    for section in sections:
        metric, scores = headline_metric(section), counted(marked_scores(section)[0])
        where = f" ({section.suite}, {section.profile})" if several else ""
        headings.append(f"{section.dataset}{where}, {arrow(metric or '')}")
        rows = records(scores[scores["metric"] == metric])
        bases = {row.label: row for row in rows if row.sampler == "base"}
        chains = [row for row in rows if row.steps and row.sampler != "base" and row.beta is not None]
        for row in sorted(chains, key=lambda row: row.steps):  # the longest one stays
            here = found.setdefault(row.beta, {})
            here.setdefault((row.label, row.sampler, row.step_size), {})[headings[-1]] = row
            if row.label in bases:
                here.setdefault((row.label, "base", None), {})[headings[-1]] = bases[row.label]
    if all(len({place[1:] for place in here if place[1] != "base"}) < 2 for here in found.values()):
        return []
    settings = _settings(sections)
    betas = sorted(found, key=lambda beta: (beta != PAPER_BETA, beta_order(beta)))
    return [table for beta in betas if (table := _table(beta, found[beta], headings, settings))]


def _table(beta: float, found: _Found, headings: Sequence[str], settings: Mapping[Any, str]) -> Table | None:
    models = list(dict.fromkeys(label for label, _, _ in found))
    columns = [name for name in headings if any(name in here for here in found.values())]
    rows = []
    for place in sorted(found, key=lambda p: (models.index(p[0]), p[1] != "base", p[1], p[2] or 0.0)):
        label, sampler, step = place
        here = found[place]
        rows.append(
            {
                "model": Cell(code=label),
                "sampler": Cell(
                    "base alone" if sampler == "base" else sampler, detail=settings.get((*place, beta), "")
                ),
                "step size": MISSING if step is None else Cell(f"{step:g}", step),
                **{name: _cell(here.get(name)) for name in columns},
                **{cost: _counts(getattr(row, name) for row in here.values()) for cost, name in _COSTS.items()},
            }
        )
    notes = [
        "Mean over seeds [95 % Student-t interval] of each sampler's longest chain, never the best one; — was not run. Every row aims "
        f"at one target, {beta_note(beta)}. Read down a column: each dataset has a scale of its own."
    ]
    short: Any = "titled" if len(columns) > 1 and len(rows) <= MOST_LINES else "never"
    return table_of(f"Samplers at {beta_name(beta)}", rows, notes, never=_COSTS, terminal=short)


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


def _cell(row: Any) -> Cell:
    return mean_cell(row, "—", f"n = {row.n}", row.status.replace("done", ""), row.mark) if row else MISSING


def _counts(values: Iterable[int | None]) -> Cell:
    """Return one count, or the range of several."""
    known = [value for value in values if value is not None]
    return Cell(span(known), max(known)) if known else MISSING
