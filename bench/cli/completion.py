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
    """Return a shell completion from the names of suites, datasets or models."""

    def names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        from bench.components import registry

        known = registry.suite_files() if kind == "suites" else registry.entries(kind)
        files = own_files(incomplete) if kind == "datasets" else []
        return [name for name in known if name.startswith(incomplete)] + files

    return names


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
