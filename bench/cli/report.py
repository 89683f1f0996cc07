"""`bench report`: what was measured, on a page."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.completion import complete
from bench.cli.usage import Failure, examples, store_option, suite_filters, suite_name, together
from bench.report import FORMATS, render, write_report

__all__ = ["report"]


only_options = together(
    click.option("--model", multiple=True, help="Only this model; repeatable.", shell_complete=complete("models")),
    click.option(
        "--dataset", multiple=True, help="Only this dataset; repeatable.", shell_complete=complete("datasets")
    ),
    click.option("--metric", multiple=True, help="Only this metric, such as fd; repeatable."),
    click.option("--sampler", multiple=True, help="Only chains of this sampler, and bases; repeatable."),
)


@click.command(
    epilog=examples(
        "bench report",
        "bench report --format html",
        "bench report --format json > rows.json",
        "bench report --model gebm --model gan-ns --metric fd",
        "bench report --out results/digits",
    )
)
@store_option
@suite_filters
@only_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    default="markdown",
    show_default=True,
    help="html: one file with everything in it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the report, or its file; default: STORE/report. json, csv and latex go to the screen without it.",
)
def report(
    store: Path, suite: str | None, profile: str | None, format_: str, out: Path | None, **only: tuple[str, ...]
) -> None:
    """Write the report: Markdown with figures, one page of HTML, LaTeX, JSON or CSV."""
    from bench.core.store import Store
    from bench.results.choice import choose
    from bench.results.frame import scan
    from bench.results.summaries import summary_of

    chosen = Store(store).require(), suite_name(suite), profile
    brief = format_ in ("json", "csv") and not any(only.values())
    results = summary_of(*chosen) if brief else choose(scan(*chosen), only)
    if out is None and format_ in ("json", "csv", "latex"):
        click.echo(render(results, format_), nl=False)
        return
    target = out or store / "report"
    try:
        path = write_report(results, target, format_)
    except OSError as error:
        raise Failure(f"cannot write the report to {target}: {error.strerror}") from error
    if format_ == "markdown":
        click.echo(path.read_text(encoding="utf-8"))
    click.echo(f"report: {path}", err=True)
