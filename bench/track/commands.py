"""The command line of tracking: `bench track check | record | history | calibrate`.

Exit codes: 0 nothing regressed; 1 something regressed, and only then; 2 wrong usage, or a side that is not there; 3 something could not be
measured, or fails on the new side; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.usage import UsageProblem, examples

if TYPE_CHECKING:
    from bench.track.processes import Processes

__all__ = ["track"]


class Unmeasured(UsageProblem):
    """Something could not be measured: one line, exit code 3."""

    exit_code = 3


class Interrupted(UsageProblem):
    """Ctrl-C or SIGTERM: one line, exit code 130."""

    exit_code = 130


@click.group(epilog=examples("bench track check --against origin/main", "bench track record", "bench track history"))
def track() -> None:
    """Is this checkout slower than another one? Throughput measured side by side."""


@contextlib.contextmanager
def plain_errors(interrupted: str) -> Iterator[None]:
    """One-line errors with the exit codes of this group.

    Arguments:
        interrupted: what to say after Ctrl-C.
    """
    from bench.registry import UnknownNameError
    from bench.track.processes import MeasuringError
    from bench.track.sides import SideError, interruptible

    try:
        with interruptible():
            yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; {interrupted}") from error
    except UnknownNameError as error:
        raise UsageProblem(str(error.args[0])) from error
    except SideError as error:
        raise UsageProblem(str(error)) from error
    except MeasuringError as error:
        raise Unmeasured(str(error)) from error


def default_threads() -> int:
    """BENCH_THREADS, or as many as this process may use."""
    said = os.environ.get("BENCH_THREADS")
    if said is not None and not (said.isdecimal() and int(said) > 0):
        raise UsageProblem(f"BENCH_THREADS: '{said}' is not a number of threads")
    return int(said) if said else len(os.sched_getaffinity(0))


def measuring(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all commands that measure."""
    for option in (
        click.option("--only", multiple=True, metavar="NAME", help="Only benchmarks that match, such as 'ula-*'; repeatable."),
        click.option("--full", is_flag=True, help="All benchmarks, not the quick ones alone."),
        click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True),
        click.option("--threads", type=click.IntRange(min=1), default=None, help="Default: BENCH_THREADS, or all cores."),
        click.option("--repo", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path(), help="The checkout to measure; default: the one you are in."),
        click.option("--benchmarks", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True), default=None, help="A Python file with BENCHMARKS of your own."),
    ):  # fmt: skip
        command = option(command)
    return command


@contextlib.contextmanager
def processes(device: str, threads: int | None, file: Path | None) -> Iterator[Processes]:
    """How to measure, with a scratch folder for as long as it takes."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageProblem("--device cuda: no CUDA device is available here; use --device cpu")
    from bench.track.processes import Processes

    with tempfile.TemporaryDirectory(prefix="bench-track-scratch-") as scratch:
        yield Processes(Path(scratch), device, threads or default_threads(), file)


def tell(line: str) -> None:
    """How it goes, beside what is printed as the result."""
    click.echo(line, err=True)


@track.command(
    epilog=examples(
        "bench track check --against origin/main",
        "bench track check --against HEAD --only 'mala-*' --minutes 5",
        "bench track check --against v0.1.0 --full --markdown comment.md --json check.json",
    )
)
@click.option("--against", required=True, metavar="REF", help="A git revision, a folder that holds gebm, or 'installed'.")
@measuring
@click.option("--pairs", type=click.IntRange(min=3), default=24, show_default=True, help="At most so many pairs of processes.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True, help="Time budget.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.99, show_default=True, help="Of the whole check.")
@click.option("--margin", type=click.FloatRange(0, 1), default=0.03, show_default=True, help="Slowdowns up to this share are no regression.")
@click.option("--tolerance", type=click.FloatRange(0, 10), default=0.10, show_default=True, help="'fine' excludes a slowdown of this share.")
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write Markdown there.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write JSON there, raw samples included.")  # fmt: skip
def check(
    against: str, repo: Path, only: tuple[str, ...], full: bool, device: str, threads: int | None, file: Path | None,
    pairs: int, minutes: float, confidence: float, margin: float, tolerance: float,
    markdown_file: Path | None, json_file: Path | None,
) -> None:  # fmt: skip
    """Compare the working tree with another revision; exit code 1 only if something regressed."""
    from bench.atomic import write_bytes, write_json
    from bench.track import report
    from bench.track.check import exit_code
    from bench.track.compare import compare, select
    from bench.track.decide import Design
    from bench.track.sides import opened, working_tree

    try:
        design = Design(confidence, margin, tolerance).up_to(pairs)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    with plain_errors("nothing was decided, the other side's worktree is removed"), processes(device, threads, file) as ways:
        new = working_tree(repo)
        if new.dirty:
            tell("bench: the working tree has uncommitted changes; they are measured as they are")
        with opened(against, new) as old:
            names = select(ways, new, only, full)
            tell(f"comparing {len(names)} benchmarks: {old} with {new}")
            found = compare(ways, old, new, names, design, minutes, tell)
    click.echo(report.text(found), nl=False)
    try:
        if markdown_file:
            write_bytes(markdown_file, report.markdown(found).encode())
        if json_file:
            write_json(json_file, report.as_json(found))
    except OSError as error:
        raise Unmeasured(f"cannot write {error.filename or 'the report'}: {error.strerror}") from error
    sys.exit(exit_code(found.check))
