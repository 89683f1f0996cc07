"""The command line of tracking: `bench track check | record | history | calibrate`.

Exit codes: 0 nothing regressed; 1 something regressed, and only then; 2 wrong usage, or a side that is not there; 3 something could not be
measured, or fails on the new side; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.usage import UsageProblem, examples

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
    from bench.core.registry import UnknownNameError
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
    """BENCH_THREADS, or 1: threads that wait for each other wait for whichever of them a neighbour has pushed aside."""
    said = os.environ.get("BENCH_THREADS", "1")
    if not (said.isdecimal() and int(said) > 0):
        raise UsageProblem(f"BENCH_THREADS: '{said}' is not a number of threads")
    return int(said)


only_option = click.option(
    "--only", multiple=True, metavar="NAME", help="Only benchmarks that match, such as 'ula-*'; repeatable."
)
repo_option = click.option(
    "--repo",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="The checkout to measure; default: the one you are in.",
)
file_option = click.option(
    "--benchmarks",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    default=None,
    help="A Python file with BENCHMARKS of your own.",
)
full_option = click.option("--full", is_flag=True, help="All benchmarks, not the quick ones alone.")
device_option = click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), default=None, help="Default: BENCH_THREADS, or 1."
)


def minutes_option(default: float) -> Callable[..., Any]:
    """A time budget."""
    return click.option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        default=default,
        show_default=True,
        help="Time budget; no pair of processes is begun that would probably end after it.",
    )


@dataclass(frozen=True)
class Asked:
    """What the options of all measuring commands say."""

    repo: Path
    only: tuple[str, ...]
    full: bool
    device: str
    threads: int | None
    file: Path | None


def measuring(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that measure, handed to the command as `asked`."""

    @functools.wraps(command)
    def gathered(**options: Any) -> Any:
        asked = Asked(*(options.pop(part.name) for part in fields(Asked)))
        return command(asked=asked, **options)

    wrapped: Callable[..., Any] = gathered
    for option in (file_option, repo_option, threads_option, device_option, full_option, only_option):
        wrapped = option(wrapped)
    return wrapped


@contextlib.contextmanager
def processes(asked: Asked) -> Iterator[Processes]:
    """How to measure, with a scratch folder for as long as it takes."""
    if asked.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageProblem("--device cuda: no CUDA device is available here; use --device cpu")
    from bench.track.processes import Processes

    with tempfile.TemporaryDirectory(prefix="bench-track-scratch-") as scratch:
        yield Processes(Path(scratch), asked.device, asked.threads or default_threads(), asked.file)


def tell(line: str) -> None:
    """How it goes, beside what is printed as the result."""
    click.echo(line, err=True)


def output_option(name: str, content: str) -> Callable[..., Any]:
    """A file to write beside what is printed."""
    path = click.Path(path_type=Path, dir_okay=False)
    return click.option(f"--{name}", f"{name}_file", type=path, default=None, help=f"Write {content} there.")


@track.command(
    epilog=examples(
        "bench track check --against origin/main",
        "bench track check --against HEAD --only 'mala-*' --minutes 5",
        "bench track check --against v0.1.0 --full --markdown comment.md --json check.json",
    )
)
@click.option(
    "--against", required=True, metavar="REF", help="A git revision, a folder that holds gebm, or 'installed'."
)
@measuring
@click.option("--pairs", type=click.IntRange(min=3), default=24, show_default=True, help="Pairs of processes at most.")
@minutes_option(20.0)
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    default=0.99,
    show_default=True,
    help="Of the whole check.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1),
    default=0.03,
    show_default=True,
    help="Slowdowns up to this share are no regression.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 10),
    default=0.10,
    show_default=True,
    help="'fine' excludes a slowdown of this share.",
)
@output_option("markdown", "Markdown for a pull request")
@output_option("json", "JSON with all raw samples")
def check(
    asked: Asked,
    against: str,
    pairs: int,
    minutes: float,
    confidence: float,
    margin: float,
    tolerance: float,
    markdown_file: Path | None,
    json_file: Path | None,
) -> None:
    """Compare the working tree with another revision; exit code 1 only if something regressed."""
    from bench.track import report
    from bench.track.check import exit_code
    from bench.track.compare import compare, select
    from bench.track.decide import Design
    from bench.track.sides import opened, working_tree

    try:
        design = Design(confidence, margin, tolerance).up_to(pairs)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    with plain_errors("nothing was decided, the other side's worktree is removed"), processes(asked) as ways:
        new = working_tree(asked.repo)
        if new.dirty:
            tell("the working tree has uncommitted changes; they are measured as they are")
        with opened(against, new) as old:
            names = select(ways, new, asked.only, asked.full)
            tell(f"comparing {len(names)} benchmarks: {old} with {new}")
            found = compare(ways, old, new, names, design, minutes, tell)
    click.echo(report.text(found), nl=False)
    write(markdown_file, report.markdown(found))
    write(json_file, json.dumps(report.as_json(found), indent=1, sort_keys=True, allow_nan=False) + "\n")
    sys.exit(exit_code(found.check))


def write(path: Path | None, content: str) -> None:
    """Write a file that was asked for."""
    from bench.core.files import write_bytes

    if path is None:
        return
    try:
        write_bytes(path, content.encode())
    except OSError as error:
        raise Unmeasured(f"cannot write {path}: {error.strerror}") from error


history_option = click.option(
    "--history",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("throughput-history"),
    show_default=True,
    envvar="BENCH_HISTORY",
    help="Folder of the history.",
)


@track.command(epilog=examples("bench track record", "bench track record --full --processes 3 --history ../speed"))
@history_option
@measuring
@click.option("--processes", "count", type=click.IntRange(min=1), default=5, show_default=True, help="To time.")
def record(asked: Asked, folder: Path, count: int) -> None:
    """Measure this checkout and add it to the history."""
    from bench.track.compare import select
    from bench.track.history import HistoryError, add
    from bench.track.record import recording
    from bench.track.sides import working_tree

    with plain_errors("nothing was recorded, the history is as it was"), processes(asked) as ways:
        side = working_tree(asked.repo)
        if side.dirty:
            tell("the working tree has uncommitted changes; the recording says so")
        names = list(select(ways, side, asked.only, asked.full))
        made = recording(ways, side, names, count, tell)
        try:
            path = add(folder, made)
        except HistoryError as error:
            raise Unmeasured(str(error)) from error
    failed = {name: said["error"] for name, said in made["benchmarks"].items() if "error" in said}
    for name, reason in failed.items():
        click.echo(f"bench: {name}: {reason}", err=True)
    click.echo(f"{len(names) - len(failed)} benchmarks of {side} recorded in {path}")
    if failed:
        sys.exit(3)


@track.command(epilog=examples("bench track history", "bench track history --only 'ula-*' --png trend.png"))
@history_option
@only_option
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Draw the trend there; with several machines, a file each.",
)
def history(folder: Path, only: tuple[str, ...], png: Path | None) -> None:
    """Show the trend of each benchmark and where it steps: for reading, never for gating."""
    from bench.track.history import HistoryError, read, series
    from bench.track.trend import draw, summary

    try:
        machines, problems = read(folder)
    except HistoryError as error:
        raise UsageProblem(str(error)) from error
    for problem in problems:
        click.echo(f"bench: {problem}", err=True)
    for machine, recordings in machines.items():
        points = series(recordings)
        shown = {name: points[name] for name in points if not only or any(fnmatch.fnmatch(name, p) for p in only)}
        click.secho(f"{machine}: {len(recordings)} recordings", bold=True)
        for name in shown:
            for line in summary(name, shown[name]):
                click.echo(f"  {line}")
        if png and shown:
            path = png if len(machines) == 1 else png.with_stem(f"{png.stem}-{machine}")
            try:
                draw(machine, shown, path)
            except OSError as error:
                raise Unmeasured(f"cannot write {path}: {error.strerror}") from error
            click.echo(f"  figure: {path}")


@track.command(epilog=examples("bench track calibrate", "bench track calibrate --only 'ula-*' --pairs 24 --minutes 30"))
@measuring
@click.option("--pairs", type=click.IntRange(min=8), default=16, show_default=True, help="A/A pairs to measure.")
@minutes_option(20.0)
def calibrate(asked: Asked, pairs: int, minutes: float) -> None:
    """Measure this checkout against itself: false-alarm rate and detectable slowdown of `check` on this machine."""
    from bench.track.calibrate import calibrate as calibrated
    from bench.track.compare import select
    from bench.track.decide import FEWEST_PAIRS, Design
    from bench.track.record import pairs_of_the_same
    from bench.track.report import calibration_line
    from bench.track.sides import working_tree

    with plain_errors("nothing was calibrated"), processes(asked) as ways:
        side = working_tree(asked.repo)
        names = list(select(ways, side, asked.only, asked.full))
        lines = pairs_of_the_same(ways, side, names, pairs, time.monotonic() + 60 * minutes, tell)
    design, failed = Design(), 0
    click.echo(f"{side} against itself; checks of {len(lines)} benchmarks with looks at {design.looks} pairs:")
    for line in lines:
        if len(line.log_ratios) < FEWEST_PAIRS:
            failed += 1
            click.echo(f"bench: {line.name}: {line.note or 'too few pairs fitted into the time'}", err=True)
        else:
            click.echo(f"  {calibration_line(line.name, calibrated(line.log_ratios, design, len(lines)))}")
    if failed:
        sys.exit(3)
