"""`bench compare`: two stores, or two parts of one, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli.usage import examples, one_line_errors

if TYPE_CHECKING:
    from rich.console import Console

    from bench.results.compare import StoreComparison

__all__ = ["compare"]


@click.command(
    epilog=examples(
        "bench compare runs /data/other-machine/runs",
        "bench compare runs@tag=before runs@tag=after",
        "bench compare runs@code=6f28 runs@code=df4a --json",
    )
)
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def compare(first: str, second: str, as_json: bool) -> None:
    """Compare two stores: what differs in what was run, and paired differences where runs pair.

    FIRST and SECOND are folders. FOLDER@tag=NAME takes the runs that `bench run --tag NAME` made; @suite=, @code= and @device=
    take those of a suite, of a fingerprint of the code, of a machine.
    """
    import json

    from bench.results.compare import StorePart, compare_stores, to_json

    with one_line_errors():
        found = compare_stores(StorePart.parse(first), StorePart.parse(second))
    if as_json:
        click.echo(json.dumps(to_json(found), indent=1, allow_nan=False, ensure_ascii=False))
        return
    from rich.console import Console

    show(found, Console())


def show(found: StoreComparison, console: Console) -> None:
    """Tables on the terminal. Names and reasons are text, never markup."""
    from bench.report.claims import readout_words
    from bench.report.text import arrow, estimate_text, number

    console.print(f"first:  {found.first}\nsecond: {found.second}", soft_wrap=True, markup=False, highlight=False)
    _table(
        console,
        "What differs",
        ["field", "first", "second"],
        [
            [change.path, ", ".join(change.first), ", ".join(change.second)]
            for change in (*found.changes, *found.surroundings)
        ],
    )
    rows: list[list[Any]] = []
    for each in found.differences:
        estimate = each.difference.estimate
        rows.append(
            [
                each.dataset,
                readout_words(each.source),
                arrow(each.metric),
                estimate_text(estimate),
                str(estimate.n) if estimate else "0",
                number(each.p_holm),
                each.reading,
            ]
        )
    header = ["dataset", "readout", "metric", "first − second", "n", "p after Holm", "reading"]
    _table(
        console, f"{found.pairs} runs pair; {found.equal} scores are equal in every seed, these differ", header, rows
    )
    _table(
        console,
        "Not comparable",
        ["side", "dataset", "model", "identity", "seeds", "why"],
        [
            [
                ("first", "second")[each.side - 1],
                each.dataset,
                each.model,
                each.identity[:12],
                _seeds(each.seeds),
                each.reason,
            ]
            for each in found.unpaired
        ],
    )


def _seeds(seeds: tuple[int, ...]) -> str:
    return ",".join(map(str, seeds))


def _table(console: Console, title: str, header: list[str], rows: list[list[Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Text(title, style="bold"))
    if not rows:
        console.print(Text("nothing", style="dim"))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(Text(name), overflow="fold", no_wrap=name == "first − second")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
