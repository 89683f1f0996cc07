"""`bench suite`: files of suites: one to begin with, what is wrong with one, and what they may say."""

from __future__ import annotations

import re
from pathlib import Path

import click

from bench.cli.completion import complete
from bench.cli.usage import Failure, UsageProblem, examples, print_json
from bench.words import plural

__all__ = ["suite"]


@click.group(epilog=examples("bench suite init mine", "bench suite check mine.toml", "bench run --suite mine.toml"))
def suite() -> None:
    """Write, check and look up suite files."""


@suite.command(epilog=examples("bench suite init mine", "bench suite init tables --kind density"))
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["images", "chains", "density"]),
    default="images",
    show_default=True,
    help="What it compares.",
)
def init(name: str, kind: str) -> None:
    """Write the suite NAME to NAME.toml, with every key, its default and what it means."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageProblem(f"'{name}' is no name of letters, digits, dots, dashes and underscores")
    from bench.core.suite_docs import commented_suite
    from bench.files import write_output

    path = Path(f"{name.removesuffix('.toml')}.toml")
    text = commented_suite(path.stem, kind)
    try:
        if path.exists() and path.read_bytes() != text.encode():
            raise UsageProblem(f"{path} is there already; choose another name")
        write_output(path, text.encode())
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"{path}: `bench plan --suite {path}` shows what it would run")


@suite.command(epilog=examples("bench suite check mine.toml"))
@click.argument("file", shell_complete=complete("suites"))
def check(file: str) -> None:
    """Show everything that is wrong with a suite's FILE, line by line."""
    from bench.core.suite import check_suite

    found = check_suite(file)
    for line, problem in found:
        click.echo(f"{file}:{line}: {problem}")
    if found:
        raise Failure(f"{file}: {plural(len(found), 'problem')}")
    click.echo(f"{file}: nothing is wrong")


@suite.command(epilog=examples("bench suite schema > suite.schema.json"))
def schema() -> None:
    """Print the JSON schema of suite files, for editors."""
    from bench.core.suite_docs import json_schema

    print_json(json_schema())


@suite.command(epilog=examples("bench suite reference > docs/suite-reference.md"))
def reference() -> None:
    """Print the page about everything that suite files may say."""
    from bench.core.suite_docs import reference as page

    click.echo(page(), nl=False)
