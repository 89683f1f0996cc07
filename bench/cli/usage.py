"""What commands share: their options, the folders that the environment names, and errors as one line with the right exit code."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from bench.cli.completion import complete

__all__ = [
    "LARGEST_SEED",
    "Failure",
    "UsageProblem",
    "cache_root",
    "data_root",
    "device_option",
    "examples",
    "find_devices",
    "folder_of",
    "fresh_option",
    "in_one_line",
    "limit_option",
    "print_json",
    "selecting",
    "set_option",
    "store_option",
    "suite_filters",
    "suite_name",
    "suite_option",
    "together",
    "weights_root",
]


class UsageProblem(click.ClickException):
    """What the user asked for cannot be: one line, exit code 2."""

    exit_code = 2

    def format_message(self) -> str:
        """Return the line, whatever a name in it holds: line breaks and signs for the terminal are written as escapes."""
        return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in self.message)

    def show(self, file: Any = None) -> None:
        click.echo(f"bench: {self.format_message()}", err=True, file=file)


class Failure(UsageProblem):
    """Something went wrong that is not the command's wording: one line, exit code 1."""

    exit_code = 1


LARGEST_SEED = 10**9
NO_THREAD = "can't start new thread"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
FAILURES = {"StoreError", "TransferError", "NothingToReportError", "WeightsError", "RebuildError", "QueueError"}
FAILURES |= {"CorruptFileError", "ContradictionError"}
MISUSE = {"SuiteError", "SettingError", "ClaimError", "UnknownNameError", "DatasetError", "ExportError", "RefitError"}
MISUSE |= {"GeneratorError", "SamplingError", "ExecutorError"}
MISNAMED = "NotInStoreError"
"""Errors by the name of their class or a base of it; what is a failure, too, such as a TransferError, is that first, unless what was asked
for by name is not in the store."""


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Turn the errors that the library foresees into one line and the right exit code.

    They are known by name, since importing their classes would make every command slow.
    """
    try:
        yield
    except Exception as error:
        names = {each.__name__ for each in type(error).__mro__}
        if isinstance(error, click.UsageError) and "NoArgsIsHelpError" not in names:
            where = f"; see {error.ctx.command_path} --help" if error.ctx else ""
            raise UsageProblem(error.format_message().rstrip(".") + where) from error
        if names & FAILURES and MISNAMED not in names:
            raise Failure(str(error)) from error
        if names & MISUSE or MISNAMED in names:
            raise UsageProblem(str(error.args[0])) from error
        if isinstance(error, OSError) and error.errno != errno.EPIPE and error.filename is not None:
            raise Failure(f"{error.filename}: {error.strerror}") from error
        if isinstance(error, OSError) and error.errno in FULL:  # the output is; files have names
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be written as the process ends
            raise Failure(f"cannot write: {error.strerror}") from error
        if isinstance(error, RuntimeError) and str(error) == NO_THREAD:
            raise Failure("no thread can be started: the limit of processes is reached, see `ulimit -u`") from error
        raise


def examples(*lines: str) -> str:
    """Return an epilog that click leaves unwrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def print_json(value: Any) -> None:
    """Print a value as strict JSON."""
    import json

    click.echo(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False))


def data_root() -> Path:
    """Return the folder of datasets' files: BENCH_DATA, or else a folder of this user's cache."""
    return folder_of("BENCH_DATA") or user_cache()


def cache_root() -> Path:
    """Return the folder of decoded images: BENCH_CACHE, or else a folder of this user's cache."""
    return folder_of("BENCH_CACHE") or user_cache() / "decoded"


def weights_root() -> Path:
    """Return the folder of published extractors' weights: BENCH_WEIGHTS, or else that of datasets."""
    return folder_of("BENCH_WEIGHTS") or data_root()


def folder_of(variable: str) -> Path | None:
    """Return the folder that an environment variable names, if it is set."""
    return Path(os.environ[variable]).absolute() if os.environ.get(variable) else None


def user_cache() -> Path:
    """Return this user's folder for what can be fetched again."""
    import pooch

    return Path(pooch.os_cache("gebm-bench"))


def find_devices(wanted: str) -> tuple[str, ...]:
    """Return the CUDA devices to compute on, none for the CPU; this process need not load torch for it.

    Raises:
        UsageProblem: if CUDA is asked for and there is none.
    """
    from bench.machine import cuda_devices

    devices = cuda_devices(wanted)
    if wanted == "cuda" and not devices:
        raise UsageProblem("--device cuda: no CUDA device is available here; use --device cpu")
    return devices


def suite_name(suite: str | None) -> str | None:
    """Return the name of a suite that is given by name or by the path of its file."""
    if suite is None or not suite.endswith(".toml"):
        return suite
    from bench.core.suite import load_suite

    return load_suite(suite).name


def parse_seeds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Return comma-separated whole numbers >= 0 and ranges of them, such as 0,2 or 0-4; none for the suite's own."""
    if value is None:
        return ()
    from bench.core.fields import seeds_in

    try:
        return seeds_in(value)
    except ValueError as error:
        raise UsageProblem(f"--seeds: {error}") from None


def parse_settings(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Return settings by dotted keys, from such as training.learning_rate=1e-4."""
    return {key: _literal(value) for key, value in _assigned("--set", values).items()}


def parse_sweeps(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    """Return the values of dotted keys, from such as training.penalty=0.1,1,10."""
    found: dict[str, tuple[Any, ...]] = {}
    for key, value in _assigned("--sweep", values).items():
        every = _literal(f"[{value}]")
        found[key] = tuple(every if isinstance(every, list) else map(_literal, value.split(",")))
        if len({repr(each) for each in found[key]}) < len(found[key]):
            raise UsageProblem(f"--sweep: {key} has a value twice in '{value}'")
    return found


def _assigned(option: str, values: tuple[str, ...]) -> dict[str, str]:
    """Return the texts on both sides of the first equals signs, or raise a UsageProblem."""
    found: dict[str, str] = {}
    for each in values:
        key, equals, value = (part.strip() for part in each.partition("="))
        if not re.fullmatch(r"[^\s.=]+(\.[^\s.=]+)*", key) or not equals or not value:
            raise UsageProblem(f"{option}: '{each}' is no setting; write KEY=VALUE, such as training.penalty=1")
        if key in found:
            raise UsageProblem(f"{option}: {key} is there twice")
        found[key] = value
    return found


def _literal(text: str) -> Any:
    """Return a value as TOML has it; what is none, such as a word, is a text."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_concerns(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the concerns about a table that are to be allowed."""
    from bench.data.hygiene import check_concern

    for name in value:
        try:
            check_concern(name)
        except ValueError as error:
            raise UsageProblem(f"--allow: {error}") from None
    return value


def parse_tag(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Return a name that can be a folder's."""
    if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise UsageProblem(f"--tag: '{value}' is no name of letters, digits, dots, dashes and underscores")
    return value


def together(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that adds options in the order given."""
    return lambda command: functools.reduce(lambda done, option: option(done), reversed(options), command)


store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    envvar="BENCH_STORE",
    help="Folder of runs.",
)
suite_filters = together(
    click.option("--suite", default=None, help="Only this suite.", shell_complete=complete("suites")),
    click.option("--profile", default=None, help="Only this profile.", shell_complete=complete("profiles")),
)
suite_option = together(
    click.option(
        "--suite",
        default="images",
        show_default=True,
        help="Name, or path of your own TOML file.",
        shell_complete=complete("suites"),
    ),
    click.option(
        "--profile",
        default="quick",
        show_default=True,
        help="One of the suite's, as `bench list suites` shows them. quick: minutes on a laptop; paper: the paper's schedule.",
        shell_complete=complete("profiles"),
    ),
)
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
fresh_option = click.option("--fresh", is_flag=True, help="Do everything again; what is there is set aside.")
limit_option = click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many minutes, shared by the runs; what is unfinished is scored as it stands. The same command continues.",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    callback=parse_settings,
    metavar="KEY=VALUE",
    help="Another setting than the profile's, such as training.learning_rate=1e-4; repeatable. Tables show the models that it makes "
    "beside those of the profile.",
)
selecting = together(
    suite_option,
    click.option(
        "--dataset",
        "datasets",
        multiple=True,
        help="Only this dataset; repeatable. redwine@3 is its split of seed 3; csv:PATH, npy:PATH and parquet:PATH are your tables, "
        "folder:PATH and tar:PATH your pictures.",
        shell_complete=complete("datasets"),
    ),
    click.option(
        "--model",
        "models",
        multiple=True,
        help="Only this model, or variant of one; repeatable.",
        shell_complete=complete("models"),
    ),
    click.option("--seeds", callback=parse_seeds, help="Such as 0,1,2 or 0-4; default: the suite's own."),
    set_option,
    click.option(
        "--sweep",
        "sweeps",
        multiple=True,
        callback=parse_sweeps,
        metavar="KEY=A,B,…",
        help="Every model once with each of these values, such as training.penalty=0.1,1,10; repeatable for all combinations.",
    ),
    click.option(
        "--allow",
        multiple=True,
        callback=parse_concerns,
        help="Fit densities to your table in spite of what makes them meaningless: discrete, index, collinear or duplicates, or one "
        "column's, such as discrete:quality; repeatable.",
    ),
    device_option,
    store_option,
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Most runs side by side; default: one per core, or --jobs-per-device on each CUDA device.",
    ),
    click.option(
        "--jobs-per-device",
        type=click.IntRange(min=1),
        help="Runs that share a CUDA device; default: as many as its memory holds by the peak of a run of the suite, one until then.",
    ),
    fresh_option,
    click.option(
        "--retrain",
        is_flag=True,
        help="Train again what other code trained; without it stale training is kept and marked.",
    ),
)
"""The options that say which runs are meant and how they are done."""
