"""Scores as one tidy table for programs: `load` for Python, `export` for files with a page that explains their columns."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.core.store import Store
from bench.files import write_bytes
from bench.markdown import table
from bench.metrics import METRICS
from bench.results.frame import SCHEMA, scan

__all__ = ["ExportError", "export", "load", "schema_page"]


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


def export(frame: pd.DataFrame, path: Path) -> Path:
    """Write the table as CSV or Parquet, by the ending of `path`, and the schema page beside it; return the page's path.

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
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    page = path.with_name(f"{path.stem}-schema.md")
    write_bytes(page, schema_page().encode())
    return page


def schema_page() -> str:
    """Return the columns and metrics of an export, in Markdown."""
    columns = [(f"`{name}`", each["type"], each.get("unit", "—"), each["meaning"]) for name, each in SCHEMA.items()]
    metrics = [
        (f"`{each.name}`", each.unit or "—", each.direction, each.about, each.summary.replace("|", r"\|"))
        for each in METRICS.values()
    ]
    parts = [
        "# Columns of the export",
        "One row per run × readout × chain length × metric; a run without scores is one row with a status and a reason.",
        table(("column", "type", "unit", "meaning"), columns),
        "## Metrics",
        "A metric in the features of an extractor other than Inception is followed by its name, such as `fd[digits-cnn]`.",
        table(("metric", "unit", "better", "about", "meaning"), metrics),
    ]
    return "\n\n".join(parts) + "\n"
