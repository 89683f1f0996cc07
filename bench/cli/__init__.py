"""The command line, `bench`: one module per command or family of commands, imported when the command is asked for.

Everything that depends on the terminal or the environment ends here. Commands import torch, pandas and the like inside their functions, so
that `bench --help` and `bench list` answer at once. Exit codes: 0 done; 1 a run, a download or a file failed,
or a run is unfinished; 2 wrong usage, which a suite, dataset or plug-in that cannot be used is.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from bench import __version__
from bench.cli.usage import examples, in_one_line

__all__ = ["main"]

COMMANDS = {
    "Run": {"run": "run", "plan": "run", "refit": "refit", "status": "status", "cancel": "cancel"},
    "Read": {name: name for name in ("report", "claims", "compare", "show", "list")},
    "Take elsewhere": {name: name for name in ("sample", "export", "publish", "weights")}
    | {"merge": "merge", "sync": "merge"},
    "Measure speed": {"track": "track"},
    "Set up": {name: name for name in ("suite", "doctor", "data", "completion")},
}
"""Headings of the help, the commands under each and their modules."""


class Commands(click.Group):
    """A group that imports its commands lazily, lists them under headings and ends every foreseen error in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for commands in COMMANDS.values():
            if cmd_name in commands:
                module = importlib.import_module(f"bench.cli.{commands[cmd_name]}")
                command: click.Command = getattr(module, "list_" if cmd_name == "list" else cmd_name)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, names in COMMANDS.items():
            commands = {name: self.get_command(ctx, name) for name in names}
            with formatter.section(heading):
                formatter.write_dl([(name, made.get_short_help_str(80)) for name, made in commands.items() if made])

    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        if os.environ.get("COLUMNS") == "0":  # a terminal that does not know its width: nothing fits into that
            del os.environ["COLUMNS"]
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal that knows no β is no reason to fail
        with in_one_line():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        with in_one_line():
            return super().invoke(ctx)


@click.group(
    name="bench",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=examples("bench run --suite images", "bench report", "bench list models"),
)
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Compare generalized energy based models with GANs of the same architecture, under shared seeds."""
