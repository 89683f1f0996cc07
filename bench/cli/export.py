"""`bench export`: every score of a store as one tidy table."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.usage import Failure, examples, store_option, suite_filters

__all__ = ["export"]


@click.command(epilog=examples("bench export scores.csv", "bench export scores.parquet --suite images"))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@store_option
@suite_filters
def export(out: Path, store: Path, suite: str | None, profile: str | None) -> None:
    """Write every score, one per row, to OUT (.csv or .parquet).

    A page about the columns is written beside it.
    """
    from bench.results import tidy

    frame = tidy.load(store, suite, profile)
    try:
        page = tidy.export(frame, out)
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error
    click.echo(f"{len(frame):,} rows: {out}; columns: {page}")
