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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench.cli.usage import UsageProblem, examples

if TYPE_CHECKING:
    from bench.track.checkouts import Checkout
    from bench.track.processes import Processes

__all__ = ["track"]

say = functools.partial(click.echo, err=True)
FILE = click.Path(path_type=Path, dir_okay=False)
SHARE = click.FloatRange(0, 10)
POSITIVE = click.IntRange(min=1)


class Unmeasured(UsageProblem):
    """Something could not be measured: one line, exit code 3."""

    exit_code = 3


class Interrupted(UsageProblem):
    """Ctrl-C or SIGTERM: one line, exit code 130."""

    exit_code = 130


class Measured(NamedTuple):
    """What the options of all measuring commands come to: how to measure, what, and the names with their facts."""

    processes: Processes
    checkout: Checkout
    benchmarks: dict[str, dict[str, Any]]


@click.group(epilog=examples("bench track check --against origin/main", "bench track record", "bench track history"))
def track() -> None:
    """Is this checkout slower than another one? Throughput measured side by side."""


@contextlib.contextmanager
def plain_errors(interrupted: str) -> Iterator[None]:
    """One-line errors with the exit codes of this group.

    Arguments:
        interrupted: what to say after Ctrl-C.
    """
    from bench.components.registry import UnknownNameError
    from bench.track.checkouts import CheckoutError, interruptible
    from bench.track.processes import MeasuringError

    try:
        with interruptible():
            yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; {interrupted}") from error
    except (UnknownNameError, CheckoutError) as error:
        raise UsageProblem(str(error.args[0])) from error
    except MeasuringError as error:
        raise Unmeasured(str(error)) from error


def default_threads() -> int:
    """BENCH_THREADS, or 1: threads that wait for each other wait for whichever of them a neighbour has pushed aside."""
    threads = os.environ.get("BENCH_THREADS", "1")
    if not (threads.isdecimal() and int(threads) > 0):
        raise UsageProblem(f"BENCH_THREADS: '{threads}' is not a number of threads")
    return int(threads)


only_option = click.option(
    "--only", multiple=True, metavar="NAME", help="Only benchmarks that match, such as 'ula-*'; repeatable."
)
minutes_option = click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Time budget; no pair of processes is begun that would probably end after it.",
)
history_option = click.option(
    "--history",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("throughput-history"),
    show_default=True,
    envvar="BENCH_HISTORY",
    help="Folder of the history.",
)
MEASURING_OPTIONS = (
    click.option(
        "--benchmarks",
        "file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
        help="A Python file with BENCHMARKS of your own.",
    ),
    click.option(
        "--repo",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        default=Path(),
        help="The checkout to measure; default: the one you are in.",
    ),
    click.option("--threads", type=POSITIVE, default=None, help="Default: BENCH_THREADS, or 1."),
    click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True),
    click.option("--full", is_flag=True, help="All benchmarks, not the quick ones alone."),
    only_option,
)


def measuring(interrupted: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of all commands that measure; the command gets a `Measured` and the options of its own.

    Arguments:
        interrupted: what to say after Ctrl-C.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(
            repo: Path,
            only: tuple[str, ...],
            full: bool,
            device: str,
            threads: int | None,
            file: Path | None,
            **own: Any,
        ) -> Any:
            threads = threads or default_threads()
            check_device(device)
            from bench.track.check import select
            from bench.track.checkouts import working_tree
            from bench.track.processes import Processes

            scratch = tempfile.TemporaryDirectory(prefix="bench-track-scratch-")
            with plain_errors(interrupted), scratch as folder:
                processes, checkout = Processes(Path(folder), device, threads, file), working_tree(repo)
                if checkout.dirty:
                    say("the working tree has uncommitted changes; they are measured as they are")
                return command(Measured(processes, checkout, select(processes, checkout, only, full)), **own)

        return functools.reduce(lambda wrapped, option: option(wrapped), MEASURING_OPTIONS, run)

    return decorate


def check_device(device: str) -> None:
    """Refuse a device that is not there."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageProblem("--device cuda: no CUDA device is available here; use --device cpu")


@track.command(
    epilog=examples(
        "bench track check --against origin/main",
        "bench track check --against HEAD --only 'mala-*' --minutes 5",
        "bench track check --against v0.1.0 --full --markdown comment.md --json check.json",
    )
)
@click.option("--against", required=True, metavar="REF", help="A git revision, a folder holding gebm, or 'installed'.")
@measuring("nothing was decided")
@click.option("--pairs", type=click.IntRange(min=3), default=24, show_default=True, help="Pairs of processes at most.")
@minutes_option
@click.option("--confidence", type=float, default=0.99, show_default=True, help="Of the whole check.")
@click.option("--margin", type=SHARE, default=0.03, show_default=True, help="Slowdowns up to this share are fine.")
@click.option("--tolerance", type=SHARE, default=0.10, show_default=True, help="'fine' excludes a slowdown this large.")
@click.option("--markdown", type=FILE, help="Write Markdown for a pull request there.")
@click.option("--json", "json_file", type=FILE, help="Write JSON with all raw samples there.")
def check(
    measured: Measured,
    against: str,
    pairs: int,
    minutes: float,
    confidence: float,
    margin: float,
    tolerance: float,
    markdown: Path | None,
    json_file: Path | None,
) -> None:
    """Compare the working tree with another revision; exit code 1 only if something regressed."""
    from bench.track.check import NEW, OLD, check_throughput
    from bench.track.checkouts import opened
    from bench.track.decide import Design
    from bench.track.report import Report

    start, (processes, new, benchmarks) = time.monotonic(), measured
    try:
        design = Design(confidence, margin, tolerance).up_to(pairs)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    with opened(against, new) as old:
        say(f"comparing {len(benchmarks)} benchmarks: {old} with {new}")
        sides = {OLD: old, NEW: new}
        found = check_throughput(processes, sides, benchmarks, design, minutes, say)
    report = Report(found, sides, processes.device, processes.threads, time.monotonic() - start)
    click.echo(report.text(), nl=False)
    write(markdown, report.markdown())
    write(json_file, json.dumps(report.as_json(), indent=1, sort_keys=True, allow_nan=False) + "\n")
    sys.exit(found.exit_code)


def write(path: Path | None, content: str) -> None:
    """Write a file that was asked for."""
    from bench.files import write_bytes

    try:
        if path is not None:
            write_bytes(path, content.encode())
    except OSError as error:
        raise Unmeasured(f"cannot write {path}: {error.strerror}") from error


@track.command(epilog=examples("bench track record", "bench track record --full --processes 3 --history ../speed"))
@history_option
@measuring("nothing was recorded, the history is as it was")
@click.option("--processes", "count", type=POSITIVE, default=5, show_default=True, help="To time.")
def record(measured: Measured, folder: Path, count: int) -> None:
    """Measure this checkout and add it to the history."""
    from bench.track.history import HistoryError, add
    from bench.track.history import record as recorded

    made = recorded(measured.processes, measured.checkout, list(measured.benchmarks), count, say)
    try:
        path = add(folder, made)
    except HistoryError as error:
        raise Unmeasured(str(error)) from error
    failed = {name: timing["error"] for name, timing in made["benchmarks"].items() if "error" in timing}
    for name, reason in failed.items():
        say(f"bench: {name}: {reason}")
    click.echo(f"{len(made['benchmarks']) - len(failed)} benchmarks of {measured.checkout} recorded in {path}")
    sys.exit(3 if failed else 0)


@track.command(epilog=examples("bench track history", "bench track history --only 'ula-*' --png trend.png"))
@history_option
@only_option
@click.option("--png", type=FILE, help="Draw the trend there; with several machines, one file each.")
def history(folder: Path, only: tuple[str, ...], png: Path | None) -> None:
    """Show the trend of each benchmark: for reading, never for gating."""
    from bench.track.history import HistoryError, draw, read, trend

    try:
        frame, problems = read(folder)
    except HistoryError as error:
        raise UsageProblem(str(error)) from error
    for problem in problems:
        say(f"bench: {problem}")
    if only:
        frame = frame[[any(fnmatch.fnmatch(name, pattern) for pattern in only) for name in frame["benchmark"]]]
    for machine, rows in frame.groupby("machine"):
        click.secho(f"{machine}: {rows['file'].nunique()} recordings", bold=True)
        formats = {"rate": "{:,.4g}".format, "change": "{:+.1%}".format, "p": "{:.2g}".format}
        click.echo(trend(rows).to_string(formatters=formats, na_rep="—"))
        if png:
            path = png if frame["machine"].nunique() == 1 else png.with_stem(f"{png.stem}-{machine}")
            try:
                draw(rows, path)
            except OSError as error:
                raise Unmeasured(f"cannot write {path}: {error.strerror}") from error
            click.echo(f"figure: {path}")


@track.command(epilog=examples("bench track calibrate", "bench track calibrate --only 'ula-*' --pairs 24 --minutes 30"))
@measuring("nothing was calibrated")
@click.option("--pairs", type=click.IntRange(min=8), default=16, show_default=True, help="A/A pairs to measure.")
@minutes_option
def calibrate(measured: Measured, pairs: int, minutes: float) -> None:
    """Measure this checkout against itself: false-alarm rate and detectable slowdown of `check` on this machine."""
    from bench.track.calibrate import calibrate as calibrated
    from bench.track.check import BenchmarkResult, Check
    from bench.track.decide import FEWEST_PAIRS, Design
    from bench.track.turns import measure

    processes, checkout, benchmarks = measured
    deadline = time.monotonic() + 60 * minutes
    same = Check(Design(), [BenchmarkResult(name) for name in benchmarks])
    while same.pairs < pairs and same.undecided and time.monotonic() < deadline:
        same.draw_pair(lambda order, names: measure(processes, dict.fromkeys(order, checkout), names))
        say(f"pair {same.pairs} of {pairs}")
    click.echo(
        f"{checkout} against itself; checks of {len(benchmarks)} benchmarks with looks at {same.design.looks} pairs:"
    )
    failed = [result for result in same.results if len(result.log_ratios) < FEWEST_PAIRS]
    for result in same.results:
        if result in failed:
            say(f"bench: {result.name}: {result.note or 'too few pairs fitted into the time'}")
        else:
            click.echo(f"  {result.name}: {calibrated(result.log_ratios, same.design, len(same.results))}")
    sys.exit(3 if failed else 0)
