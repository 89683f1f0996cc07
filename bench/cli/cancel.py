"""`bench cancel`: end what a store has in a queue."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.usage import UsageProblem, examples, store_option
from bench.words import plural

__all__ = ["cancel"]


@click.command(epilog=examples("bench cancel", "bench cancel digits/gebm", "bench cancel digits/gebm/6b8dbebde97f-s0"))
@click.argument("runs", nargs=-1)
@store_option
def cancel(runs: tuple[str, ...], store: Path) -> None:
    """End jobs of a store that wait or run in a queue; those that run save what they have, and `bench run` continues them.

    RUNS are ids of runs, or their beginnings; without any, all jobs of the store are ended. What the same job would do is ended with it.
    """
    from bench.components.registry import closest
    from bench.core.store import Store
    from bench.executors import queue

    known = queue.places(Store(store).require().root.resolve() / "jobs")
    alive = {name: place for name, place in known.items() if place.alive}
    for run in runs:
        if not any(name.startswith(run) for name in alive):
            hint = closest(run, alive) if alive else f"nothing of {store} is in a queue"
            raise UsageProblem(f"no run '{run}' waits or runs in a queue; {hint}")
    ids = {place.id for name, place in alive.items() if not runs or name.startswith(runs)}
    wanted = {name: place for name, place in alive.items() if place.id in ids}  # one job may do several runs
    if wanted:
        queue.cancel(wanted.values())
    for name, place in wanted.items():
        click.echo(f"{name}  cancelled; was {place.words}")
    click.echo(f"{plural(len(ids), 'job')} cancelled")
