"""`bench compare`: two stores, or two parts of one, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.cli.usage import examples, print_json

if TYPE_CHECKING:
    from rich.console import Console

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
    """Compare two stores: what was run differently, and paired differences.

    FIRST and SECOND are folders. FOLDER@tag=NAME takes the runs that `bench run --tag NAME` made; @suite=, @code= and @device=
    take those of a suite, of a digest of the training code, of a machine.
    """
    from bench.results.compare import compare_stores

    found = compare_stores(first, second)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    from bench.report.claims import readout_words
    from bench.report.text import arrow, estimate_text, number
    from bench.results.sources import Source
    from bench.stats import Estimate

    console = Console()
    heading = f"first:  {found['first']}\nsecond: {found['second']}"
    console.print(heading, soft_wrap=True, markup=False, highlight=False)
    changes = [
        (each["path"], ", ".join(each["first"]), ", ".join(each["second"]))
        for each in (*found["identity"], *found["surroundings"])
    ]
    _print_table(console, "What differs", ("field", "first", "second"), changes)
    differences = []
    for each in found["differences"]:
        what = (each["dataset"], readout_words(Source(**each["readout"])), arrow(each["metric"]))
        estimate = Estimate(**each["estimate"])
        differences.append((*what, estimate_text(estimate), str(estimate.n), number(each["p_holm"]), each["reading"]))
    title = f"pairs of runs: {found['pairs']}; scores equal in every seed: {found['equal_scores']}; these differ"
    header = ("dataset", "readout", "metric", "first − second", "n", "p after Holm", "reading")
    _print_table(console, title, header, differences)
    alone = []
    for each in found["not_comparable"]:
        side, seeds = ("first", "second")[each["side"] - 1], ",".join(map(str, each["seeds"]))
        alone.append((side, each["dataset"], each["model"], each["identity"][:12], seeds, each["reason"]))
    _print_table(console, "Not comparable", ("side", "dataset", "model", "identity", "seeds", "why"), alone)


def _print_table(console: Console, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table under its title, every cell as text, never as markup."""
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
        table.add_row(*map(Text, row))
    console.print(table)
