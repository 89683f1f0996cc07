"""`bench claims`: what the runs of a store say about claims: the paper's, this benchmark's and the user's own."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.usage import examples, print_json, store_option, suite_filters

__all__ = ["claims"]


@click.command(
    epilog=examples(
        "bench claims", "bench claims --claims mine.toml --suite images", "bench claims --format json > claims.json"
    )
)
@store_option
@suite_filters
@click.option(
    "--claims",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A TOML file of your own claims, judged with the others; repeatable.",
)
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--json", "format_", flag_value="json", help="The same as --format json.")
def claims(store: Path, suite: str | None, profile: str | None, files: tuple[Path, ...], format_: str) -> None:
    """Judge the claims of the paper and of this benchmark: supported, contradicted, inconclusive, too few seeds, or not run."""
    from bench.claims import judge, load_claims, to_json
    from bench.core.store import Store
    from bench.results.frame import scan

    loaded = load_claims(files)
    results = scan(Store(store).require(), suite, profile)
    judged = judge([] if results.scores.empty else results.sections(), loaded)
    if format_ == "json":
        print_json([to_json(each) for each in judged])
        return
    from rich.console import Console

    from bench.report.claims import claims_block
    from bench.report.terminal import print_block

    print_block(claims_block(judged, everything=True), Console(), soft_wrap=True)
