"""`bench completion`, and the names that it offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

__all__ = ["complete", "completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell: eval "$(bench completion bash)"."""
    from click.shell_completion import get_completion_class

    if made := get_completion_class(shell):
        click.echo(made(ctx.find_root().command, {}, "bench", "_BENCH_COMPLETE").source())


def complete(kind: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a shell completion from the names of suites, of a suite's profiles, of runs, or of a kind of component."""

    def names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        from bench.components import registry

        if kind == "profiles":
            return [name for name in profiles(ctx.params.get("suite")) if name.startswith(incomplete)]
        if kind == "runs":
            return run_ids(Path(ctx.params.get("store") or "runs"), incomplete)
        known = registry.suite_files() if kind == "suites" else registry.entries(kind)
        files = own_files(incomplete) if kind == "datasets" else []
        return [name for name in known if name.startswith(incomplete)] + files

    return names


def profiles(suite: str | None) -> list[str]:
    """Return the profiles of a suite, by name or path, or of all that are shipped; none of a file that cannot be read."""
    import tomllib

    from bench.components import registry

    shipped = registry.suite_files()
    files = shipped.values() if suite is None else [shipped.get(suite, Path(suite))]
    try:
        found = [tomllib.loads(path.read_text(encoding="utf-8"))["profiles"] for path in files]
        return list(dict.fromkeys(name for each in found for name in each))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def run_ids(store: Path, incomplete: str) -> list[str]:
    """Return the ids of a store's runs that begin so."""
    ids = (str(path.parent.relative_to(store / "runs")) for path in store.glob("runs/*/*/*/spec.json"))
    return sorted(run for run in ids if run.startswith(incomplete))


def own_files(incomplete: str) -> list[str]:
    """Return completions of csv:PATH and its like: folders, and files of that kind."""
    from bench.data.sources import FILE_KINDS, IMAGE_KINDS

    kinds = (*FILE_KINDS, *IMAGE_KINDS)
    kind, colon, start = incomplete.partition(":")
    if not colon or kind not in kinds:
        return [f"{each}:" for each in kinds if each.startswith(incomplete)] if incomplete and not colon else []
    prefix = start[: start.rfind("/") + 1]
    folder = Path(prefix).expanduser()
    found = [path for path in sorted(folder.glob("*")) if path.is_dir() or f".{kind}" in path.suffixes]
    names = [prefix + path.name + "/" * path.is_dir() for path in found]
    return [f"{kind}:{name}" for name in names if name.startswith(start)]
