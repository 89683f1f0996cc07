"""`bench list`: what suites can name."""

from __future__ import annotations

import click

from bench.cli.usage import examples
from bench.components import registry

__all__ = ["list_", "summaries"]

KINDS = ("suites", *registry.KINDS)
BETTER = {direction: f" ({direction} is better)" for direction in ("lower", "higher")}


@click.command(name="list", epilog=examples("bench list", "bench list models"))
@click.argument("kind", required=False, type=click.Choice(KINDS))
def list_(kind: str | None) -> None:
    """List suites and components, those of installed packages included."""
    for each in [kind] if kind else KINDS:
        if not kind:
            click.secho(each, bold=True)
        names = summaries(each)
        width = max(map(len, names), default=0)
        for name, summary in names.items():
            click.echo(f"  {name:<{width}}  {summary}")


def summaries(kind: str) -> dict[str, str]:
    """Return names and one-line summaries of suites or of a kind of component; nothing heavy is imported."""
    if kind == "suites":
        import tomllib

        suites = {
            name: tomllib.loads(path.read_text(encoding="utf-8")) for name, path in registry.suite_files().items()
        }
        return {name: f"{suite['summary']} [{', '.join(suite['profiles'])}]" for name, suite in suites.items()}
    found = next(registry.entries(each) for each in registry.KINDS if each == kind)
    lines = {name: summary(kind, entry) for name, entry in found.items()}
    if kind == "metrics":  # those of densities and chains cannot be asked for, but appear in reports and claims
        from bench.metrics import METRICS

        others = (each for name, each in METRICS.items() if name not in found)
        lines |= {each.name: each.summary + BETTER.get(each.direction, "") for each in others}
    return lines


def summary(kind: str, entry: registry.Entry) -> str:
    """Return a component's line: its summary, what a reader must know of its kind, and the package it is from."""
    if entry.problem:
        return f"{entry.summary}; {entry.problem}"
    before = f"{entry.facts.get('kind', 'any'):<7}  " if kind == "datasets" else ""
    after = BETTER.get(entry.facts.get("direction", ""), "") + (f" [{entry.origin}]" if entry.origin else "")
    return f"{before}{entry.summary}{after}"
