"""The command line of tracking: `bench track check | record | history | calibrate`.

Exit codes: 0 nothing regressed; 1 something regressed, and only then; 2 wrong usage, or a side that is not there; 3 something could not be
measured, or fails on the new side; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.usage import UsageProblem, examples, find_devices, together

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


@click.group(epilog=examples("bench track check --against origin/main", "bench track record", "bench track history"))
def track() -> None:
    """Is this checkout slower than another one? Throughput measured side by side."""


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
measuring_options = together(
    only_option,
    click.option("--full", is_flag=True, help="All benchmarks, not the quick ones alone."),
    click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True),
    click.option(
        "--threads",
        type=POSITIVE,
        default=1,
        show_default=True,
        envvar="BENCH_THREADS",
        show_envvar=True,
        help="Threads of torch.",
    ),
    click.option(
        "--repo",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        default=Path(),
        help="The checkout to measure; default: the one you are in.",
    ),
    click.option(
        "--benchmarks",
        "file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
        help="A Python file with BENCHMARKS of your own.",
    ),
)


@contextlib.contextmanager
def measuring(
    interrupted: str,
    only: tuple[str, ...],
    full: bool,
    device: str,
    threads: int,
    repo: Path,
    file: Path | None,
) -> Iterator[tuple[Processes, Checkout, dict[str, dict[str, Any]]]]:
    """Yield how to measure, the checkout, and the chosen benchmarks with their facts; errors are one line with this group's exit codes.

    Arguments:
        interrupted: what to say after Ctrl-C or SIGTERM.
        only, full, device, threads, repo, file: the values of `measuring_options`.
    """
    find_devices(device)
    from bench.track.check import select
    from bench.track.checkouts import CheckoutError, working_tree
    from bench.track.processes import MeasuringError, Processes

    for number in (signal.SIGTERM, signal.SIGHUP):  # end as Ctrl-C does, so that the folders are removed
        signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-track-scratch-") as scratch:
            processes, checkout = Processes(Path(scratch), device, threads, file), working_tree(repo)
            if checkout.dirty:
                say("the working tree has uncommitted changes; they are measured as they are")
            yield processes, checkout, select(processes, checkout, only, full)
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; {interrupted}") from error
    except CheckoutError as error:
        raise UsageProblem(str(error)) from error
    except MeasuringError as error:
        raise Unmeasured(str(error)) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line that a path cannot be written."""
    try:
        yield
    except OSError as error:
        raise Unmeasured(f"cannot write {path}: {error.strerror or error}") from error


@track.command(
    epilog=examples(
        "bench track check --against origin/main",
        "bench track check --against HEAD --only 'mala-*' --minutes 5",
        "bench track check --against v0.1.0 --full --markdown comment.md --json check.json",
    )
)
@click.option("--against", required=True, metavar="REF", help="A git revision, a folder holding gebm, or 'installed'.")
@measuring_options
@click.option("--pairs", type=click.IntRange(min=3), default=24, show_default=True, help="Pairs of processes at most.")
@minutes_option
@click.option("--confidence", type=float, default=0.99, show_default=True, help="Of the whole check.")
@click.option("--margin", type=SHARE, default=0.03, show_default=True, help="Slowdowns up to this share are fine.")
@click.option("--tolerance", type=SHARE, default=0.10, show_default=True, help="'fine' excludes a slowdown this large.")
@click.option("--markdown", type=FILE, help="Write Markdown for a pull request there.")
@click.option("--json", "json_file", type=FILE, help="Write JSON with all raw samples there.")
def check(
    against: str,
    pairs: int,
    minutes: float,
    confidence: float,
    margin: float,
    tolerance: float,
    markdown: Path | None,
    json_file: Path | None,
    **measured: Any,
) -> None:
    """Compare the working tree with another revision; exit code 1 only if something regressed."""
    from bench.files import write_bytes, write_json
    from bench.track.check import NEW, OLD, check_throughput
    from bench.track.checkouts import opened
    from bench.track.decide import Design
    from bench.track.report import Report

    start = time.monotonic()
    try:
        design = Design(confidence, margin, tolerance).up_to(pairs)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    with measuring("nothing was decided", **measured) as (processes, new, benchmarks), opened(against, new) as old:
        say(f"comparing {len(benchmarks)} benchmarks: {old} with {new}")
        sides = {OLD: old, NEW: new}
        found = check_throughput(processes, sides, benchmarks, design, minutes, say)
        report = Report(found, sides, processes.device, processes.threads, time.monotonic() - start)
        click.echo(report.text(), nl=False)
        if markdown:
            with writing(markdown):
                write_bytes(markdown, report.markdown().encode())
        if json_file:
            with writing(json_file):
                write_json(json_file, report.as_json())
    sys.exit(found.exit_code)


@track.command(epilog=examples("bench track record", "bench track record --full --processes 3 --history ../speed"))
@history_option
@measuring_options
@click.option("--processes", "count", type=POSITIVE, default=5, show_default=True, help="To time.")
def record(folder: Path, count: int, **measured: Any) -> None:
    """Measure this checkout and add it to the history."""
    from bench.track import history

    unchanged = "nothing was recorded, the history is as it was"
    with measuring(unchanged, **measured) as (processes, checkout, benchmarks):
        made = history.record(processes, checkout, list(benchmarks), count, say)
        with writing(folder):
            path = history.add(folder, made)
    failed = {name: timing["error"] for name, timing in made["benchmarks"].items() if "error" in timing}
    for name, reason in failed.items():
        say(f"bench: {name}: {reason}")
    click.echo(f"{len(made['benchmarks']) - len(failed)} benchmarks of {checkout} recorded in {path}")
    sys.exit(3 if failed else 0)


@track.command(epilog=examples("bench track history", "bench track history --only 'ula-*' --png trend.png"))
@history_option
@only_option
@click.option("--png", type=FILE, help="Draw the trend there; with several machines, one file each.")
def history(folder: Path, only: tuple[str, ...], png: Path | None) -> None:
    """Show the trend of each benchmark: for reading, never for gating."""
    if not folder.is_dir():
        raise UsageProblem(f"no history at {folder}; `bench track record --history {folder}` begins one")
    from bench.track.history import draw, read, trend

    frame, problems = read(folder)
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
            with writing(path):
                draw(rows, path)
            click.echo(f"figure: {path}")


@track.command(epilog=examples("bench track calibrate", "bench track calibrate --only 'ula-*' --pairs 24 --minutes 30"))
@measuring_options
@click.option("--pairs", type=click.IntRange(min=8), default=16, show_default=True, help="A/A pairs to measure.")
@minutes_option
def calibrate(pairs: int, minutes: float, **measured: Any) -> None:
    """Measure this checkout against itself: false-alarm rate and detectable slowdown of `check` on this machine."""
    from bench.track import calibrate as calibration
    from bench.track.check import BenchmarkResult, Check
    from bench.track.decide import FEWEST_PAIRS, Design
    from bench.track.turns import measure

    with measuring("nothing was calibrated", **measured) as (processes, checkout, benchmarks):
        deadline = time.monotonic() + 60 * minutes
        same = Check(Design(), [BenchmarkResult(name) for name in benchmarks])
        while same.pairs < pairs and same.undecided and time.monotonic() < deadline:
            same.draw_pair(lambda order, names: measure(processes, dict.fromkeys(order, checkout), names))
            say(f"pair {same.pairs} of {pairs}")
        looks = f"looks at {same.design.looks} pairs"
        click.echo(f"{checkout} against itself; checks of {len(benchmarks)} benchmarks with {looks}:")
        failed = [result for result in same.results if len(result.log_ratios) < FEWEST_PAIRS]
        for result in same.results:
            if result in failed:
                say(f"bench: {result.name}: {result.note or 'too few pairs fitted into the time'}")
            else:
                found = calibration.calibrate(result.log_ratios, same.design, len(same.results))
                click.echo(f"  {result.name}: {found}")
    sys.exit(3 if failed else 0)
