"""`bench export`: every score of a store as one tidy table."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.usage import Failure, UsageProblem, complete, examples, one_line_errors, store_option

__all__ = ["export"]


@click.command(epilog=examples("bench export scores.csv", "bench export scores.parquet --suite images"))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@store_option
@click.option("--suite", default=None, help="Only this suite.", shell_complete=complete("suites"))
@click.option("--profile", type=click.Choice(["quick", "paper"]), default=None, help="Only this profile.")
def export(out: Path, store: Path, suite: str | None, profile: str | None) -> None:
    """Write every score, a row each, to OUT (.csv or .parquet), and a page about its columns beside it."""
    from bench.results.tidy import ExportError, load
    from bench.results.tidy import export as write

    with one_line_errors():
        frame = load(store, suite, profile)
    try:
        page = write(frame, out)
    except ExportError as error:
        raise UsageProblem(str(error)) from error
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error
    click.echo(f"{len(frame):,} rows: {out}; columns: {page}")
