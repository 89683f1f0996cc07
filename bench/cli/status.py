"""`bench status`: what there is of every run of a store, and who is at work on it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import complete
from bench.cli.usage import UsageProblem, examples, print_json, store_option, suite_filters, suite_name
from bench.words import plural

if TYPE_CHECKING:
    from bench.results.states import RunState

__all__ = ["status"]

STATES = ("running", "queued", "done", "unfinished", "partial", "failed", "missing")
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@click.command(
    epilog=examples(
        "bench status",
        "bench status --store results/runs --model gebm --state failed",
        "bench status --suite images --format json",
    )
)
@store_option
@suite_filters
@click.option(
    "--dataset", "datasets", multiple=True, help="Only this dataset; repeatable.", shell_complete=complete("datasets")
)
@click.option(
    "--model", "models", multiple=True, help="Only this model; repeatable.", shell_complete=complete("models")
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only runs in this state; repeatable. unfinished: scored as it stands when time ran out; partial: stopped or "
    "killed; `bench run` continues both.",
)
@click.option("--check", is_flag=True, help="Hold every file against its hash, as a report does.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(
    store: Path,
    suite: str | None,
    profile: str | None,
    datasets: Sequence[str],
    models: Sequence[str],
    states: Sequence[str],
    check: bool,
    format_: str,
) -> None:
    """Show the runs of a store: done, running and where, unfinished and how far, failed and why.

    With --suite or --profile those that were planned and have not begun are shown too.
    """
    from bench.core.store import Store
    from bench.results.states import run_names, run_states

    place = Store(store).require()
    names = run_names(place, suite_name(suite), profile)
    for option, part, chosen in (("--dataset", 0, datasets), ("--model", 1, models)):
        if chosen:
            check_names(option, chosen, {name.split("/")[part] for name in names})
            names = [name for name in names if name.split("/")[part] in chosen]
    found = [each for each in run_states(place, names, check=check) if not states or each.state in states]
    if format_ == "json":
        print_json([each._asdict() for each in found])
        return
    if not names:
        click.echo("no runs yet; `bench run --suite images` makes some")
        return
    counts = Counter(each.state for each in found)
    words = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    lines = table([cells(each, store) for each in found])
    click.echo("\n".join([*lines, f"{plural(len(found), 'run')}{': ' * bool(words)}{words}"]))


def check_names(option: str, chosen: Sequence[str], known: set[str]) -> None:
    """Refuse what no run is of.

    Raises:
        UsageProblem: naming the nearest choice.
    """
    from bench.components.registry import closest

    for name in chosen:
        if name not in known:
            raise UsageProblem(f"{option}: no run of '{name}' here; {closest(name, known)}")


def cells(found: RunState, store: Path) -> tuple[str, ...]:
    """Return a run's line in columns: id, state, age, host, and what is to be said."""
    said = [" ".join(found.reason.split()), at_words(found.at), f"see {store / found.log}" if found.log else ""]
    age = age_text(time.time() - found.changed) if found.changed else ""
    return found.run, found.state, age, found.where, "; ".join(filter(None, said))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines, never cut; columns without any text are left out."""
    kept = [column for column in zip(*rows, strict=True) if any(column)]
    widths = [max(map(len, column)) for column in kept]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in zip(*kept, strict=True)]


def at_words(at: Any) -> str:
    """Return such as "training step 400 of 2,500, energy loss 0.31"; '' where nothing is known."""
    if not at:
        return ""
    from bench.cli.display import loss_words

    total = f" of {at['total']:,}" if at.get("total") else ""
    step = f" step {at['step']:,}{total}" if "step" in at else ""  # none while it is read out
    return ", ".join([f"{at['phase']}{step}", *loss_words(at.get("losses", {}))])


def age_text(seconds: float) -> str:
    """Return such as "3 min ago": the largest unit of which there are two or more, or seconds."""
    unit, size = next((each for each in UNITS if seconds >= 2 * each[1]), UNITS[-1])
    return f"{max(seconds, 0) / size:.0f} {unit} ago"
