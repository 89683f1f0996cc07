"""Scores as one tidy table for programs: `load` for Python, `export` for files with a page that explains their columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bench.core.store import Store
from bench.files import write_output
from bench.markdown import table
from bench.metrics import METRICS
from bench.results.croissant import metadata
from bench.results.frame import SCHEMA, scan

__all__ = ["ExportError", "export", "load", "schema_page"]

Columns = Mapping[str, Mapping[str, str]]
"""Type and meaning of every column, as `schema.toml` has them."""
SCORES_ARE = (
    "One row per run × readout × chain length × metric; a run without scores is one row with a status and a reason."
)
CURVES_ARE = "Training curves: one row per run × phase × step × quantity."


class ExportError(ValueError):
    """A table that cannot be written as asked."""


def load(store: str | Path, suite: str | None = None, profile: str | None = None) -> pd.DataFrame:
    """Read every score of a store, one per row; runs without scores are rows too, with a status and a reason.

    Columns, units and meanings are in `bench/results/schema.toml`.

    Arguments:
        store: folder of a store, as `bench run --store` makes it.
        suite: only runs of this suite.
        profile: only runs of this profile.

    Raises:
        StoreError: if there is no store, or none of that suite and profile in it.

    Example:
        frame = bench.load("runs")
        frame[frame["status"] == "done"].groupby(["model", "sampler", "beta", "metric"])["value"].mean()
    """
    return scan(Store(Path(store)).require(), suite, profile).scores


def export(frame: pd.DataFrame, path: Path, columns: Columns = SCHEMA) -> Path:
    """Write a table as CSV or Parquet, by the ending of `path`; beside it a page about its columns, whose path is returned, and the same as
    Croissant metadata.

    Raises:
        ExportError: for another ending, or for Parquet without pyarrow.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ExportError(f"'{path}': end the name in .csv or .parquet")
    try:
        parquet = path.suffix == ".parquet"
        content = frame.to_parquet(index=False) if parquet else frame.to_csv(index=False, lineterminator="\n").encode()
    except ImportError as error:
        raise ExportError("Parquet needs pyarrow: pip install pyarrow; CSV needs nothing") from error
    write_output(path, content)
    page = path.with_name(f"{path.stem}-schema.md")
    write_output(page, schema_page(columns).encode())
    what = f"{SCORES_ARE if columns is SCHEMA else CURVES_ARE} {len(frame):,} rows."
    write_output(path.with_name(f"{path.stem}-croissant.json"), metadata(path, what, columns).encode())
    return page


def schema_page(columns: Columns = SCHEMA) -> str:
    """Return the columns of an export, and of scores the metrics, in Markdown."""
    lines = [(f"`{name}`", each["type"], each.get("unit", "—"), each["meaning"]) for name, each in columns.items()]
    head = ["# Columns of the export", SCORES_ARE if columns is SCHEMA else CURVES_ARE]
    parts = [*head, table(("column", "type", "unit", "meaning"), lines)]
    if columns is SCHEMA:
        metrics = [
            (f"`{each.name}`", each.unit or "—", each.direction, each.about, each.summary.replace("|", r"\|"))
            for each in METRICS.values()
        ]
        parts += [
            "## Metrics",
            "A metric in the features of an extractor other than Inception is followed by its name, such as `fd[digits-cnn]`.",
            table(("metric", "unit", "better", "about", "meaning"), metrics),
        ]
    return "\n\n".join(parts) + "\n"
