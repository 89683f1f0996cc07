"""`bench export`: scores and training curves for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.usage import Failure, UsageProblem, examples, store_option, suite_filters
from bench.words import plural

__all__ = ["export"]


@click.command(
    epilog=examples(
        "bench export scores.csv",
        "bench export scores.parquet --suite images",
        "bench export curves.csv --curves --run gebm/0123",
        "bench export events --to tensorboard",
    )
)
@click.argument("out", type=click.Path(path_type=Path))
@store_option
@suite_filters
@click.option("--run", "part", default="", help="Only runs that have this in their id; of curves and --to.")
@click.option("--curves", is_flag=True, help="Training curves instead of scores.")
@click.option(
    "--to",
    "target",
    type=click.Choice(["tensorboard", "wandb"]),
    help="Write curves, settings and scores into the folder OUT as this tool reads them, wandb's offline: `wandb sync` sends them.",
)
def export(
    out: Path, store: Path, suite: str | None, profile: str | None, part: str, curves: bool, target: str | None
) -> None:
    """Write every score, one per row, to OUT (.csv or .parquet).

    A page about the columns is written beside it, and the same as Croissant metadata (JSON-LD).
    """
    if target and (curves or out.is_file()):
        raise UsageProblem(
            f"--to {target} writes curves and scores into a folder; leave out --curves, and name a folder"
        )
    if not target and out.is_dir():
        raise UsageProblem(f"'{out}' is a directory; name a file that ends in .csv or .parquet")
    if part and not (curves or target):
        raise UsageProblem("--run is for --curves and --to; scores have a column `run`")
    from bench.core.store import Store
    from bench.results import tidy
    from bench.results.curves import COLUMNS, curve_table, export_runs, runs_of

    try:
        if not curves and not target:
            frame = tidy.load(store, suite, profile)
            page = tidy.export(frame, out)
        else:
            runs = runs_of(Store(store).require(), suite, profile, part)
            if target:
                export_runs(runs, target, out)
                click.echo(f"{plural(len(runs), 'run')}: {out}; {HINTS[target].format(out)}")
                return
            frame = curve_table(runs)
            page = tidy.export(frame, out, COLUMNS)
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error
    click.echo(f"{plural(len(frame), 'row')}: {out}; columns: {page}")


HINTS = {"tensorboard": "tensorboard --logdir {}", "wandb": "wandb sync {}/wandb/offline-run-*"}
"""What shows an export."""
