"""`bench claims`: what the runs of a store say about the paper's claims, and about the user's own."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.usage import complete, examples, one_line_errors, store_option

__all__ = ["claims"]


@click.command(
    epilog=examples(
        "bench claims", "bench claims --claims mine.toml --suite images", "bench claims --json > claims.json"
    )
)
@store_option
@click.option(
    "--claims",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A TOML file of your own claims, judged with the others; repeatable.",
)
@click.option("--suite", default=None, help="Only runs of this suite.", shell_complete=complete("suites"))
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def claims(store: Path, files: tuple[Path, ...], suite: str | None, as_json: bool) -> None:
    """Judge the paper's claims: supported, contradicted, inconclusive or not run."""
    import json

    from bench.claims import judge, load_claims, to_json
    from bench.core.store import Store
    from bench.results.frame import scan

    with one_line_errors():
        loaded = load_claims(files)
        found = scan(Store(store).require(), suite)
        sections = [] if found.scores.empty else found.sections()
    findings = judge(sections, loaded)
    if as_json:
        click.echo(
            json.dumps([to_json(finding) for finding in findings], indent=1, allow_nan=False, ensure_ascii=False)
        )
        return
    from rich.console import Console

    from bench.report.claims import print_findings

    print_findings(findings, Console())
