"""`bench merge` and `bench sync`: the runs of several stores in one."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from bench.cli.usage import UsageProblem, examples

__all__ = ["merge", "sync"]

STORE = click.Path(path_type=Path)
STATES = ("copied", "completed", "replaced", "there", "unfinished", "conflict", "damaged", "busy")


@click.command(
    epilog=examples("bench merge /mnt/a/runs /mnt/b/runs --into all-runs", "bench compare /mnt/a/runs all-runs")
)
@click.argument("stores", metavar="STORE...", nargs=-1, required=True, type=STORE)
@click.option("--into", required=True, type=STORE, help="Store that gets them; made if need be.")
def merge(stores: tuple[Path, ...], into: Path) -> None:
    """Copy what STOREs hold into one store, every run once and checked; nothing there is changed.

    Of a run that is there already, readouts that it lacks are added; one that is not done gives way to one that is, and is set aside. Where
    two finished runs of one id differ in code or numbers, both stay where they are, and the difference is said. Runs that are being worked
    on are left out. What was interrupted goes on with the same command.
    """
    gather(stores, into, ended=False)


@click.command(epilog=examples("bench sync /scratch/runs /project/runs"))
@click.argument("source", metavar="FROM", type=STORE)
@click.argument("into", metavar="TO", type=STORE)
def sync(source: Path, into: Path) -> None:
    """Copy finished runs, done or failed, from one store to another; again and again, only what is new is copied.

    As `bench merge`, but for runs that were scored as they stood when their time was up.
    """
    gather((source,), into, ended=True)


def gather(stores: tuple[Path, ...], into: Path, *, ended: bool) -> None:
    """Merge stores into one, say what became of every run that needs a word, and exit with code 1 if something could not be merged.

    Raises:
        UsageProblem: if a store is to be merged into itself, or into a folder in it or around it.
        StoreError: if one of them is no store, or the target cannot be written.
    """
    from bench.core.merging import merge as merged
    from bench.core.store import Store

    for path in stores:
        one, other = path.resolve(), into.resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            where = "the same folder" if one == other else "one inside the other"
            raise UsageProblem(f"{path} and {into} are {where}; name another store to merge into")
    sources, target = [Store(path).require() for path in stores], Store(into).create()
    problems = False
    for source in sources:
        counts: Counter[str] = Counter()
        for each in merged(source, target, ended=ended):
            counts[each.state] += 1
            problems |= each.problem
            if each.problem:
                click.echo(f"bench: {source.root}: {each.name}: {each.state}: {each.reason}", err=True)
            elif each.state == "replaced":
                click.echo(f"{each.name}: {each.reason}")
        words = [f"{counts[state]} {state}" for state in STATES if counts[state]]
        click.echo(f"{source.root} → {target.root}: {', '.join(words) or 'no runs'}")
    if problems:
        sys.exit(1)
