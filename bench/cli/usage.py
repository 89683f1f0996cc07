"""How the command line asks and complains: options shared by commands, names for completion, one-line errors with the right exit code."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

__all__ = [
    "KINDS",
    "Failure",
    "Grouped",
    "UsageProblem",
    "catalogue",
    "complete",
    "examples",
    "one_line_errors",
    "selecting",
    "store_option",
    "tag_option",
]

GROUPS = {
    "Run": ("run", "plan", "status"),
    "Read": ("report", "claims", "compare", "export", "weights", "list"),
    "Measure speed": ("track",),
    "Set up": ("doctor", "data", "completion"),
}
KINDS = ("suites", "datasets", "models", "samplers", "metrics")


class UsageProblem(click.ClickException):
    """What the user asked for cannot be: one line, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"bench: {self.format_message()}", err=True, file=file)


class Failure(UsageProblem):
    """Something went wrong that is not the command's wording: one line, exit code 1."""

    exit_code = 1


class Grouped(click.Group):
    """A group whose help lists its commands under headings."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for heading, names in GROUPS.items():
            commands = [(name, self.commands[name].get_short_help_str(80)) for name in names if name in self.commands]
            with formatter.section(heading):
                formatter.write_dl(commands)


def examples(*lines: str) -> str:
    """An epilog that click leaves unwrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def complete(kind: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Shell completion from the names of a kind of component."""

    def names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        files = own_files(incomplete) if kind == "datasets" else []
        return [name for name in catalogue(kind) if name.startswith(incomplete)] + files

    return names


def own_files(incomplete: str) -> list[str]:
    """Completions of csv:PATH and its like: folders, and files of that kind."""
    from bench.data.sources import FILE_KINDS, IMAGE_KINDS

    kinds = (*FILE_KINDS, *IMAGE_KINDS)
    kind, colon, start = incomplete.partition(":")
    if not colon or kind not in kinds:
        return [f"{each}:" for each in kinds if each.startswith(incomplete)] if incomplete and not colon else []
    folder = Path(start).expanduser() if start.endswith("/") else Path(start).expanduser().parent
    prefix = start[: start.rfind("/") + 1]
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [prefix + path.name + "/" * path.is_dir() for path in found if path.is_dir() or f".{kind}" in path.suffixes]
    return [f"{kind}:{name}" for name in names if name.startswith(start)]


def catalogue(kind: str) -> dict[str, str]:
    """Names and one-line summaries of a kind of component; imports nothing heavy."""
    from bench.core import registry

    if kind == "suites":
        import tomllib

        return {name: tomllib.loads(path.read_text())["summary"] for name, path in registry.suite_files().items()}
    if kind == "metrics":
        from bench.metrics import METRICS

        return {name: f"{metric.summary} ({metric.direction} is better)" for name, metric in METRICS.items()}
    if kind == "datasets":
        return {name: f"{entry.kind:<7}  {entry.summary}" for name, entry in registry.entries(kind).items()}
    return {name: entry.summary for name, entry in registry.entries(kind).items()}


def parse_seeds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Comma-separated whole numbers >= 0."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageProblem(
            f"--seeds: '{value}' is not a list of seeds; write whole numbers >= 0 with commas, such as 0,1,2"
        )
    return tuple(dict.fromkeys(map(int, parts)))


def parse_tag(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A name that can be a folder's."""
    if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise UsageProblem(f"--tag: '{value}' is no name of letters, digits, dots, dashes and underscores")
    return value


store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    envvar="BENCH_STORE",
    help="Directory of runs.",
)
suite_option = click.option(
    "--suite",
    default="images",
    show_default=True,
    help="Name, or path of your own TOML file.",
    shell_complete=complete("suites"),
)
profile_option = click.option(
    "--profile",
    type=click.Choice(["quick", "paper"]),
    default="quick",
    show_default=True,
    help="quick: minutes on a laptop; paper: the paper's schedule.",
)
dataset_option = click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Only this dataset; repeatable. redwine@3 is its split of seed 3; csv:PATH, npy:PATH and parquet:PATH are files of yours.",
    shell_complete=complete("datasets"),
)
model_option = click.option(
    "--model", "models", multiple=True, help="Only this model; repeatable.", shell_complete=complete("models")
)
seeds_option = click.option(
    "--seeds", callback=parse_seeds, default=None, help="Such as 0,1,2; the suite's own if left out."
)
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
tag_option = click.option(
    "--tag", default="", callback=parse_tag, help="Remember these runs under a name too, for `bench compare`."
)
fresh_option = click.option("--fresh", is_flag=True, help="Do everything again; what is there moves to the attic.")


def selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which runs are meant."""
    for option in reversed(
        (
            suite_option,
            profile_option,
            dataset_option,
            model_option,
            seeds_option,
            device_option,
            store_option,
            fresh_option,
        )
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the library's own errors into one line and the right exit code."""
    from bench.claims.model import ClaimError
    from bench.core.registry import UnknownNameError
    from bench.core.spec import SuiteError
    from bench.core.store import StoreError
    from bench.data import DatasetError
    from bench.results.frame import NothingToReportError

    try:
        yield
    except (SuiteError, ClaimError, UnknownNameError) as error:
        raise UsageProblem(str(error.args[0])) from error
    except (StoreError, DatasetError, NothingToReportError) as error:
        raise Failure(str(error)) from error
