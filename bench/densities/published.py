"""Log-likelihoods of others beside ours, each with where it is from; the numbers are in `published.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.blocks import MISSING, Cell, Table, table_of
from bench.report.tables import mean_cell

if TYPE_CHECKING:
    from bench.densities.comparisons import Likelihoods

__all__ = ["published_likelihoods", "published_table"]


@cache
def published_likelihoods() -> dict[str, Any]:
    """Return `published.toml`: `datasets`, which tables stand beside each, and `tables`."""
    return tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))


def published_table(found: Likelihoods) -> Table | None:
    """Return the numbers of others in the dataset's protocol beside ours; None where there are none."""
    name, published = str(found.section.scores["dataset"].iloc[0]).partition("@")[0], published_likelihoods()
    if name not in published["datasets"]:
        return None
    about, ours = published["datasets"][name], found.rows.get("log-likelihood", {})
    column, lines, notes = about.get("column", name), [], [about.get("note", "")]
    for table in (published["tables"][each] for each in about["tables"]):
        notes.append(table["note"])
        for entry in table["rows"]:
            row, notebook = ours.get(entry.get("ours", "")), entry.get("notebook")
            line = {"model of others": Cell(entry["model"]), "published": _as_printed(entry.get(column))}
            if notebook is not None:
                line["notebook, not published"] = _as_printed(notebook.get(column))
            if column in entry or notebook is not None:
                name_of_ours = Cell(code=entry["ours"]) if row else MISSING
                lines.append(line | {"ours": name_of_ours, "here": mean_cell(row)})
    return table_of("Log-likelihoods of others beside ours", lines, notes)


def _as_printed(text: str | None) -> Cell:
    """Return a number as its source prints it."""
    return MISSING if text is None else Cell(text.replace("-", "−"), float(text.partition(" ")[0]))
